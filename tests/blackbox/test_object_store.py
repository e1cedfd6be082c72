"""The daemon over a bucket of a scripted store (http.md §11): what clients see of its faults, and how it recovers."""

from __future__ import annotations

import hashlib
import json
import math
import random
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define
from tests.blackbox.harness import Daemon, command, environment, running, until
from tests.blackbox.image_roots import entry
from tests.object_store import faults
from tests.object_store.server import SECRET, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.object_store.buckets import Bucket

DISK = random.Random(3).randbytes(9 << 20)
OTHER = random.Random(4).randbytes(9 << 20)
SMALL = DISK[:70_000]
TIMEOUT, REFRESH = 2.0, 1.0


@define
class Over:
    """A daemon over a bucket."""

    daemon: Daemon
    store: ObjectStore
    bucket: Bucket

    def get(self, image: str = "disk", first: int = 0, last: int = 99) -> bytes:
        reply = self.daemon.ask(f"/v1/images/{image}", fields={"Range": f"bytes={first}-{last}"})
        assert reply.status == 206, reply.status
        return reply.body

    def status(self, target: str) -> int:
        return self.daemon.ask(target).status

    def name(self, *entries: Any) -> None:
        self.bucket.put("root/manifest.json", json.dumps({"images": [*entries]}).encode())


def filled(store: ObjectStore, name: str) -> Bucket:
    bucket = store.bucket(name)
    bucket.put("root/disk.img", DISK)
    bucket.put("root/sub/small.img", SMALL)
    images = [entry("disk"), entry("small", "sub/./small.img"), entry("gone", "gone.img"), entry("dir", "sub/")]
    bucket.put("root/manifest.json", json.dumps({"images": images}).encode())
    return bucket


def flags(name: str, *more: str) -> tuple[str, ...]:
    times = ("--origin-timeout-secs", str(TIMEOUT), "--origin-refresh-secs", str(REFRESH))
    return ("--images-root", f"s3://{name}/root", *times, *more)


@pytest.fixture(scope="module")
def object_store() -> Iterator[ObjectStore]:
    with ObjectStore() as running_store:
        yield running_store


@pytest.fixture
def over(object_store: ObjectStore, home: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Over]:
    """A daemon without a cache, or, if the test says `cached`, with one; no fault is left when it ends."""
    path, cached = home("bucket"), getattr(request, "param", "") == "cached"
    name = path.name.lower()
    more = ("--cache-dir", str(path / "cache"), "--cache-block-bytes", "65536") if cached else ()
    bucket = filled(object_store, name)
    with running(path, *flags(name, *more), env=object_store.environ) as daemon:
        yield Over(daemon, object_store, bucket)
        object_store.faults.clear()


both = pytest.mark.parametrize("over", ["plain", "cached"], indirect=True)
cached = pytest.mark.parametrize("over", ["cached"], indirect=True)


@both
def test_bytes_and_headers(over: Over) -> None:
    """Whole images and ranges have the object's bytes, with its tag and date."""
    whole = over.daemon.ask("/v1/images/disk")
    tag, version = whole["ETag"], over.bucket.get("root/disk.img")
    assert version is not None
    assert whole.body == DISK
    assert tag == f'"{len(DISK):x}-{hashlib.sha256(version.tag.encode()).hexdigest()[:32]}"'
    assert over.get("small", 1, 69_999) == SMALL[1:]
    assert over.get("disk", 5_000_000, 5_999_999) == DISK[5_000_000:6_000_000]
    meta = over.daemon.ask("/v1/images/disk/meta").json()
    listed = over.daemon.ask("/v1/images").json()
    assert meta["etag"] == tag
    assert {one["id"]: one["etag"] for one in listed}.keys() == {"disk", "small"}
    assert listed[0] == meta
    assert over.daemon.ask("/v1/images/disk", fields={"If-None-Match": tag}).status == 304


def test_missing_images(over: Over) -> None:
    """An object that is missing, and a key that ends in a slash, are 404; the log tells of both at the start."""
    assert [over.status(f"/v1/images/{name}") for name in ("gone", "dir", "nobody")] == [404, 404, 404]
    said = [over.daemon.line(lambda line, name=name: line.get("image_id") == name) for name in ("gone", "dir")]  # type: ignore[misc]
    assert [line["message"] for line in said] == ["catalog entry cannot be served"] * 2


@both
def test_origin_bytes(over: Over, request: pytest.FixtureRequest) -> None:
    """The log tells how many bytes a request took from the origin: none if all were in the cache."""
    has_cache = request.node.callspec.params["over"] == "cached"
    for taken in (65_536 if has_cache else 100, 0 if has_cache else 100):
        _, line = over.daemon.traced("/v1/images/disk", fields={"Range": "bytes=0-99"})
        assert line["origin_bytes"] == taken
    assert "origin_bytes" not in over.daemon.traced("/v1/images/disk/meta")[1]


PASSING = (
    *((faults.SLOW_DOWN, 3), (faults.INTERNAL_ERROR, 2), (faults.RESETTING, 2), (faults.slow(0.2), 2)),
    *((faults.cut(1000), 2), (faults.cut(1000, faults.RESET), 1), (faults.cut(1000, faults.HANG), 1)),
    *((faults.other_tag(), 1), (faults.WHOLE, 1), (faults.shifted_range(5), 1), (faults.shorter(5), 1)),
)


@both
def test_faults_that_pass(over: Over) -> None:
    """What a store does wrong for a moment is repeated, and clients get the right bytes."""
    for number, (fault, times) in enumerate(PASSING):
        first = number << 19
        over.store.faults.add(fault, "get", key="root/disk.img", times=times)
        assert over.get("disk", first, first + 65_535) == DISK[first : first + 65_536], fault.name
    over.store.faults.add(faults.SLOW_DOWN, "head", key="root/sub/small.img", times=2)
    over.store.faults.add(faults.RESETTING, "head", key="root/sub/small.img")
    assert over.get("small") == SMALL[:100]


@both
@pytest.mark.parametrize("operation", ["get", "head"])
def test_no_answer(over: Over, operation: str) -> None:
    """A store that does not answer is a 503 with Retry-After before the head, and all is well once it does."""
    over.store.faults.add(faults.HANGING, operation, key="root/disk.img", times=math.inf)
    reply, line = over.daemon.traced("/v1/images/disk", fields={"Range": "bytes=0-9"})
    assert (reply.status, reply["Retry-After"], line["reason"]) == (503, "5", "origin")
    assert over.get("small") == SMALL[:100]
    said = over.daemon.line(lambda line: line["message"] == "object store failed a request")
    assert operation.upper() in said["reason"]
    over.store.faults.clear()
    assert over.get() == DISK[:100]


def test_denied(over: Over) -> None:
    """A store that refuses us is a 500; the log has its word and no secret."""
    words = ((faults.ACCESS_DENIED, "AccessDenied"), (faults.CLOCK_SKEWED, "RequestTimeTooSkewed"))
    for fault, word in words:
        over.store.faults.add(fault, "get", key="root/disk.img", times=math.inf)
        assert over.status("/v1/images/disk") == 500
        said = over.daemon.line(lambda line, word=word: word in line.get("reason", ""))  # type: ignore[misc]
        assert said["message"] == "object store failed a request"
        over.store.faults.clear()
        assert over.get() == DISK[:100]
    assert SECRET not in over.daemon.log_text()


def read_part(over: Over, count: int) -> Any:
    conn = over.daemon.dial(receive_buffer=65_536)
    conn.send(b"GET /v1/images/disk HTTP/1.1\r\nHost: store.test\r\n\r\n")
    assert conn.reply_head().status == 200
    assert conn.take(count) == DISK[:count]
    return conn


@both
@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "replaced"])
def test_changed_in_mid_body(over: Over, gone: bool) -> None:  # noqa: FBT001
    """A body whose object goes is reset, and has no byte of another one; the next request has the new one."""
    with read_part(over, 100_000) as conn:
        if gone:
            over.bucket.delete("root/disk.img")
        else:
            over.bucket.put("root/disk.img", OTHER)
        rest = conn.rest()
        assert conn.ending == "reset"
        assert len(rest) < len(DISK) - 100_000
        assert DISK.startswith(rest, 100_000)
    if gone:
        until(lambda: over.status("/v1/images/disk") == 404)
    else:
        until(lambda: over.get("disk", 8_000_000, 8_000_099) == OTHER[8_000_000:8_000_100])


@both
def test_hangs_in_mid_body(over: Over) -> None:
    """A body whose rest does not come is reset once the time for a piece is over."""
    with read_part(over, 100_000) as conn:
        over.store.faults.add(faults.HANGING, "get", key="root/disk.img", times=math.inf)
        rest = conn.rest(TIMEOUT + 8)
        assert conn.ending == "reset"
        assert DISK.startswith(rest, 100_000)


@both
def test_replaced_before_the_head(over: Over) -> None:
    """A request that finds its object replaced starts over with the new one, under the new tag."""
    before = over.daemon.ask("/v1/images/disk/meta").json()["etag"]
    over.bucket.put("root/disk.img", OTHER)
    reply = over.daemon.ask("/v1/images/disk", fields={"Range": "bytes=0-9"})
    assert (reply.status, reply.body) == (206, OTHER[:10])
    assert reply["ETag"] != before


def test_catalog_changes(over: Over) -> None:
    """Another catalog shows within `--origin-refresh-secs`, and an image that has moved is found at once."""
    over.get("small")
    over.bucket.delete("root/sub/small.img")
    over.bucket.put("root/moved.img", OTHER[:500])
    over.name(entry("disk"), entry("small", "moved.img"))
    assert until(lambda: over.get("small") == OTHER[:100], REFRESH + 1)
    over.name(entry("new"))
    until(lambda: over.status("/v1/images/new") == 200, REFRESH + 1)


def test_sighup(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """SIGHUP looks at once, whatever `--origin-refresh-secs` says."""
    path = home("hup")
    bucket = filled(object_store, path.name.lower())
    long = flags(path.name.lower(), "--origin-refresh-secs", "3600")
    with running(path, *long[:4], *long[6:], env=object_store.environ) as daemon:
        assert daemon.ask("/v1/images/disk/meta").json()["size_bytes"] == len(DISK)
        bucket.put("root/disk.img", SMALL)
        daemon.process.send_signal(1)
        until(lambda: daemon.ask("/v1/images/disk/meta").json()["size_bytes"] == len(SMALL))


@cached
def test_served_while_the_store_is_away(over: Over) -> None:
    """Bytes that are in the cache are served without the store, HEAD and `meta` too, and /readyz stays 200."""
    assert over.get() == DISK[:100]
    assert over.status("/readyz") == 503  # two entries have no object
    over.name(entry("disk"))
    until(lambda: over.status("/readyz") == 200)
    over.store.faults.add(faults.HANGING, times=math.inf)
    until(lambda: over.daemon.metrics().value("aero_storage_origin_up") == 0, TIMEOUT + 5)
    for _ in range(3):
        assert over.get() == DISK[:100]
        assert over.daemon.ask("/v1/images/disk", "HEAD").status == 200
        assert over.status("/v1/images/disk/meta") == over.status("/readyz") == over.status("/v1/images") == 200
    assert over.daemon.ask("/v1/images/disk", fields={"Range": "bytes=9000000-"}).status == 503
    over.store.faults.clear()
    over.bucket.put("root/disk.img", OTHER)
    until(lambda: over.get() == OTHER[:100], TIMEOUT + REFRESH + 5)


@pytest.mark.parametrize("over", ["cached"], indirect=True)
def test_readers_of_one_block(over: Over) -> None:
    """Many readers of one missing block share one GET."""
    over.store.faults.add(faults.slow(0.3), "get", key="root/disk.img")
    before = over.store.count("get", key="root/disk.img")
    connections = [over.daemon.dial() for _ in range(32)]
    for conn in connections:
        conn.send(b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\nRange: bytes=0-999\r\n\r\n")
    for conn in connections:
        with conn:
            assert conn.reply().body == DISK[:1000]
    assert over.store.count("get", key="root/disk.img") == before + 1


def test_start_without_the_store(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """A daemon starts without an answer from its bucket, says so, and recovers by itself."""
    path = home("away")
    bucket = filled(object_store, path.name.lower())
    bucket.put("root/manifest.json", json.dumps([entry("disk")]).encode())
    object_store.faults.add(faults.RESETTING, times=math.inf)
    with running(path, *flags(path.name.lower()), env=object_store.environ) as daemon:
        assert daemon.ask("/readyz").status == 503
        reply = daemon.ask("/v1/images/disk")
        assert (reply.status, reply["Retry-After"]) == (503, "5")
        assert daemon.metrics().value("aero_storage_catalog_invalid") == 0
        object_store.faults.clear()
        until(lambda: daemon.ask("/readyz").status == 200, TIMEOUT + REFRESH + 3)
        assert daemon.ask("/v1/images/disk").body == DISK


def test_denied_catalog(over: Over) -> None:
    """A store that refuses to tell the catalog has not made it invalid: the log says denied, by which operation."""
    since = over.daemon.log_size()
    over.store.faults.add(faults.ACCESS_DENIED, "head", "get", key="root/manifest.json", times=math.inf)
    line = over.daemon.line(lambda line: line["message"].startswith("catalog "), since)
    assert (line["message"], line["serving"]) == ("catalog refused: access denied", "the last good one")
    assert "HEAD 'manifest.json': 403 AccessDenied" in line["reason"]
    assert over.daemon.metrics().value("aero_storage_catalog_invalid") == 0
    over.store.faults.clear()
    over.daemon.line(lambda line: line["message"] == "catalog loaded", since)


def test_start_without_the_bucket(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """A daemon whose bucket does not exist says so at its start, in one line, and does not go on asking first."""
    given = ("--images-root", "s3://nowhere", "--origin-timeout-secs", "60")
    before = object_store.count("head")
    with running(home("nowhere"), *given, env=object_store.environ) as daemon:
        line = daemon.line(lambda line: line["message"] == "catalog out of reach")
        assert "404 NoSuchBucket: the bucket does not exist" in line["reason"]
        assert object_store.count("head") - before == 1
        assert daemon.ask("/readyz").status == 503


def test_listing(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """Without a manifest the objects directly below the prefix are the images, unless one is required."""
    path = home("listing")
    bucket = filled(object_store, path.name.lower())
    bucket.delete("root/manifest.json")
    with running(path, *flags(path.name.lower()), env=object_store.environ) as daemon:
        assert [one["id"] for one in daemon.ask("/v1/images").json()] == ["disk.img"]
        bucket.put("root/new.img", SMALL)
        until(lambda: len(daemon.ask("/v1/images").json()) == 2, REFRESH + 1)
        assert daemon.ask("/v1/images/new.img").body == SMALL
    with running(home("strict"), *flags(path.name.lower(), "--require-manifest"), env=object_store.environ) as daemon:
        assert daemon.ask("/v1/images").status == 500


def test_chunks(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """Chunks and manifests are objects; under a version they are looked at once."""
    path = home("chunks")
    bucket = filled(object_store, path.name.lower())
    place = "root/chunked/disk/v1"
    bucket.put(f"{place}/manifest.json", b"{}")
    bucket.put(f"{place}/chunks/00000000.bin", SMALL)
    with running(path, *flags(path.name.lower()), env=object_store.environ) as daemon:
        for _ in range(2):
            assert daemon.ask("/v1/images/disk/chunked/v1/manifest").body == b"{}"
            assert daemon.ask("/v1/images/disk/chunked/v1/chunks/00000000.bin").body == SMALL
            until(lambda: bool(daemon.ask("/healthz").status))
        assert object_store.count("head", key=f"{place}/chunks/00000000.bin") == 1
        assert daemon.ask("/v1/images/disk/chunked/v2/manifest").status == 404


def test_ten_thousand_images(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """A catalog of 10,000 images is ready within 3 seconds of listening, without a request for each."""
    path = home("many")
    bucket = object_store.bucket(path.name.lower())
    for number in range(10_000):
        bucket.put(f"root/i{number}", b"x")
    bucket.put("root/manifest.json", json.dumps([entry(f"i{n}", f"i{n}") for n in range(10_000)]).encode())
    before = object_store.count("head")
    with running(path, *flags(path.name.lower()), env=object_store.environ) as daemon:
        until(lambda: daemon.ask("/readyz").status == 200, 3)
        assert object_store.count("head") - before < 10
        assert len(daemon.ask("/v1/images").json()) == 10_000


def asked_since(store: ObjectStore, start: int, operation: str) -> list[str]:
    """Return the keys, or prefixes, of the requests of a kind since there were `start`."""
    return [one.key or one.query.get("prefix", "") for one in store.requests[start:] if one.operation == operation]


def test_one_of_four_workers_looks(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """Four workers make one LIST in a refresh time, and only while somebody asks, and one HEAD for an open object.

    For profiles, whose changes nobody waits for, it is two.
    """
    path = home("four")
    bucket = filled(object_store, path.name.lower())
    bucket.delete("root/manifest.json")
    given = flags(path.name.lower(), "--workers", "4", "--origin-refresh-secs", "2")
    start, began = len(object_store.requests), time.monotonic()
    with running(path, *given, env=object_store.environ) as daemon:
        until(lambda: sum(line["message"] == "catalog loaded" for line in daemon.lines()) == 4)
        took = time.monotonic() - began
        assert len(asked_since(object_store, start, "list")) <= took / 2 + 1
        assert len(asked_since(object_store, start, "head")) <= took / 1.5 + 1
        idle = len(object_store.requests)
        until(lambda: len(asked_since(object_store, idle, "head")) >= 3, 8)
        assert asked_since(object_store, idle, "list") == []
        bucket.put("root/new.img", SMALL)
        assert daemon.ask("/v1/images/new.img").body == SMALL  # the first request waits for the listing
        busy, began = len(object_store.requests), time.monotonic()
        while (seconds := time.monotonic() - began) < 5:  # a refresh time cannot be told by anything but the clock
            assert len(daemon.ask("/v1/images").json()) == 2
            assert daemon.ask("/v1/images/disk.img", "HEAD").status == 200
        lists, heads = (asked_since(object_store, busy, one) for one in ("list", "head"))
        assert 1 <= lists.count("root/") <= seconds / 2 + 1
        assert lists.count("root/profiles/") <= seconds / 1 + 1
        assert heads.count("root/disk.img") <= 2 * seconds / 2 + 1
        assert heads.count("root/manifest.json") <= seconds / 1.5 + 1


def test_workers_share_a_cache(object_store: ObjectStore, home: Callable[[str], Path]) -> None:
    """Two workers serve from one cache, and another daemon may not use it."""
    path = home("workers")
    bucket = filled(object_store, path.name.lower())
    del bucket
    given = flags(path.name.lower(), "--workers", "2", "--cache-dir", str(path / "cache"))
    with running(path, *given, env=object_store.environ) as daemon:
        for _ in range(12):
            assert daemon.ask("/v1/images/disk").body == DISK
        assert object_store.count("get", key="root/disk.img") >= 9
        seen = daemon.metrics()
        assert seen.value("aero_storage_cache_requests_total", result="hit") > 0
        assert seen.value("aero_storage_cache_limit_bytes") == 10 << 30
        assert seen.value("aero_storage_origin_up") == 1
        second = subprocess.run(
            command(path, "--listen-addr", "127.0.0.1:0", *given[:-4], *given[-2:]),
            env=environment(object_store.environ),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 1
        assert "another daemon uses it" in second.stderr
        assert second.stderr.count("\n") == 1


@both
def test_stops_beside_a_hanging_store(over: Over) -> None:
    """Threads that wait for the store do not keep the process."""
    over.store.faults.add(faults.HANGING, times=math.inf)
    with over.daemon.dial() as conn:
        conn.send(b"GET /v1/images/disk HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: over.store.count("head", "get", key="root/disk.img"))
        assert over.daemon.stop() == 0


def test_metrics(over: Over) -> None:
    """What is asked of the origin is counted by operation and result."""
    over.get("small")
    over.status("/v1/images/gone")
    over.store.faults.add(faults.SLOW_DOWN, "get", key="root/disk.img")
    over.get()
    seen = over.daemon.metrics()
    results = {
        (labels["operation"], labels["result"])
        for labels in seen.labels("aero_storage_origin_requests_total")
        if seen.value("aero_storage_origin_requests_total", **labels)
    }
    assert {("get", "ok"), ("get", "throttled"), ("head", "ok"), ("head", "not_found"), ("list", "ok")} <= results
    assert seen.value("aero_storage_origin_bytes_total") >= 200
    assert seen.value("aero_storage_origin_request_seconds_count", operation="get") >= 3
