"""http.md §13: versions of images, and the URLs under which bytes never change."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
from typing import TYPE_CHECKING

import pytest
from attrs import define, field, frozen
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import (
    DISK,
    NANOS,
    SECONDS,
    SIZE,
    TAG,
    VERSION,
    entry,
    put,
    put_catalog,
    small_root,
    tag_of,
    version_of,
)
from tests.blackbox.raw_http import NoReplyError, head
from tests.blackbox.worker_processes import two_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields, RawConnection, Reply

IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
MOVING = "public, max-age=3600, no-transform"
NO_CACHING = "private, no-store, no-transform"
ERROR = "no-store, no-transform"
DIGEST = hashlib.sha256(DISK).hexdigest()
VERSIONS = {
    "disk": VERSION,
    "private": VERSION,
    "tagged": version_of(SIZE, '"tag-1"', TAG),
    "digested": f"sha256-{DIGEST}",
    "digested-weak": f"sha256-{DIGEST}",
    "outdated": VERSION,
}
BIG, MIB = 600_000, 1 << 20


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that the tests below leave as it is."""
    path = home("versions")
    small_root(
        path / "images",
        entry("digested", sha256=DIGEST),
        entry("digested-weak", sha256=DIGEST, etag='W/"d"'),
        entry("outdated", sha256=DIGEST, sha256_of=f"{SIZE}-1"),
    )
    with running(path, "--max-range-bytes", "100000") as found:
        yield found


@pytest.mark.parametrize(("image_id", "version"), VERSIONS.items())
def test_version_in_the_metadata(daemon: Daemon, image_id: str, version: str) -> None:
    """`meta` and the list have the version: by digest where it is known, else by size and both tags."""
    assert daemon.ask(f"/v1/images/{image_id}/meta").json()["version"] == version
    listed = {image["id"]: image.get("version") for image in daemon.ask("/v1/images").json()}
    assert listed[image_id] == version
    reply = daemon.ask(f"/v1/images/{image_id}/versions/{version}")
    assert (reply.status, reply.body) == (200, DISK)


def test_no_version_under_a_weak_tag(daemon: Daemon) -> None:
    """An image with a weak tag and no digest has no version, and no URL for one."""
    assert "version" not in daemon.ask("/v1/images/weak/meta").json()
    assert ["version" in image for image in daemon.ask("/v1/images").json() if image["id"] == "weak"] == [False]
    for version in (VERSION, version_of(SIZE, 'W/"weak-1"', TAG), "None", "null"):
        assert daemon.ask(f"/v1/images/weak/versions/{version}").status == 404


REQUESTS: list[tuple[str, Fields, int]] = [
    ("GET", {}, 200),
    ("HEAD", {}, 200),
    ("GET", {"Range": "bytes=5-9"}, 206),
    ("HEAD", {"Range": "bytes=5-9"}, 206),
    ("GET", {"Range": "bytes=-7"}, 206),
    ("GET", {"Range": "bytes=299990-"}, 206),
    ("GET", {"Range": "bytes=299990-400000"}, 206),
    ("GET", {"If-None-Match": "*"}, 304),
    ("HEAD", {"If-None-Match": "*"}, 304),
    ("GET", {"Range": "bytes=5-9", "If-Range": '"other"'}, 200),
    ("GET", {"If-Match": '"other"'}, 412),
    ("GET", {"Range": "bytes=0-100000"}, 413),
    ("HEAD", {"Range": "bytes=0-100000"}, 413),
    ("GET", {"Range": f"bytes={SIZE}-"}, 416),
    ("GET", {"Range": "bytes=0-1,5-6"}, 416),
    ("GET", {"Range": "bytes=5-2"}, 416),
    ("OPTIONS", {"Origin": "https://a.test", "Access-Control-Request-Method": "GET"}, 204),
    ("POST", {}, 405),
    ("GET", {"Content-Length": "5"}, 413),
]


@pytest.mark.parametrize(("method", "fields", "status"), REQUESTS)
@pytest.mark.parametrize("rest", ["", "/data"])
@pytest.mark.parametrize("image_id", ["disk", "digested", "private"])
def test_as_without_it(  # what is asked, and how
    daemon: Daemon, image_id: str, rest: str, method: str, fields: Fields, status: int
) -> None:
    """Under its version an image answers as without, to the header, but for how long its bytes may be kept."""
    base = f"/v1/images/{image_id}"
    plain, named = (
        daemon.ask(target, method, fields) for target in (base + rest, f"{base}/versions/{VERSIONS[image_id]}{rest}")
    )
    assert (plain.status, named.status) == (status, status)
    assert (named.body, named.ending) == (plain.body, "whole")
    own = [
        {name: value for name, value in reply.fields if name not in {"Date", "X-Request-Id"}}
        for reply in (plain, named)
    ]
    if status in {200, 206, 304}:
        kept = (NO_CACHING, NO_CACHING) if image_id == "private" else (MOVING, IMMUTABLE)
        assert (own[0].pop("Cache-Control"), own[1].pop("Cache-Control")) == kept
    assert own[0] == own[1]


@pytest.mark.parametrize("fields", [{"Cookie": "a=b"}, {"Authorization": "Bearer x"}])
def test_credentials(daemon: Daemon, fields: Fields) -> None:
    """An answer to credentials is kept by nobody, under a version either."""
    reply = daemon.ask(f"/v1/images/disk/versions/{VERSION}", fields=fields)
    assert (reply.status, reply["Cache-Control"]) == (200, NO_CACHING)


OTHERS = [
    *(
        "v-" + "0" * 32,
        "v1",
        VERSION[:-1],
        VERSION + "0",
        VERSION.upper(),
        f"sha256-{DIGEST}",
        "data",
        "meta",
        "x" * 128,
    ),
    *(".", "..", "...", "%2e%2e", "%2e", "chunks", "a%2Fb", "%2F", "%00", "%zz", "%", "a%20b", "\\", "%5c", "~", ""),
    *("v" * 129, "%41" * 129, "%41" * 200, "v" * 4000, "%2576", "*", "W%2F%22a%22"),
]


@pytest.mark.parametrize("version", OTHERS, ids=lambda version: version[:20])
def test_any_other_version_is_missing(daemon: Daemon, version: str) -> None:
    """Any other version, and an invalid one, is a 404 that nobody keeps, with ranges and conditions too."""
    for rest, method, fields in itertools.product(
        ("", "/data"), ("GET", "HEAD"), ({}, {"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"If-Match": '"x"'})
    ):
        reply = daemon.ask(f"/v1/images/disk/versions/{version}{rest}", method, fields)
        assert (reply.status, reply.body, reply["Cache-Control"]) == (404, b"", ERROR)
        assert reply["Cross-Origin-Resource-Policy"] == "same-site"
        assert reply["Access-Control-Allow-Origin"] == "*"


def test_escaped_version(daemon: Daemon) -> None:
    """A version is decoded once, as every name in a path."""
    escaped = "".join(f"%{ord(letter):02X}" for letter in VERSION)
    assert daemon.ask(f"/v1/images/disk/versions/{escaped}").body == DISK
    assert daemon.ask(f"/v1/images/disk/versions/{escaped.replace('%', '%25')}").status == 404


def test_query_that_names_the_range(daemon: Daemon) -> None:
    """A query that names a range changes nothing: `Range` says what is sent, by remembered heads too."""
    target = f"/v1/images/disk/versions/{VERSION}"
    with daemon.dial() as conn:
        for first in (0, 7, 7, 512):
            fields = {"Range": f"bytes={first}-{first + 9}"}
            for query in (f"?{first}-{first + 9}", "?1-2", "", "?1-2&x"):
                reply = conn.ask("GET", target + query, fields)
                assert (reply.status, reply.body) == (206, DISK[first : first + 10])
        assert conn.ask("GET", f"{target}?5-9").body == DISK
        assert conn.ask("GET", "/v1/images/disk/versions/v-0?5-9", {"Range": "bytes=5-9"}).status == 404
    _, line = daemon.traced(f"{target}?5-9", fields={"Range": "bytes=5-9"})
    assert (line["path"], line["range"]) == (target, "5-9")


def test_unknown_images(daemon: Daemon) -> None:
    """An unknown id and an invalid one are 404, whatever the version."""
    for image_id in ("unknown", "%2e%2e", "a%2Fb", ""):
        assert daemon.ask(f"/v1/images/{image_id}/versions/{VERSION}").status == 404


def test_log_lines(daemon: Daemon) -> None:
    """The line of a request for bytes has the version that was sent; invalid ones are not shown."""
    template = "/v1/images/:image_id/versions/:version"
    for target, route in (
        ("/v1/images/disk", "/v1/images/:image_id"),
        (f"/v1/images/disk/versions/{VERSION}", template),
        (f"/v1/images/disk/versions/{VERSION}/data", f"{template}/data"),
    ):
        for fields, part in (({}, None), ({"Range": "bytes=5-9"}, "5-9"), ({"If-None-Match": "*"}, None)):
            _, line = daemon.traced(target, fields=fields)
            assert (line["route"], line["version"], line.get("range")) == (route, VERSION, part)
            assert (line["path"], line["image_id"]) == (target, "disk")
        _, line = daemon.traced(target, fields={"If-Match": '"x"'})
        assert "version" not in line
    _, line = daemon.traced("/v1/images/disk/versions/v-0")
    assert (line["reason"], line["path"], "version" in line) == ("existence", "/v1/images/disk/versions/v-0", False)
    _, line = daemon.traced("/v1/images/disk/versions/a%2Fb")
    assert (line["reason"], line["path"], line["route"]) == ("id", "/v1/images/disk/<invalid>", template)
    assert "version" not in daemon.traced("/v1/images/weak")[1]
    assert "version" not in daemon.traced("/v1/images/disk/meta")[1]


def test_counted_bytes(daemon: Daemon) -> None:
    """Bytes and ranges under a version count as those of the image do."""
    before = daemon.metrics()
    target = f"/v1/images/disk/versions/{VERSION}"
    with daemon.dial() as conn:
        for first in (0, 10, 20):
            assert conn.ask("GET", target, {"Range": f"bytes={first}-{first + 9}"}).body == DISK[first : first + 10]
        assert conn.ask("GET", target, {"Range": "bytes=5-2"}).status == 416
    daemon.rises(before, 30, "image_bytes_served_total", image_id="disk")
    daemon.rises(before, 3, "range_requests_total", result="valid")
    daemon.rises(before, 1, "range_requests_total", result="invalid")


# Images that are replaced


def content(number: int, size: int = BIG) -> bytes:
    """The bytes of one version: no piece of it is one of another version."""
    return random.Random(number).randbytes(1000) * (size // 1000)


@define
class Moving:
    """An image that is replaced while it is read: `moving`, and `tagged` under a tag that outlives its file."""

    daemon: Daemon
    contents: dict[bytes, int] = field(factory=dict)
    """The number of each content that was ever there, by its first 1,000 bytes."""

    present: int = 0
    """The number of the content that is there now."""

    def replace(self, number: int | None = None) -> int:
        """Put the next content in place, or the one with this number, by rename and with an mtime of its own."""
        number = len(self.contents) if number is None else number
        data = content(number)
        self.contents[data[:1000]] = self.present = number
        put(self.daemon.root / "moving.img", data, (SECONDS + number, NANOS))
        return number

    def settled(self, conn: RawConnection, image_id: str) -> tuple[int, str]:
        """Wait until the content that is there shows; return its number and its version."""
        own_tag = tag_of(content(self.present), (SECONDS + self.present, NANOS))
        version = version_of(BIG, own_tag if image_id == "moving" else '"mine"', own_tag)
        until(lambda: told(conn, image_id) == version, SHOWS_WITHIN)
        return self.present, version

    def number_of(self, offset: int, body: bytes) -> int:
        """The content that a body is of; it is of one alone."""
        shifted = body[-offset % 1000 :]
        number = self.contents[shifted[:1000]]
        assert body == content(number)[offset : offset + len(body)]
        return number


def moving_root(path: Path) -> Path:
    root = path / "images"
    root.mkdir(parents=True)
    put(root / "moving.img", content(0), (SECONDS, NANOS))
    put_catalog(root, [entry("moving", "moving.img"), entry("tagged", "moving.img", etag='"mine"')])
    return path


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def moving(request: pytest.FixtureRequest, home: Callable[[str], Path]) -> Iterator[Moving]:
    """A daemon of one process or two workers, with an image that may be replaced."""
    path = moving_root(home("moving"))
    serving = running(path) if request.param == 1 else two_workers(path)
    with serving as found:
        yield Moving(found, {content(0)[:1000]: 0})


def told(conn: RawConnection, image_id: str) -> str:
    version: str = conn.ask("GET", f"/v1/images/{image_id}/meta").json()["version"]
    return version


@frozen
class Reading:
    """What a reader saw of one version: the content's number, None for a 404 or an end without all bytes."""

    version: str
    number: int | None


def read_on(moving: Moving, image_id: str, seed: int, enough: threading.Event, seen: list[Reading]) -> None:
    """Ask for the version, and for ranges and wholes of it, until it is gone; then anew."""
    source, conn, version = random.Random(seed), moving.daemon.dial(), ""
    while not enough.is_set():
        try:
            if not version:
                version = told(conn, image_id)
            reply, offset = read_some(conn, f"/v1/images/{image_id}/versions/{version}", source)
            if reply.status == 404:
                assert (reply.body, reply["Cache-Control"]) == (b"", ERROR)
                seen.append(Reading(version, None))
                version = ""
            elif reply.ending == "whole":
                seen.append(Reading(version, moving.number_of(offset, reply.body)))
        except (NoReplyError, OSError):  # a reset, in place of other bytes
            conn.close()
            conn = moving.daemon.dial()
    conn.close()


def read_some(conn: RawConnection, target: str, source: random.Random) -> tuple[Reply, int]:
    if source.random() < 0.2:
        return conn.ask("GET", target), 0
    offset, length = source.randrange(BIG - 300_000), source.choice([2000, 5000, 300_000])
    return conn.ask("GET", target, {"Range": f"bytes={offset}-{offset + length - 1}"}), offset


def test_never_a_byte_of_another_version(moving: Moving) -> None:
    """While an image is replaced again and again, a version has bytes of one content, is a 404, or breaks off."""
    enough, seen, faults = threading.Event(), list[Reading](), list[BaseException]()

    def read(image_id: str, seed: int) -> None:
        try:
            read_on(moving, image_id, seed, enough, seen)
        except BaseException as fault:  # noqa: BLE001 - shown by the test's own thread
            faults.append(fault)
            enough.set()

    readers = [
        threading.Thread(target=read, args=(image_id, at)) for at, image_id in enumerate(["moving", "tagged"] * 2)
    ]
    for reader in readers:
        reader.start()
    try:
        replaced = set[int]()
        for _ in range(3):
            wanted = moving.replace()
            replaced.add(wanted)
            until(lambda: faults or any(one.number == wanted for one in seen), 4 * SHOWS_WITHIN)  # noqa: B023
    finally:
        enough.set()
        for reader in readers:
            reader.join()
    assert not faults, faults[0]
    numbers: dict[str, set[int]] = {}
    for reading in seen:
        if reading.number is not None:
            numbers.setdefault(reading.version, set()).add(reading.number)
    assert all(len(found) == 1 for found in numbers.values()), numbers
    assert set().union(*numbers.values()) >= replaced
    assert any(reading.number is None for reading in seen)


def test_replaced_image(moving: Moving) -> None:
    """Within the time of a change the old version is a 404 and the new one is there, by remembered heads too."""
    daemon = moving.daemon
    for image_id in ("moving", "tagged"):
        with daemon.dial() as conn:
            number, old = moving.settled(conn, image_id)
            target, part = f"/v1/images/{image_id}/versions/{old}", {"Range": "bytes=1000-1999"}
            assert [conn.ask("GET", target, part).body for _ in range(3)] == [content(number)[:1000]] * 3
            moving.replace()
            until(lambda: conn.ask("GET", target, part).status == 404, SHOWS_WITHIN)  # noqa: B023
            new = until(lambda: {told(conn, image_id)} - {old}, SHOWS_WITHIN).pop()  # noqa: B023
            reply = good_reply(daemon, f"/v1/images/{image_id}/versions/{new}")
            assert moving.number_of(0, reply.body) == moving.present


def good_reply(daemon: Daemon, target: str) -> Reply:
    """The reply once it is a 200."""
    replies = until(lambda: [reply for reply in [daemon.ask(target)] if reply.status == 200], SHOWS_WITHIN)
    return replies[0]


def test_back_to_the_old_content(moving: Moving) -> None:
    """A file that is put back as it was, with its mtime, has its version again."""
    daemon = moving.daemon
    with daemon.dial() as conn:
        number, old = moving.settled(conn, "moving")
        moving.replace()
        until(lambda: told(conn, "moving") != old, SHOWS_WITHIN)
        moving.replace(number)
        assert moving.settled(conn, "moving") == (number, old)
    reply = good_reply(daemon, f"/v1/images/moving/versions/{old}")
    assert reply.body == content(number)


def test_replaced_while_it_streams(moving: Moving) -> None:
    """A body that is under way ends with its own bytes, or breaks off: it has none of the new file."""
    daemon = moving.daemon
    with daemon.dial(receive_buffer=4096) as conn, daemon.dial() as other:
        number, old = moving.settled(other, "moving")
        conn.send(head("GET", f"/v1/images/moving/versions/{old}"))
        assert conn.reply_head().status == 200
        begun = conn.take(1000)
        moving.replace()
        until(lambda: told(other, "moving") != old, SHOWS_WITHIN)
        body = begun + conn.take(BIG - 1000)
        assert body == content(number)[: len(body)]
        assert len(body) == BIG or conn.ending == "reset"


def test_digest_that_becomes_known(home: Callable[[str], Path]) -> None:
    """When the catalog learns the digest, the version is that of the digest, and the one before is a 404."""
    path = moving_root(home("learning"))
    digest = hashlib.sha256(content(0)).hexdigest()
    with running(path) as daemon, daemon.dial() as conn:
        old = told(conn, "moving")
        target = f"/v1/images/moving/versions/{old}"
        assert conn.ask("HEAD", target).status == 200
        put_catalog(daemon.root, [entry("moving", "moving.img", sha256=digest)])
        until(lambda: conn.ask("HEAD", target).status == 404, SHOWS_WITHIN)
        assert told(conn, "moving") == f"sha256-{digest}"
        reply = conn.ask("GET", f"/v1/images/moving/versions/sha256-{digest}")
        assert (reply.status, reply.body, reply["Cache-Control"]) == (200, content(0), IMMUTABLE)
