"""http.md §6: chunked delivery."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.bucket_differences import REAL_STORE
from tests.blackbox.harness import SHOWS_WITHIN, running, until
from tests.blackbox.image_roots import DATA_EXPOSED, DISK, MODIFIED, entry, put, put_catalog, tag_of, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

CHUNK = 65_536
IMMUTABLE = "public, max-age=31536000, immutable, no-transform"
MOVING = "public, max-age=3600, no-transform"
PRIVATE = "private, no-store, no-transform"
EXPOSED = set(DATA_EXPOSED)


def manifest(image_id: str, version: str) -> bytes:
    """Return a manifest of the chunked format for the first four chunks of the disk."""
    document = {
        "schema": "aero.chunked-disk-image.v1",
        "imageId": image_id,
        "version": version,
        "mimeType": "application/octet-stream",
        "totalSize": 4 * CHUNK,
        "chunkSize": CHUNK,
        "chunkCount": 4,
        "chunkIndexWidth": 8,
    }
    return json.dumps(document).encode()


def artifacts(base: Path, image_id: str, version: str, salt: bytes = b"") -> None:
    """Write a manifest and four chunks; `salt` at the start of each tells versions apart."""
    write(base / "manifest.json", manifest(image_id, version))
    for n in range(4):
        data = DISK[n * CHUNK : (n + 1) * CHUNK]
        write(base / "chunks" / f"{n:08}.bin", salt + data[len(salt) :])


@pytest.fixture(scope="module")
def chunked(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon over chunks of every kind; no raw file for some."""
    path = home("chunked")
    root = path / "images"
    write(root / "disk.img", DISK)
    for image_id in ("flat", "hidden", "tagged", "dotted", "unlisted", "data"):
        artifacts(root / "chunked" / image_id, image_id, "1")
    for version in ("v1", "v2", "data", "manifest", "1.0_x-Y"):
        artifacts(root / "chunked" / "moving" / version, "moving", version, version[:2].encode())
    artifacts(root / "chunked" / "moving", "moving", "unversioned", b"no")
    flat = root / "chunked" / "flat" / "chunks"
    write(flat / "0.bin", b"zero")
    write(flat / f"{'1' * 32}.bin", b"thirty-two")
    write(flat / f"{'1' * 33}.bin", b"thirty-three")
    write(flat / "a.bin", b"letter")
    write(flat / "00000009", b"no suffix")
    write(flat / "00000009.BIN", b"upper")
    write(flat / "00000009.bin.bak", b"backup")
    write(flat / "-1.bin", b"minus")
    write(flat / "00000020.bin", b"")
    with (flat / "00000021.bin").open("wb") as file:
        file.truncate(8 << 20)
    with (flat / "00000022.bin").open("wb") as file:
        file.truncate((8 << 20) + 1)
    (flat / "00000030.bin").mkdir()
    os.mkfifo(flat / "00000031.bin")
    write(path / "secret", b"secret")
    (flat / "00000032.bin").symlink_to(path / "secret")
    (flat / "00000033.bin").symlink_to("00000000.bin")
    write(path / "outside" / "manifest.json", manifest("escape", "1"))
    (root / "chunked" / "escape").symlink_to(path / "outside")
    entries = [
        entry("flat", "flat-missing.img"),
        entry("moving", "moving-missing.img", chunked_version="v1"),
        entry("hidden", "disk.img", public=False),
        entry("tagged", "disk.img", etag='"raw"', last_modified="2020-01-02T03:04:05Z"),
        entry("data", "disk.img"),
        entry("bare", "disk.img"),
        entry("escape", "disk.img"),
        entry("lost", "disk.img", chunked_version="v9"),
    ]
    put_catalog(root, {"images": entries})
    with running(path) as daemon:
        yield daemon


MANIFESTS = {
    "flat": ("/v1/images/flat/chunked/manifest.json", manifest("flat", "1"), IMMUTABLE),
    "flat-short": ("/v1/images/flat/chunked/manifest", manifest("flat", "1"), IMMUTABLE),
    "moving": ("/v1/images/moving/chunked/manifest.json", manifest("moving", "v1"), MOVING),
    "moving-short": ("/v1/images/moving/chunked/manifest", manifest("moving", "v1"), MOVING),
    "v1": ("/v1/images/moving/chunked/v1/manifest.json", manifest("moving", "v1"), IMMUTABLE),
    "v2": ("/v1/images/moving/chunked/v2/manifest.json", manifest("moving", "v2"), IMMUTABLE),
    "v2-short": ("/v1/images/moving/chunked/v2/manifest", manifest("moving", "v2"), IMMUTABLE),
    "version-data": ("/v1/images/moving/chunked/data/manifest", manifest("moving", "data"), IMMUTABLE),
    "version-manifest": ("/v1/images/moving/chunked/manifest/manifest", manifest("moving", "manifest"), IMMUTABLE),
    "version-odd": ("/v1/images/moving/chunked/1.0_x-Y/manifest.json", manifest("moving", "1.0_x-Y"), IMMUTABLE),
    "version-escaped": ("/v1/images/moving/chunked/%761/manifest.json", manifest("moving", "v1"), IMMUTABLE),
    "id-data": ("/v1/images/data/chunked/manifest.json", manifest("data", "1"), IMMUTABLE),
}
CHUNKS = {
    "flat-0": ("/v1/images/flat/chunked/chunks/00000000.bin", DISK[:CHUNK], IMMUTABLE),
    "flat-3": ("/v1/images/flat/chunked/chunks/00000003.bin", DISK[3 * CHUNK : 4 * CHUNK], IMMUTABLE),
    "moving": ("/v1/images/moving/chunked/chunks/00000001.bin", b"v1" + DISK[CHUNK + 2 : 2 * CHUNK], MOVING),
    "v1": ("/v1/images/moving/chunked/v1/chunks/00000001.bin", b"v1" + DISK[CHUNK + 2 : 2 * CHUNK], IMMUTABLE),
    "v2": ("/v1/images/moving/chunked/v2/chunks/00000001.bin", b"v2" + DISK[CHUNK + 2 : 2 * CHUNK], IMMUTABLE),
    "short-name": ("/v1/images/flat/chunked/chunks/0.bin", b"zero", IMMUTABLE),
    "long-name": (f"/v1/images/flat/chunked/chunks/{'1' * 32}.bin", b"thirty-two", IMMUTABLE),
    "empty": ("/v1/images/flat/chunked/chunks/00000020.bin", b"", IMMUTABLE),
    "link-inside": ("/v1/images/flat/chunked/chunks/00000033.bin", DISK[:CHUNK], IMMUTABLE),
    "escaped": ("/v1/images/flat/chunked/chunks/0000000%30.bin", DISK[:CHUNK], IMMUTABLE),
}
ALL = {f"manifest-{key}": value for key, value in MANIFESTS.items()} | {
    f"chunk-{key}": value for key, value in CHUNKS.items()
}
MANIFEST, PIECE = MANIFESTS["flat"][0], CHUNKS["flat-0"][0]


@pytest.mark.parametrize(("path", "data", "cache"), ALL.values(), ids=ALL)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_artifacts(chunked: Daemon, *, method: str, path: str, data: bytes, cache: str) -> None:
    """Manifests and chunks are served with the headers that chunk clients check, `Range` or not."""
    reply = chunked.ask(path, method, {"Range": "bytes=0-0"})
    assert reply.status == 200
    assert reply.length == len(data)
    assert reply.body == (data if method == "GET" else b"")
    is_chunk = "/chunks/" in path
    assert reply["Content-Type"] == ("application/octet-stream" if is_chunk else "application/json")
    assert reply["Content-Encoding"] == "identity"
    assert reply["X-Content-Type-Options"] == "nosniff"
    assert reply["ETag"] == tag_of(data)
    assert reply["Last-Modified"] == MODIFIED or REAL_STORE
    assert reply["Cache-Control"] == cache
    assert reply["Access-Control-Allow-Origin"] == "*"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert set(reply.members("Access-Control-Expose-Headers")) == EXPOSED
    assert "accept-ranges" not in reply.names
    assert "content-range" not in reply.names


CREDENTIALS: dict[str, Fields] = {"authorization": {"Authorization": "Bearer x"}, "cookie": {"Cookie": "a=b"}}


@pytest.mark.parametrize("path", [MANIFEST, PIECE, MANIFESTS["moving"][0], MANIFESTS["v2"][0], CHUNKS["v1"][0]])
@pytest.mark.parametrize("fields", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("more", [{}, {"If-None-Match": "*"}], ids=["200", "304"])
def test_credentials(chunked: Daemon, path: str, fields: Fields, more: Fields) -> None:
    """A request with credentials is answered for nobody to store."""
    assert chunked.ask(path, fields=dict(fields) | dict(more))["Cache-Control"] == PRIVATE


@pytest.mark.parametrize("path", ["manifest.json", "chunks/00000000.bin"])
def test_private_image(chunked: Daemon, path: str) -> None:
    """Chunks of a private image are for nobody to store."""
    reply = chunked.ask(f"/v1/images/hidden/chunked/{path}")
    assert (reply.status, reply["Cache-Control"]) == (200, PRIVATE)


@pytest.mark.parametrize("path", ["manifest.json", "chunks/00000000.bin"])
def test_validators_are_those_of_the_file(chunked: Daemon, path: str) -> None:
    """Chunk objects use size and mtime of their own file, whatever the catalog says of the image."""
    reply = chunked.ask(f"/v1/images/tagged/chunked/{path}")
    assert reply["ETag"] == tag_of(reply.body)
    assert reply["Last-Modified"] == MODIFIED or REAL_STORE


CONDITIONS: list[tuple[Fields, int]] = [
    ({"If-None-Match": "OWN"}, 304),
    ({"If-None-Match": "W/OWN"}, 304),
    ({"If-None-Match": '"a,b", OWN'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"a"'}, 200),
    ({"If-Modified-Since": MODIFIED}, 304),
    ({"If-Modified-Since": "Sun, 13 Sep 2020 12:26:39 GMT"}, 200),
    ({"If-None-Match": '"a"', "If-Modified-Since": MODIFIED}, 200),
    ({"If-Match": "OWN"}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": "W/OWN"}, 412),
    ({"If-Match": '"a"'}, 412),
    ({"If-Match": '"a"', "If-None-Match": "OWN"}, 412),
    ({"If-Unmodified-Since": MODIFIED}, 200),
    ({"If-Unmodified-Since": "Sun, 13 Sep 2020 12:26:39 GMT"}, 412),
    ({"If-Range": '"a"', "Range": "bytes=0-0"}, 200),
    ({"Range": "bytes=5-2"}, 200),
    ({"Range": "bytes=0-0," * 1001}, 200),
]


@pytest.mark.parametrize(("fields", "status"), CONDITIONS)
@pytest.mark.parametrize("path", [MANIFEST, PIECE, CHUNKS["v2"][0], MANIFESTS["moving"][0]])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditional(chunked: Daemon, method: str, path: str, fields: Fields, status: int) -> None:
    """Conditional requests work as on the bytes; `Range` and `If-Range` are ignored."""
    plain = chunked.ask(path)
    own = {name: value.replace("OWN", plain["ETag"]) for name, value in dict(fields).items()}
    reply = chunked.ask(path, method, own)
    assert reply.status == status
    assert "accept-ranges" not in reply.names
    if status == 304:
        for name in ("ETag", "Last-Modified", "Cache-Control", "Cross-Origin-Resource-Policy"):
            assert reply[name] == plain[name]
        assert reply["Access-Control-Allow-Origin"] == "*"
    if status == 412:
        assert reply["Cache-Control"] == "no-store, no-transform"
    if (method, status) == ("GET", 200):
        assert reply.body == plain.body


NOT_FOUND = {
    "no-chunk": "flat/chunked/chunks/00000099.bin",
    "no-artifacts": "bare/chunked/manifest.json",
    "no-artifacts-chunk": "bare/chunked/chunks/00000000.bin",
    "no-version": "moving/chunked/v3/manifest.json",
    "catalog-version-missing": "lost/chunked/manifest.json",
    "unknown-id": "nothing/chunked/manifest.json",
    "unlisted": "unlisted/chunked/manifest.json",
    "unlisted-chunk": "unlisted/chunked/chunks/00000000.bin",
    "directory-outside": "escape/chunked/manifest.json",
    "link-outside": "flat/chunked/chunks/00000032.bin",
    "directory": "flat/chunked/chunks/00000030.bin",
    "pipe": "flat/chunked/chunks/00000031.bin",
    "33-digits": f"flat/chunked/chunks/{'1' * 33}.bin",
    "300-digits": f"flat/chunked/chunks/{'1' * 300}.bin",
    "letter": "flat/chunked/chunks/a.bin",
    "no-suffix": "flat/chunked/chunks/00000009",
    "upper-suffix": "flat/chunked/chunks/00000009.BIN",
    "backup": "flat/chunked/chunks/00000009.bin.bak",
    "minus": "flat/chunked/chunks/-1.bin",
    "plus": "flat/chunked/chunks/+1.bin",
    "no-digits": "flat/chunked/chunks/.bin",
    "other-dot": "flat/chunked/chunks/00000000xbin",
    "line-feed": "flat/chunked/chunks/00000000.bin%0a",
    "nul": "flat/chunked/chunks/00000000.bin%00",
    "blank": "flat/chunked/chunks/%2000000000.bin",
    "slash": "flat/chunked/chunks/%2F00000000.bin",
    "traversal": "flat/chunked/chunks/..%2fmanifest.json",
    "traversal-raw": "flat/chunked/chunks/../manifest.json",
    "arabic-digits": "flat/chunked/chunks/%d9%a0.bin",
    "superscript": "flat/chunked/chunks/%c2%b2.bin",
    "double-escape": "flat/chunked/chunks/0000000%2530.bin",
    "manifest-as-chunk": "flat/chunked/chunks/manifest.json",
    "version-chunks": "flat/chunked/chunks/manifest.json",
    "version-chunks-twice": "moving/chunked/chunks/chunks/00000000.bin",
    "version-dots": "moving/chunked/../manifest.json",
    "version-dots-escaped": "moving/chunked/%2e%2e/manifest.json",
    "version-dot": "moving/chunked/./manifest.json",
    "version-empty": "moving/chunked//manifest.json",
    "version-slash": "moving/chunked/v1%2fchunks/manifest.json",
    "version-other-image": "moving/chunked/..%2fflat/manifest.json",
    "version-nul": "moving/chunked/v1%00/manifest.json",
    "version-backslash": "moving/chunked/v1%5c/manifest.json",
    "version-129": f"moving/chunked/{'v' * 129}/manifest.json",
    "version-non-ascii": "moving/chunked/v%c3%a9/manifest.json",
    "id-invalid": "%2e%2e/chunked/manifest.json",
    "id-invalid-chunk": "a%2Fb/chunked/chunks/00000000.bin",
    "id-empty": "/chunked/manifest.json",
    "trailing-slash": "flat/chunked/manifest.json/",
    "trailing-slash-short": "flat/chunked/manifest/",
    "trailing-slash-chunk": "flat/chunked/chunks/00000000.bin/",
    "trailing-slash-version": "moving/chunked/v1/",
    "no-manifest-name": "moving/chunked/v1",
    "upper": "flat/Chunked/manifest.json",
    "upper-manifest": "flat/chunked/Manifest.json",
    "deeper": "moving/chunked/v1/v2/manifest.json",
}


@pytest.mark.parametrize("path", NOT_FOUND.values(), ids=NOT_FOUND)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_not_found(chunked: Daemon, method: str, path: str) -> None:
    """What is not there, not listed, outside the root or misnamed is a 404 of the data plane."""
    reply = chunked.ask(f"/v1/images/{path}", method)
    assert (reply.status, reply.body) == (404, b"")
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    assert reply["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", [MANIFEST, PIECE, MANIFESTS["v1"][0], CHUNKS["v1"][0], MANIFESTS["flat-short"][0]])
@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 204), ("POST", 405), ("DELETE", 405), ("get", 405)])
def test_methods(chunked: Daemon, path: str, method: str, status: int) -> None:
    """OPTIONS is a preflight; any other method is a 405 with Allow."""
    reply = chunked.ask(path, method)
    assert reply.status == status
    assert reply["Cross-Origin-Resource-Policy"] == "same-site"
    if status == 405:
        assert set(reply.members("Allow")) == {"get", "head", "options"}


@pytest.mark.parametrize("fields", [{}, {"If-None-Match": "*"}, {"If-Match": '"a"'}], ids=["plain", "304", "412"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_limit_of_chunks(chunked: Daemon, method: str, fields: Fields) -> None:
    """A chunk over `--max-chunk-bytes` is a 413, before conditional requests; one of just that size is served."""
    reply = chunked.ask("/v1/images/flat/chunked/chunks/00000022.bin", method, fields)
    assert (reply.status, reply.body) == (413, b"")
    assert reply["Cache-Control"] == "no-store, no-transform"
    assert chunked.ask("/v1/images/flat/chunked/chunks/00000021.bin").body == bytes(8 << 20)


def test_raw_file_need_not_exist(chunked: Daemon) -> None:
    """An image that has chunks alone is ready; its bytes are a 404."""
    assert chunked.ask("/v1/images/flat").status == 404
    assert chunked.ask("/readyz").status == 200


def test_range_metrics_do_not_count_chunks(chunked: Daemon) -> None:
    """Bytes of chunks count for their image, those of manifests do not, and ranges are ignored."""
    before = chunked.metrics()
    chunked.traced(MANIFEST)
    chunked.traced(PIECE, fields={"Range": "bytes=0-0"})
    chunked.rises(before, CHUNK, "image_bytes_served_total", image_id="flat")
    chunked.rises(before, 0, "range_requests_total", result="valid")


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (MANIFEST, "/v1/images/:image_id/chunked/manifest.json"),
        (MANIFESTS["flat-short"][0], "/v1/images/:image_id/chunked/manifest"),
        (PIECE, "/v1/images/:image_id/chunked/chunks/:chunk_name"),
        (MANIFESTS["v1"][0], "/v1/images/:image_id/chunked/:version/manifest.json"),
        (MANIFESTS["v2-short"][0], "/v1/images/:image_id/chunked/:version/manifest"),
        (CHUNKS["v1"][0], "/v1/images/:image_id/chunked/:version/chunks/:chunk_name"),
    ],
)
def test_log_lines(chunked: Daemon, path: str, route: str) -> None:
    """Chunk requests are logged under their templates with what was sent."""
    reply, line = chunked.traced(path)
    assert line["route"] == route
    assert line["bytes_sent"] == len(reply.body)
    assert line["image_id"] in {"flat", "moving"}


@pytest.mark.parametrize("segment", ["zqx%00", "zqx%2f..", "zqx%ff", "zqx" * 100])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/images/{}/chunked/manifest.json",
        "/v1/images/flat/chunked/{}/manifest.json",
        "/v1/images/flat/chunked/chunks/{}",
        "/v1/images/flat/chunked/v1/chunks/{}",
    ],
)
def test_invalid_names_are_not_logged(chunked: Daemon, path: str, segment: str) -> None:
    """An invalid id, version or chunk name is neither echoed nor logged."""
    since = chunked.log_size()
    reply, line = chunked.traced(path.format(segment))
    assert reply.status == 404
    assert b"zqx" not in reply.raw_head + reply.body
    assert "zqx" not in chunked.log_text(since)
    assert "<invalid>" in line["path"]


def test_other_settings(home: Callable[[str], Path]) -> None:
    """`--max-chunk-bytes` limits chunks alone; `--public-cache-max-age-secs` is for moving pointers."""
    path = home("chunk-settings")
    artifacts(path / "images" / "chunked" / "flat", "flat", "1")
    artifacts(path / "images" / "chunked" / "moving" / "v1", "moving", "v1")
    write(path / "images" / "chunked" / "flat" / "chunks" / "100.bin", b"x" * 100)
    write(path / "images" / "chunked" / "flat" / "chunks" / "101.bin", b"x" * 101)
    put_catalog(path / "images", [entry("flat"), entry("moving", chunked_version=" v1 ")])
    flags = ("--max-chunk-bytes", "100", "--public-cache-max-age-secs", "7", "--require-range", "--max-range-bytes=1")
    with running(path, *flags) as daemon:
        assert daemon.ask("/v1/images/flat/chunked/chunks/100.bin").status == 200
        assert daemon.ask("/v1/images/flat/chunked/chunks/101.bin").status == 413
        assert daemon.ask("/v1/images/flat/chunked/manifest.json").body == manifest("flat", "1")
        assert daemon.ask("/v1/images/flat/chunked/manifest.json")["Cache-Control"] == IMMUTABLE
        moving = daemon.ask("/v1/images/moving/chunked/manifest.json")
        assert moving["Cache-Control"] == "public, max-age=7, no-transform"


def test_pointer_moves(home: Callable[[str], Path]) -> None:
    """A catalog that names another version moves the unversioned URLs within a second, and no others."""
    path = home("pointer")
    for version in ("v1", "v2"):
        artifacts(path / "images" / "chunked" / "moving" / version, "moving", version)
    put_catalog(path / "images", [entry("moving", chunked_version="v1")])
    with running(path) as daemon:
        url = "/v1/images/moving/chunked/manifest.json"
        assert daemon.ask(url).json()["version"] == "v1"
        put_catalog(daemon.root, [entry("moving", chunked_version="v2")])
        until(lambda: daemon.ask(url).json()["version"] == "v2", SHOWS_WITHIN)
        assert daemon.ask("/v1/images/moving/chunked/v1/manifest.json").json()["version"] == "v1"
        put(daemon.root / "chunked" / "moving" / "v2" / "chunks" / "00000000.bin", b"renewed")
        daemon.copy()  # under a version an object is looked at once
        chunk = "/v1/images/moving/chunked/v2/chunks/00000000.bin"
        until(lambda: daemon.ask(chunk).body == b"renewed", SHOWS_WITHIN)


def test_listing_with_chunks(home: Callable[[str], Path]) -> None:
    """Over a directory listing the chunks of a listed image are served as those of a public one."""
    path = home("listing-chunks")
    write(path / "images" / "disk.img", DISK)
    artifacts(path / "images" / "chunked" / "disk.img", "disk.img", "1")
    with running(path) as daemon:
        reply = daemon.ask("/v1/images/disk.img/chunked/manifest.json")
        assert (reply.status, reply["Cache-Control"]) == (200, IMMUTABLE)
        assert daemon.ask("/v1/images/disk.img/chunked/chunks/00000001.bin").body == DISK[CHUNK : 2 * CHUNK]


def test_invalid_catalog(home: Callable[[str], Path]) -> None:
    """With an invalid catalog chunks are a 500."""
    path = home("chunks-500")
    artifacts(path / "images" / "chunked" / "flat", "flat", "1")
    put_catalog(path / "images", "broken")
    with running(path) as daemon:
        reply = daemon.ask("/v1/images/flat/chunked/manifest.json")
        assert (reply.status, reply.body) == (500, b"")
        assert daemon.ask("/v1/images/flat/chunked/chunks/00000000.bin").status == 500
