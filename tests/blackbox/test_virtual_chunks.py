"""Virtual chunks: an image in chunked form, cut from its raw file on request."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from tests.blackbox.bucket_differences import REAL_STORE
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import (
    CATALOG_DATE,
    CATALOG_HTTP_DATE,
    DATA_EXPOSED,
    MODIFIED,
    entry,
    put,
    put_catalog,
    stamp,
    wide_bytes,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

MIB = 1 << 20
DISK = wide_bytes()[: 5 * MIB + 512]
SMALL = 65_536
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
MOVING = "public, max-age=3600, no-transform"
PRIVATE = "private, no-store, no-transform"
DATED = {"last_modified": CATALOG_DATE}


def published(base: Path, chunk: bytes, name: str = "00000000.bin") -> None:
    """Write chunk artifacts that can be told from what would be cut."""
    write(base / "manifest.json", b'{"published": true}')
    write(base / "chunks" / name, chunk)


def make_root(root: Path) -> None:
    write(root / "disk.img", DISK)
    write(root / "odd.img", DISK[:1000])
    write(root / "empty.img", b"")
    put_catalog(
        root,
        {
            "images": [
                entry("disk"),
                entry("small", recommended_chunk_size_bytes=SMALL),
                entry("tagged", etag='"tag-1"', **DATED),
                entry("weak", etag='W/"weak-1"', **DATED),
                entry("private", public=False),
                entry("off", virtual_chunks=False),
                entry("odd", "odd.img"),
                entry("empty", "empty.img"),
                entry("uneven", recommended_chunk_size_bytes=1000),
                entry("vast", recommended_chunk_size_bytes=128 * MIB),
                entry("over", recommended_chunk_size_bytes=16 * MIB),
                entry("both"),
                entry("pointed", chunked_version="v1"),
                entry("lost", chunked_version="v9"),
                entry("missing", "no-such.img"),
            ]
        },
    )
    published(root / "chunked" / "both", b"published")
    published(root / "chunked" / "both" / "v1", b"one")
    published(root / "chunked" / "pointed" / "v1", b"pointed")


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon that cuts whatever has no chunk artifacts."""
    path = home("virtual")
    make_root(path / "images")
    with running(path, "--virtual-chunks") as daemon:
        yield daemon


def manifest_of(daemon: Daemon, image_id: str, version: str = "") -> dict[str, Any]:
    reply = daemon.ask(f"/v1/images/{image_id}/chunked{version}/manifest.json")
    assert reply.status == 200
    document: dict[str, Any] = json.loads(reply.body)
    return document


def versioned(daemon: Daemon, image_id: str) -> str:
    return f"/v1/images/{image_id}/chunked/{manifest_of(daemon, image_id)['version']}"


@pytest.mark.parametrize(("image_id", "chunk_size"), [("disk", 4 * MIB), ("small", SMALL)])
@pytest.mark.parametrize("spelling", ["manifest", "manifest.json"])
def test_manifest(daemon: Daemon, image_id: str, chunk_size: int, spelling: str) -> None:
    """The manifest has the format's keys, the chunk size that the image recommends or the default, and no digests."""
    reply = daemon.ask(f"/v1/images/{image_id}/chunked/{spelling}")
    document = json.loads(reply.body)
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", document.pop("version"))
    assert document == {
        "schema": "aero.chunked-disk-image.v1",
        "imageId": image_id,
        "mimeType": "application/octet-stream",
        "totalSize": len(DISK),
        "chunkSize": chunk_size,
        "chunkCount": -(-len(DISK) // chunk_size),
        "chunkIndexWidth": 8,
    }
    assert reply["Content-Type"] == "application/json"


@pytest.mark.parametrize("image_id", ["disk", "small", "tagged", "weak", "private"])
@pytest.mark.parametrize("is_versioned", [False, True])
def test_chunks_are_the_image(daemon: Daemon, image_id: str, *, is_versioned: bool) -> None:
    """All chunks one after the other are the image, to the byte, and there is none after the last."""
    document = manifest_of(daemon, image_id)
    base = f"/v1/images/{image_id}/chunked" + (f"/{document['version']}" if is_versioned else "")
    if is_versioned:
        assert manifest_of(daemon, image_id, f"/{document['version']}") == document
    chunks = [daemon.ask(f"{base}/chunks/{n:08}.bin") for n in range(document["chunkCount"])]
    assert {chunk.status for chunk in chunks} == {200}
    assert b"".join(chunk.body for chunk in chunks) == DISK
    assert daemon.ask(f"{base}/chunks/{document['chunkCount']:08}.bin").status == 404
    assert len({chunk["ETag"] for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize(
    ("image_id", "fields", "moving", "fixed"),
    [
        ("disk", {}, MOVING, IMMUTABLE),
        ("disk", {"Cookie": "a=b"}, PRIVATE, PRIVATE),
        ("disk", {"Authorization": "Bearer x"}, PRIVATE, PRIVATE),
        ("private", {}, PRIVATE, PRIVATE),
    ],
)
@pytest.mark.parametrize("rest", ["manifest", "manifest.json", "chunks/00000000.bin", "chunks/00000001.bin"])
def test_headers(daemon: Daemon, image_id: str, fields: dict[str, str], moving: str, fixed: str, rest: str) -> None:
    """The headers of http.md §6: immutable where the URL names the version, the short age where it does not."""
    for base, caching in ((f"/v1/images/{image_id}/chunked", moving), (versioned(daemon, image_id), fixed)):
        reply = daemon.ask(f"{base}/{rest}", fields=fields)
        assert reply.status == 200
        assert reply["Cache-Control"] == caching
        assert reply["Content-Encoding"] == "identity"
        assert reply["X-Content-Type-Options"] == "nosniff"
        assert reply["Last-Modified"] == MODIFIED or REAL_STORE
        assert reply["Cross-Origin-Resource-Policy"] == "same-site"
        assert reply["Content-Length"] == str(len(reply.body))
        exposed = reply["Access-Control-Expose-Headers"].lower().replace(" ", "").split(",")
        assert set(exposed) == set(DATA_EXPOSED)
        assert reply.get("Accept-Ranges") is None
        assert not reply["ETag"].startswith("W/")


@pytest.mark.parametrize("rest", ["manifest.json", "chunks/00000000.bin", "chunks/00000001.bin"])
def test_head_range_and_conditions(daemon: Daemon, rest: str) -> None:
    """HEAD has the headers of GET, Range is ignored, a current tag or date gives 304, another one the body."""
    for base in ("/v1/images/disk/chunked", versioned(daemon, "disk")):
        got = daemon.ask(f"{base}/{rest}")
        head = daemon.ask(f"{base}/{rest}", "HEAD")
        assert (head.status, head["Content-Length"], head["ETag"]) == (200, got["Content-Length"], got["ETag"])
        assert daemon.ask(f"{base}/{rest}", fields={"Range": "bytes=0-0"}).body == got.body
        assert daemon.ask(f"{base}/{rest}", fields={"If-None-Match": got["ETag"]}).status == 304
        assert daemon.ask(f"{base}/{rest}", fields={"If-None-Match": '"x"'}).status == 200
        assert daemon.ask(f"{base}/{rest}", fields={"If-Match": '"x"'}).status == 412


@pytest.mark.parametrize("rest", ["manifest.json", "chunks/00000000.bin"])
def test_dates(daemon: Daemon, rest: str) -> None:
    """A date is good for the versioned URLs; it says nothing of the chunk size, so for the moving ones it is not."""
    fields = {"If-Modified-Since": MODIFIED}
    assert daemon.ask(f"{versioned(daemon, 'disk')}/{rest}", fields=fields).status == 304
    assert daemon.ask(f"/v1/images/disk/chunked/{rest}", fields=fields).status == 200


@pytest.mark.parametrize(
    "name", ["0.bin", "00.bin", "000000000.bin", "0000000000000000.bin", "00000002.bin", "99999999.bin", "x.bin"]
)
def test_other_spellings(daemon: Daemon, name: str) -> None:
    """Only the names that the format gives are there, as if they were files."""
    assert daemon.ask(f"/v1/images/disk/chunked/chunks/{name}").status == 404


@pytest.mark.parametrize("image_id", ["odd", "empty", "uneven", "vast"])
def test_unfit_images(daemon: Daemon, image_id: str) -> None:
    """An image that the format has no room for is a 404 in chunks, with one warning in the log, and else as ever."""
    for rest in ("manifest", "chunks/00000000.bin", "manifest.json"):
        assert daemon.ask(f"/v1/images/{image_id}/chunked/{rest}").status == 404
    assert daemon.ask(f"/v1/images/{image_id}").status == 200

    def warnings() -> list[dict[str, Any]]:
        return [line for line in daemon.lines() if line["level"] == "warn" and line.get("image_id") == image_id]

    (line,) = until(warnings)
    assert line["reason"]


@pytest.mark.parametrize("rest", ["manifest.json", "chunks/00000000.bin"])
@pytest.mark.parametrize("image_id", ["off", "missing", "unknown"])
def test_not_there(daemon: Daemon, image_id: str, rest: str) -> None:
    """No chunks of an image that says no, has no file, or is not listed."""
    assert daemon.ask(f"/v1/images/{image_id}/chunked/{rest}").status == 404


def test_chunk_limit(daemon: Daemon, home: Callable[[str], Path]) -> None:
    """A virtual chunk over --max-chunk-bytes is a 413 like any other; a shorter last one is not."""
    assert daemon.ask("/v1/images/over/chunked/chunks/00000000.bin").status == 200  # 5 MiB are all there is
    path = home("limit")
    write(path / "images" / "disk.img", DISK)
    with running(path, "--virtual-chunks", "--max-chunk-bytes", str(2 * MIB)) as limited:
        base = "/v1/images/disk.img/chunked/chunks"
        assert limited.ask(f"{base}/00000000.bin").status == 413
        assert limited.ask(f"{base}/00000001.bin").status == 200


def test_published_win(daemon: Daemon) -> None:
    """Where a chunk manifest is published all comes from the artifacts, also what is not among them."""
    for image_id, chunk in (("both", b"published"), ("pointed", b"pointed")):
        base = f"/v1/images/{image_id}/chunked"
        assert daemon.ask(f"{base}/manifest").body == b'{"published": true}'
        assert daemon.ask(f"{base}/chunks/00000000.bin").body == chunk
        assert daemon.ask(f"{base}/chunks/00000001.bin").status == 404
    assert daemon.ask("/v1/images/both/chunked/v1/chunks/00000000.bin").body == b"one"
    assert daemon.ask("/v1/images/both/chunked/v2/manifest.json").status == 404
    assert manifest_of(daemon, "lost")["totalSize"] == len(DISK)  # its artifacts are not there


def test_switches(home: Callable[[str], Path]) -> None:
    """Off by default; an entry can turn it on for itself; files that no catalog shows are never cut."""
    path = home("switch")
    write(path / "images" / "disk.img", DISK)
    put_catalog(path / "images", [entry("disk"), entry("on", virtual_chunks=True)])
    with running(path) as daemon:
        assert daemon.ask("/v1/images/disk/chunked/manifest.json").status == 404
        assert daemon.ask("/v1/images/on/chunked/chunks/00000001.bin").body == DISK[4 * MIB :]
    path = home("listing")
    write(path / "images" / "disk.img", DISK)
    write(path / "images" / ".hidden", DISK)
    (path / "images" / "linked.img").symlink_to("disk.img")
    with running(path, "--virtual-chunks", "--virtual-chunk-bytes", "1048576") as daemon:
        assert manifest_of(daemon, "disk.img")["chunkSize"] == MIB
        for image_id in (".hidden", "linked.img"):
            assert daemon.ask(f"/v1/images/{image_id}/chunked/manifest.json").status == 404


@pytest.mark.parametrize("is_tagged", [False, True])
def test_image_changes(home: Callable[[str], Path], *, is_tagged: bool) -> None:
    """Once the image has changed its old version is gone, and tags and version of the moving URLs are others."""
    path = home("changes")
    root = path / "images"
    write(root / "disk.img", DISK)
    tag = {"etag": '"one"'} if is_tagged else {"etag": 'W/"one"'}
    put_catalog(root, [entry("disk", **tag)])
    moving = ("/v1/images/disk/chunked/manifest.json", "/v1/images/disk/chunked/chunks/00000000.bin")
    with running(path, "--virtual-chunks") as daemon:
        old = versioned(daemon, "disk")
        tags = [daemon.ask(target)["ETag"] for target in moving]
        put(root / "disk.img", DISK[::-1])
        if is_tagged:
            put_catalog(root, [entry("disk", etag='"two"')])
        until(lambda: versioned(daemon, "disk") != old, SHOWS_WITHIN)
        assert [daemon.ask(f"{old}/{rest}").status for rest in ("manifest", "chunks/00000000.bin")] == [404, 404]
        for target, before in zip(moving, tags, strict=True):
            until(lambda: daemon.ask(target, fields={"If-None-Match": before}).status == 200, SHOWS_WITHIN)  # noqa: B023
        assert daemon.ask(f"{versioned(daemon, 'disk')}/chunks/00000000.bin").body == DISK[::-1][: 4 * MIB]


def test_version_is_that_of_the_content(home: Callable[[str], Path]) -> None:
    """The same image under a strong tag has the same version and tags on every replica, whatever its mtime."""
    found = []
    for name, second in (("replica-1", 1_600_000_000), ("replica-2", 1_700_000_000)):
        path = home(name)
        write(path / "images" / "disk.img", DISK)
        stamp(path / "images" / "disk.img", (second, 0))
        put_catalog(path / "images", [entry("disk", etag='"one"', **DATED)])
        with running(path, "--virtual-chunks") as daemon:
            chunk = daemon.ask("/v1/images/disk/chunked/chunks/00000000.bin")
            assert chunk["Last-Modified"] == CATALOG_HTTP_DATE
            manifest = daemon.ask("/v1/images/disk/chunked/manifest.json")
            found.append((manifest.body, manifest["ETag"], chunk["ETag"]))
    assert found[0] == found[1]


def test_chunk_size_changes_the_version(home: Callable[[str], Path]) -> None:
    """Another chunk size is another version, so that a URL never means other bytes than before."""
    found = []
    for size in ("1048576", "524288"):
        path = home("chunk-size")
        write(path / "images" / "disk.img", DISK)
        with running(path, "--virtual-chunks", "--virtual-chunk-bytes", size) as daemon:
            chunk = daemon.ask("/v1/images/disk.img/chunked/chunks/00000005.bin")
            found.append((versioned(daemon, "disk.img"), chunk["ETag"]))
    assert all(one != other for one, other in zip(*found, strict=True))


def test_catalog_and_settings_mistakes(home: Callable[[str], Path]) -> None:
    """The catalog takes only true, false and null for virtual_chunks; the chunk size is a multiple of 512."""
    path = home("mistake")
    write(path / "images" / "disk.img", DISK)
    put_catalog(path / "images", [entry("disk", virtual_chunks="yes")])
    with running(path) as daemon:
        line = daemon.line(lambda line: line["message"] == "catalog invalid")
        assert "virtual_chunks" in line["reason"]
        put_catalog(path / "images", [entry("disk", virtual_chunks=None)])
        until(lambda: daemon.ask("/v1/images/disk").status == 200, SHOWS_WITHIN)


def test_log_and_metrics(daemon: Daemon) -> None:
    """A virtual chunk is logged and counted under its route, its bytes under its image."""
    before = daemon.metrics()
    reply, line = daemon.traced("/v1/images/small/chunked/chunks/00000003.bin")
    assert line["route"] == "/v1/images/:image_id/chunked/chunks/:chunk_name"
    assert (line["bytes_sent"], line["image_id"]) == (len(reply.body), "small")
    daemon.rises(before, len(reply.body), "image_bytes_served_total", image_id="small")
