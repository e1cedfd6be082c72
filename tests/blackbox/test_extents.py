"""http.md §14: where the zeros of an image are."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from contextlib import AbstractContextManager, ExitStack
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define
from tests.blackbox.harness import SHOWS_WITHIN, TWISTD, Daemon, environment, running, until
from tests.blackbox.image_roots import (
    DISK,
    NANOS,
    OVER_BUCKET,
    SECONDS,
    SIZE,
    VERSION,
    entry,
    put,
    put_catalog,
    small_root,
    stamp,
)
from tests.blackbox.leased_root import lease, leased
from tests.blackbox.worker_processes import two_workers
from tests.object_store.server import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.raw_http import Fields

BLOCK = 64 * 1024
"""A block of any usual file system, or several of them."""
BLOCKS = 48
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
MINE = "/v1/images/holes/extents"
Answer = dict[str, Any]


def content(*data: int, tail: int = 0) -> bytes:
    """Blocks of zeros but for those that are named; `tail` further bytes of data."""
    noise = random.Random(5)
    blocks = (noise.randbytes(BLOCK) if at in data else bytes(BLOCK) for at in range(BLOCKS))
    boot = bytearray(b"".join(blocks) + noise.randbytes(tail))
    if 0 in data:
        boot[510:512] = b"\x55\xaa"
    return bytes(boot)


HOLES = content(0, 7, 8, 30, tail=512)


def write_sparse(path: Path, data: bytes) -> None:
    """Write a file whose blocks of zeros are holes."""
    with path.open("wb") as file:
        for at in range(0, len(data), BLOCK):
            if any(data[at : at + BLOCK]):
                file.seek(at)
                file.write(data[at : at + BLOCK])
        file.truncate(len(data))


def covered(answer: Answer) -> list[tuple[int, int]]:
    """The extents of an answer in bytes, after a look at its form."""
    unit, size, data = answer["unit"], answer["size_bytes"], answer["data"]
    assert len(data) % 2 == 0
    assert all(number >= 0 for number in data[:1])
    assert all(number > 0 for number in data[1:])
    bounds = [*accumulate(data)]
    extents = [
        (first * unit, min(after * unit, size)) for first, after in zip(bounds[::2], bounds[1::2], strict=True)
    ]
    assert answer["data_bytes"] == sum(after - first for first, after in extents)
    return extents


def blocks_of(answer: Answer) -> list[int]:
    """The blocks that are data; all else of the image reads as zeros."""
    return [at for first, after in covered(answer) for at in range(first // BLOCK, -(-after // BLOCK))]


def require_true(answer: Answer, data: bytes) -> None:
    """Check that nothing but zeros lies outside of the extents."""
    rest = bytearray(data)
    for first, after in covered(answer):
        rest[first:after] = bytes(after - first)
    assert not any(rest)


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def daemon(request: pytest.FixtureRequest, home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that the tests below leave as it is."""
    path = home("extents")
    root = small_root(
        path / "images",
        entry("holes", "holes.img"),
        entry("zeros", "zeros.img"),
        entry("digested", sha256=hashlib.sha256(DISK).hexdigest()),
        entry("odd", "holes.img", recommended_chunk_size_bytes=3 * 512),
        entry("gone", "gone.img"),
        entry("extents", "holes.img"),
    )
    write_sparse(root / "holes.img", HOLES)
    write_sparse(root / "zeros.img", bytes(10 * BLOCK))
    with running(path) if request.param == 1 else two_workers(path) as found:
        yield found


def ask(daemon: Daemon, target: str = MINE, fields: Fields = ()) -> Answer:
    reply = daemon.ask(target, fields=fields)
    assert reply.status == 200, (reply.status, reply.body)
    answer: Answer = reply.json()
    return answer


@pytest.mark.parametrize("image_id", ["disk", "tagged", "weak", "private", "empty", "ageless", "holes", "digested"])
def test_agrees_with_the_metadata(daemon: Daemon, image_id: str) -> None:
    """The answer is about the image that the metadata describe, and covers all of its data."""
    meta, answer = daemon.ask(f"/v1/images/{image_id}/meta").json(), ask(daemon, f"/v1/images/{image_id}/extents")
    assert (answer["schema"], answer["image_id"], answer["unit"]) == ("aero.extents.v1", image_id, 4096)
    for key in ("etag", "size_bytes", "version"):
        assert answer.get(key) == meta.get(key)
    assert [*answer] == [
        *("schema", "image_id", *(["version"] if "version" in meta else []), "etag", "size_bytes", "unit"),
        *("data_bytes", "data"),
    ]
    require_true(answer, daemon.ask(f"/v1/images/{image_id}").body)


def test_holes_of_files(daemon: Daemon) -> None:
    """Holes of a file are zeros; over a bucket where nothing is known of an object, one extent covers all."""
    answer, zeros = ask(daemon), ask(daemon, "/v1/images/zeros/extents")
    if OVER_BUCKET:
        assert (answer["data"], zeros["data"]) == ([0, BLOCKS * 16 + 1], [0, 160])
        return
    assert blocks_of(answer) == [0, 7, 8, 30, BLOCKS]
    assert answer["data"] == [0, 16, 96, 32, 336, 16, 272, 1]
    assert (zeros["data"], zeros["data_bytes"]) == ([], 0)


def test_id_like_a_route(daemon: Daemon) -> None:
    """An image whose id is `extents` has extents, and bytes."""
    assert ask(daemon, "/v1/images/extents/extents")["data"] == ask(daemon)["data"]
    assert daemon.ask("/v1/images/extents").body == HOLES


@pytest.mark.parametrize(
    ("query", "unit"),
    [
        *(
            ("unit=512", 512),
            ("unit=65536", BLOCK),
            ("unit=67108864", 1 << 26),
            ("unit=0512", 512),
            ("unit=5%312", 512),
        ),
        *(("UNIT=7", 4096), ("u%6eit=7", 4096), ("unit=8192&unit=7", 8192), ("lease=x.y.z&x&=&unit=1024", 1024)),
    ],
)
def test_units(daemon: Daemon, query: str, unit: int) -> None:
    """A part is told in the unit that is asked for; other parameters change nothing."""
    answer = ask(daemon, f"{MINE}?{query}")
    assert answer["unit"] == unit
    require_true(answer, HOLES)
    if unit <= BLOCK and not OVER_BUCKET:
        assert blocks_of(answer) == [0, 7, 8, 30, BLOCKS]


def test_unit_of_chunks(daemon: Daemon) -> None:
    """The chunk size of an image is a unit of it alone."""
    answer = ask(daemon, "/v1/images/odd/extents?unit=1536")
    assert answer["unit"] == 1536
    require_true(answer, HOLES)
    assert daemon.ask(f"{MINE}?unit=1536").status == 400


@pytest.mark.parametrize(
    ("query", "window"),
    [
        ("offset=458752&length=65536", (7 * BLOCK, 8 * BLOCK)),
        ("offset=458753&length=1", (7 * BLOCK, 7 * BLOCK + 4096)),
        ("offset=462847&length=2", (7 * BLOCK, 7 * BLOCK + 8192)),
        ("offset=3145728", (BLOCKS * BLOCK, BLOCKS * BLOCK + 512)),
        ("offset=3145000&length=999999999999", (BLOCKS * BLOCK - 4096, BLOCKS * BLOCK + 512)),
        ("offset=3146240", (0, 0)),
        ("offset=18446744073709551616&length=18446744073709551616", (0, 0)),
        ("length=0", (0, 0)),
        ("length=1", (0, 4096)),
    ],
)
def test_windows(daemon: Daemon, query: str, window: tuple[int, int]) -> None:
    """A part has the extents in it, widened to whole units, counted from byte 0 of the image; past the end none."""
    extents = covered(ask(daemon, f"{MINE}?{query}"))
    first, after = window
    whole = covered(ask(daemon))
    cut = [(max(one, first), min(other, after)) for one, other in whole if one < after and other > first]
    assert extents == cut


BAD = ["unit=0", "unit=1", "unit=4097", "unit=134217728", "unit=", "unit", "unit=-512", "unit=4096.0", "unit=1e3"]
BAD += ["offset=-1", "offset=x", "offset=", "length=", "length=-1", "length=0x10", "length=%20", "unit=+512"]


@pytest.mark.parametrize("query", BAD)
def test_values_that_are_none(daemon: Daemon, query: str) -> None:
    """A value that is none is a 400 as the metadata plane has them; the log has no query."""
    for target in (MINE, f"/v1/images/holes/versions/{ask(daemon)['version']}/extents"):
        reply, line = daemon.traced(f"{target}?{query}")
        assert (reply.status, [*reply.json()], reply["Cache-Control"]) == (400, ["error"], "no-store")
        assert (line["reason"], line["path"]) == ("target", target)
    assert daemon.ask(f"{MINE}?{query}", "HEAD").status == 400


def test_headers(daemon: Daemon) -> None:
    """JSON with a strong tag of its own and no date, to be revalidated each time."""
    reply = daemon.ask(MINE, fields={"Origin": "https://a.test"})
    assert (reply["Content-Type"], reply["Cache-Control"]) == ("application/json", "no-cache")
    assert reply["ETag"].startswith('"')
    assert reply["ETag"] != ask(daemon)["etag"]
    names = {name for name, _ in reply.fields}
    assert not names & {"Last-Modified", "Accept-Ranges", "Repr-Digest", "Set-Cookie"}
    assert reply["Access-Control-Allow-Origin"] == "*"
    other = daemon.ask(f"{MINE}?unit=512")
    assert other["ETag"] != reply["ETag"]
    assert daemon.ask(MINE)["ETag"] == reply["ETag"]


def test_methods(daemon: Daemon) -> None:
    """HEAD has the headers of GET; a preflight is a 204; another method a 405."""
    get, head = (daemon.ask(MINE, method) for method in ("GET", "HEAD"))
    assert head.body == b""
    varying = {"Date", "X-Request-Id"}
    assert [pair for pair in head.fields if pair[0] not in varying] == [
        pair for pair in get.fields if pair[0] not in varying
    ]
    assert daemon.ask(MINE, "OPTIONS", {"Origin": "https://a.test"}).status == 204
    assert daemon.ask(MINE, "POST").status == 405


def test_conditions(daemon: Daemon) -> None:
    """Conditions hold by the tag of the answer; a 304 keeps the tag."""
    for target in (MINE, f"/v1/images/holes/versions/{ask(daemon)['version']}/extents"):
        whole = daemon.ask(target)
        tag = whole["ETag"]
        for fields, status in (
            ({"If-None-Match": tag}, 304),
            ({"If-None-Match": '"x", ' + tag}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": '"x"'}, 200),
            ({"If-Match": tag}, 200),
            ({"If-Match": '"x"'}, 412),
            ({"If-Modified-Since": "Fri, 01 Jan 2038 00:00:00 GMT"}, 200),
        ):
            for method in ("GET", "HEAD"):
                reply = daemon.ask(target, method, fields)
                assert reply.status == status
                if status == 304:
                    assert (reply["ETag"], reply["Cache-Control"]) == (tag, whole["Cache-Control"])


def test_versions(daemon: Daemon) -> None:
    """Under a version the answer is the same and may be kept for good; any other version is a 404, as bytes are."""
    plain = daemon.ask(MINE)
    version = plain.json()["version"]
    reply = daemon.ask(f"/v1/images/holes/versions/{version}/extents")
    assert (reply.body, reply["ETag"], reply["Cache-Control"]) == (plain.body, plain["ETag"], IMMUTABLE)
    for image_id, other in (
        *(("holes", "v-0"), ("holes", version[:-1]), ("weak", version), ("disk", version), ("holes", "x" * 129)),
        *(("holes", ".."), ("holes", "chunks"), ("holes", "a%2Fb"), ("nobody", version), ("gone", version)),
    ):
        for query in ("", "?unit=7"):
            reply = daemon.ask(f"/v1/images/{image_id}/versions/{other}/extents{query}")
            assert (reply.status, reply["Cache-Control"]) == (404, "no-store")


def test_credentials_and_private_images(daemon: Daemon) -> None:
    """Nobody keeps an answer to credentials, or about a private image, for good."""
    version = ask(daemon, "/v1/images/private/extents")["version"]
    for target, fields in (
        (f"/v1/images/private/versions/{version}/extents", {}),
        (f"/v1/images/disk/versions/{version}/extents", {"Cookie": "a=b"}),
    ):
        assert daemon.ask(target, fields=fields)["Cache-Control"] == "private, no-store, no-transform"


def test_missing_images(daemon: Daemon) -> None:
    """Unknown images, and those without a raw file, are 404 and invalid ids 400, as JSON."""
    for image_id, status in (("nobody", 404), ("gone", 404), ("%2e%2e", 400), ("a%2Fb", 400), ("", 400)):
        reply = daemon.ask(f"/v1/images/{image_id}/extents")
        assert (reply.status, [*reply.json()]) == (status, ["error"])
    assert daemon.ask(f"{MINE}/").status == 404


def test_log_and_metrics(daemon: Daemon) -> None:
    """A request is logged and counted under its template, without its query."""
    before = daemon.metrics()
    version = ask(daemon)["version"]
    templates = {MINE: "/v1/images/:image_id/extents"}
    templates[f"/v1/images/holes/versions/{version}/extents"] = "/v1/images/:image_id/versions/:version/extents"
    for target, template in templates.items():
        reply, line = daemon.traced(f"{target}?unit=512&lease=secret")
        assert (line["route"], line["path"], line["image_id"]) == (template, target, "holes")
        assert (line["status"], line["bytes_sent"]) == (200, len(reply.body))
        assert "reason" not in line
    assert "secret" not in daemon.log_text()
    daemon.rises(
        before, 2, "http_requests_total", route=MINE.replace("holes", ":image_id"), method="GET", status="200"
    )
    assert daemon.metrics().value("image_bytes_served_total", image_id="holes") == before.value(
        "image_bytes_served_total", image_id="holes"
    )


def test_replaced_image(home: Callable[[str], Path]) -> None:
    """When an image is replaced its extents are those of the new file, with a tag of their own."""
    path = home("replaced")
    root = path / "images"
    root.mkdir()
    write_sparse(root / "new.tmp", HOLES)
    (root / "new.tmp").replace(root / "holes.img")
    put_catalog(root, [entry("holes", "holes.img")])
    with running(path) as daemon:
        old, tag = ask(daemon), daemon.ask(MINE)["ETag"]
        new = content(3)
        write_sparse(root / ".new", new)
        (root / ".new").replace(root / "holes.img")
        until(lambda: ask(daemon)["version"] != old["version"], SHOWS_WITHIN)
        answer = ask(daemon)
        require_true(answer, new)
        assert blocks_of(answer) == ([3] if not OVER_BUCKET else list(range(BLOCKS)))
        assert daemon.ask(MINE, fields={"If-None-Match": tag}).status == 200
        assert daemon.ask(f"/v1/images/holes/versions/{old['version']}/extents").status == 404


def test_replaced_while_the_former_file_is_open(home: Callable[[str], Path]) -> None:
    """The answer right after an image was replaced is that of the new file, and no 503."""
    if OVER_BUCKET:
        pytest.skip("an object is looked at anew once in --origin-refresh-secs")
    path = home("replaced-at-once")
    root = path / "images"
    root.mkdir()
    write_sparse(root / "holes.img", HOLES)
    put_catalog(root, [entry("holes", "holes.img")])
    with running(path) as daemon:
        assert daemon.ask("/v1/images/holes", "HEAD").status == 200
        write_sparse(root / ".new", content(20))
        (root / ".new").replace(root / "holes.img")
        assert blocks_of(ask(daemon)) == [20]


@pytest.mark.parametrize("how", ["in place", "by another"])
def test_change_that_the_tag_does_not_show(home: Callable[[str], Path], how: str) -> None:
    """New bytes under the old size and mtime are covered too, however often the image is read meanwhile."""
    if OVER_BUCKET:
        pytest.skip("an object has no mtime that a writer sets")
    path = home("same-tag")
    root = path / "images"
    root.mkdir()
    write_sparse(root / "holes.img", bytes(len(HOLES)))
    stamp(root / "holes.img", (SECONDS, NANOS))
    put_catalog(root, [entry("holes", "holes.img")])
    with running(path) as daemon:
        assert blocks_of(ask(daemon)) == []
        for block in (3, 20):
            new = root / ("holes.img" if how == "in place" else ".new")
            with new.open("r+b" if how == "in place" else "wb") as file:
                file.truncate(len(HOLES))
                file.seek(block * BLOCK)
                file.write(b"new")
            stamp(new, (SECONDS, NANOS))
            new.replace(root / "holes.img")
            until(lambda: block in blocks_of(ask(daemon)), SHOWS_WITHIN)  # noqa: B023
            require_true(ask(daemon), daemon.ask("/v1/images/holes").body)


def test_written_in_place(home: Callable[[str], Path]) -> None:
    """A file that is written in place gets extents that cover the new bytes."""
    if OVER_BUCKET:
        pytest.skip("objects are replaced, and never changed in place")
    path = home("in-place")
    root = path / "images"
    root.mkdir()
    write_sparse(root / "holes.img", HOLES)
    put_catalog(root, [entry("holes", "holes.img")])
    with running(path) as daemon:
        for block in (3, 20, 40):
            with (root / "holes.img").open("r+b") as file:
                file.seek(block * BLOCK)
                file.write(b"new")
            until(lambda: block in blocks_of(ask(daemon)), SHOWS_WITHIN)  # noqa: B023
            require_true(ask(daemon), (root / "holes.img").read_bytes())


def test_many_ask_at_once(daemon: Daemon) -> None:
    """Many who ask at once, for many parts, all get the right answer."""
    with ExitStack() as stack:
        conns = [stack.enter_context(daemon.dial()) for _ in range(30)]
        for number, conn in enumerate(conns):
            target = f"{MINE}?unit={512 << number % 10}"
            conn.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for conn in conns:
            require_true(conn.reply("GET").json(), HOLES)


# Private images


@pytest.fixture(scope="module")
def private(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that asks for leases."""
    with leased(home("leased"), "--lease-failures-per-sec", "0") as found:
        yield found


SECRET = "/v1/images/secret/extents"
SECRET_VERSION = f"/v1/images/secret/versions/{VERSION}/extents"


@pytest.mark.parametrize("url", [SECRET, SECRET_VERSION])
def test_lease_before_all_else(private: Daemon, url: str) -> None:
    """Without a lease nothing is said of a private image, nor of its query; with one, nobody keeps the answer."""
    for query in ("", "?unit=7", "?offset=-1"):
        shut, unknown = private.ask(url + query), private.ask(url.replace("secret", "nobody") + query)
        assert (shut.status, shut.body) == (unknown.status, unknown.body)
        assert (shut.status, shut["Cache-Control"]) == (401, "no-store")
    token = lease("secret")
    for target, fields in ((f"{url}?lease={token}&unit=512", {}), (url, {"Authorization": f"Bearer {token}"})):
        reply = private.ask(target, fields=fields)
        assert (reply.status, reply["Cache-Control"]) == (200, "private, no-store, no-transform")
        assert "Authorization" in reply["Vary"]
        assert reply.get("Aero-Lease-Remaining") is not None
    bad = private.ask(f"{url}?unit=7&lease={token}")
    assert bad.status == 400
    assert bad.get("Aero-Lease-Remaining") is not None
    assert private.ask(url, fields={"Authorization": f"Bearer {lease('other')}"}).status == 403


@pytest.mark.parametrize("url", [SECRET, SECRET_VERSION])
def test_lease_for_a_version(private: Daemon, url: str) -> None:
    """A lease for one version opens its extents, and those of no other."""
    assert private.ask(f"{url}?lease={lease('secret', ver=VERSION)}").status == 200
    assert private.ask(f"{url}?lease={lease('secret', ver='v-0')}").status == 403


def test_public_image_beside_private_ones(private: Daemon) -> None:
    """The extents of a public image need no lease, and may be kept."""
    assert private.ask("/v1/images/open/extents")["Cache-Control"] == "no-cache"
    version = ask(private, "/v1/images/open/extents")["version"]
    assert private.ask(f"/v1/images/open/versions/{version}/extents")["Cache-Control"] == IMMUTABLE


# Roots that the commands have made


@define
class Made:
    """An images root that commands write to, and how a daemon serves it."""

    home: Path
    root: str
    env: dict[str, str]
    flags: tuple[str, ...] = ()

    def command(self, *words: str | Path) -> None:
        line = [str(TWISTD.with_name("aero-storage")), *map(str, words), "--images-root", self.root]
        done = subprocess.run(line, env=environment(self.env), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def served(self) -> AbstractContextManager[Daemon]:
        (self.home / "log").unlink(missing_ok=True)
        return running(self.home, "--images-root", self.root, *self.flags, env=self.env)


@pytest.fixture(params=["directory", "bucket", "cached"])
def made(request: pytest.FixtureRequest, home: Callable[[str], Path]) -> Iterator[Made]:
    """An empty images root: a directory, or a bucket, with a block cache or without."""
    path = home("made")
    if request.param == "directory":
        (path / "images").mkdir()
        yield Made(path, str(path / "images"), {})
        return
    with ObjectStore() as store:
        store.bucket("images")
        flags: tuple[str, ...] = ("--origin-refresh-secs", "1")
        if request.param == "cached":
            flags += ("--cache-dir", str(path / "cache"), "--cache-block-bytes", "65536")
        yield Made(path, "s3://images/root", store.environ, flags)


def test_imported_image(made: Made, tmp_path: Path) -> None:
    """An imported image has its zeros left out: in a directory its holes, in a bucket those that were written too."""
    data = content(0, 5, 6, tail=512)
    (tmp_path / "written.raw").write_bytes(data)
    write_sparse(tmp_path / "sparse.raw", data)
    made.command("import", tmp_path / "written.raw", "--id", "written")
    made.command("import", tmp_path / "sparse.raw", "--id", "sparse")
    with made.served() as daemon:
        for image_id in ("written", "sparse"):
            for _ in range(2):
                answer = ask(daemon, f"/v1/images/{image_id}/extents")
                require_true(answer, data)
                if made.env or image_id == "sparse":
                    assert blocks_of(answer) == [0, 5, 6, BLOCKS]
                assert daemon.ask(f"/v1/images/{image_id}").body == data
            assert answer["version"].startswith("sha256-")


def test_replaced_by_an_import(made: Made, tmp_path: Path) -> None:
    """A new import has the extents of its own content."""
    for number, block in enumerate((5, 9)):
        data = content(0, block)
        (tmp_path / f"{number}.raw").write_bytes(data)
        made.command("import", tmp_path / f"{number}.raw", "--id", "disk")
        with made.served() as daemon:
            answer = ask(daemon, "/v1/images/disk/extents")
            if made.env:
                assert blocks_of(answer) == [0, block]
            require_true(answer, daemon.ask("/v1/images/disk").body)


def test_published_manifest(made: Made, tmp_path: Path) -> None:
    """The chunk manifest names the chunks of zeros, by gaps and lengths in chunks."""
    data = content(0, 1, 9, 10, 11, tail=512)
    write_sparse(tmp_path / "disk.raw", data)
    made.command("import", tmp_path / "disk.raw", "--id", "disk")
    made.command("publish", "disk", "--chunk-size", "131072")
    with made.served() as daemon:
        manifest = daemon.ask("/v1/images/disk/chunked/manifest.json").json()
        assert manifest["zeros"] == [1, 3, 2, 18]
        zero = hashlib.sha256(bytes(131_072)).hexdigest()
        named = [at for at, chunk in enumerate(manifest["chunks"]) if chunk["sha256"] == zero]
        assert named == [1, 2, 3, *range(6, 24)]
        assert ask(daemon, "/v1/images/disk/extents?unit=131072")["data"] == [0, 1, 3, 2, 18, 1]
        made.command("verify", "disk")


def test_zeros_by_digests(home: Callable[[str], Path]) -> None:
    """Chunks of zeros by their digests are left out of a file without holes, while it is what was published."""
    path = home("digests")
    made, root = Made(path, str(path / "images"), {}), path / "images"
    root.mkdir()
    data = content(0, 7, 20)
    put(root / "disk.img", data)
    made.command("publish", "disk.img", "--chunk-size", str(2 * BLOCK))
    version = json.loads((root / "manifest.json").read_text())["images"][0]["chunked_version"]
    with made.served() as daemon:
        assert blocks_of(ask(daemon, "/v1/images/disk.img/extents")) == [0, 1, 6, 7, 20, 21]
        other = content(0, 30)
        put(root / "disk.img", other)  # by another program: the catalog still names the chunks of the old content
        until(lambda: daemon.ask("/v1/images/disk.img").body == other, SHOWS_WITHIN)
        answer = ask(daemon, "/v1/images/disk.img/extents")
        assert answer["data"] == [0, BLOCKS * 16]
        # somebody gives the digest of the new content, and leaves the old version of the chunks
        digest = hashlib.sha256(other).hexdigest()
        put_catalog(root, [entry("disk.img", "disk.img", sha256=digest, chunked_version=version)])
        until(lambda: ask(daemon, "/v1/images/disk.img/extents")["version"] == f"sha256-{digest}", SHOWS_WITHIN)
        assert ask(daemon, "/v1/images/disk.img/extents")["data"] == [0, BLOCKS * 16]
        # or that of the old content stays, as a word of somebody who did not look at the file
        digest = hashlib.sha256(data).hexdigest()
        put_catalog(root, [entry("disk.img", "disk.img", sha256=digest, chunked_version=version)])
        until(lambda: ask(daemon, "/v1/images/disk.img/extents")["version"] == f"sha256-{digest}", SHOWS_WITHIN)
        assert ask(daemon, "/v1/images/disk.img/extents")["data"] == [0, BLOCKS * 16]


def test_zeros_that_digests_deny(home: Callable[[str], Path]) -> None:
    """A manifest of the right image that calls other chunks zeros than its digests do makes no data zeros."""
    path = home("denied")
    made, root = Made(path, str(path / "images"), {}), path / "images"
    root.mkdir()
    put(root / "disk.img", content(0, 7, 20))
    made.command("publish", "disk.img", "--chunk-size", str(BLOCK))
    (manifest,) = root.glob("chunked/disk.img/*/manifest.json")
    text, right = manifest.read_text(), '"zeros":[1,6,1,12,1,27]'
    assert right in text
    for zeros, blocks in (("0,48", range(BLOCKS)), ("1,6,1,12", [0, 7, *range(20, BLOCKS)])):
        manifest.chmod(0o644)
        manifest.write_text(text.replace(right, f'"zeros":[{zeros}]'))
        with made.served() as daemon:
            assert blocks_of(ask(daemon, "/v1/images/disk.img/extents")) == [*blocks]


def test_object_of_another_program(home: Callable[[str], Path]) -> None:
    """Of an object that was uploaded nothing is known, until it is published; its map is never that of another."""
    path = home("uploaded")
    with ObjectStore() as store:
        bucket = store.bucket("images")
        made = Made(path, "s3://images/root", store.environ, ("--origin-refresh-secs", "1"))
        data, other = content(0, 7), content(0, 20)
        bucket.put("root/disk.img", data)
        bucket.put("root/manifest.json", json.dumps([entry("disk")]).encode())
        url = "/v1/images/disk/extents"
        with made.served() as daemon:
            assert ask(daemon, url)["data"] == [0, BLOCKS * 16]
            made.command("publish", "disk")
            until(lambda: blocks_of(ask(daemon, url)) == [0, 7], 5.0)
            bucket.put("root/disk.img", other)
            until(lambda: daemon.ask("/v1/images/disk").body == other, 5.0)
            assert ask(daemon, url)["data"] == [0, BLOCKS * 16]
            bucket.put("root/disk.img", data)
            until(lambda: daemon.ask("/v1/images/disk").body == data, 5.0)
            assert blocks_of(ask(daemon, url)) == [0, 7]


def test_size_of_the_test_image() -> None:
    """The image ends in the middle of a unit."""
    assert (len(HOLES) % 4096, len(HOLES) // BLOCK, SIZE % 4096 != 0) == (512, BLOCKS, True)
