"""http.md §12: how private images may be kept, without leases and with them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK, VERSION, Entry, chunk_manifest, entry, put_catalog, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

NOBODY = "private, no-store, no-transform"
BROWSER_FOR_GOOD = "private, max-age=31536000, immutable, no-transform"
CHUNK_SIZE = 150_016
PIECES = (DISK[:CHUNK_SIZE], DISK[CHUNK_SIZE:])


def make_root(root: Path) -> None:
    """Images that are cut on request, with one length for all, and images with published chunks."""
    write(root / "disk.img", DISK)
    write(root / "cut.img", DISK[:131_072])
    manifest = chunk_manifest(DISK, CHUNK_SIZE)
    for base in (root / "chunked/chunks", root / "chunked/pointed/v1"):
        write(base / "manifest.json", manifest)
        write(base / "chunks/00000000.bin", PIECES[0])
        write(base / "chunks/00000001.bin", PIECES[1])
    private: Entry = {"public": False}
    kept: Entry = {"public": False, "private_cache": "browser"}
    put_catalog(
        root,
        [
            entry("disk"),
            entry("private", **private),
            entry("kept", **kept),
            entry("cut", "cut.img", virtual_chunks=True, recommended_chunk_size_bytes=65_536, **kept),
            entry("chunks", **kept),
            entry("pointed", chunked_version="v1", **kept),
        ],
    )


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon without leases, which the tests below leave as it is."""
    path = home("private-caching")
    make_root(path / "images")
    with running(path) as found:
        yield found


def virtual(daemon: Daemon, rest: str, fields: Fields = ()) -> str:
    """The path below the version of the image that is cut on request."""
    version = daemon.ask("/v1/images/cut/chunked/manifest", fields=fields).json()["version"]
    return f"/v1/images/cut/chunked/{version}/{rest}"


KEPT_FOR_GOOD = [
    f"/v1/images/kept/versions/{VERSION}",
    f"/v1/images/kept/versions/{VERSION}/data",
    "/v1/images/chunks/chunked/chunks/00000000.bin",
    "/v1/images/pointed/chunked/v1/chunks/00000001.bin",
]
KEPT_BY_NOBODY = [
    "/v1/images/kept",
    "/v1/images/kept/data",
    "/v1/images/private",
    f"/v1/images/private/versions/{VERSION}",
    "/v1/images/chunks/chunked/manifest.json",
    "/v1/images/pointed/chunked/v1/manifest",
    "/v1/images/pointed/chunked/manifest",
    "/v1/images/pointed/chunked/chunks/00000000.bin",
    "/v1/images/cut/chunked/manifest.json",
    "/v1/images/cut/chunked/chunks/00000000.bin",
]
REQUESTS: list[tuple[str, Fields, tuple[int, ...]]] = [
    ("GET", {}, (200,)),
    ("HEAD", {}, (200,)),
    ("GET", {"Range": "bytes=0-9"}, (200, 206)),
    ("GET", {"If-None-Match": "*"}, (304,)),
    ("GET", {"Cookie": "a=b"}, (200,)),
    ("GET", {"Authorization": "Basic eDp5"}, (200,)),
]


@pytest.mark.parametrize(("method", "fields", "statuses"), REQUESTS)
@pytest.mark.parametrize("path", [*KEPT_FOR_GOOD, *KEPT_BY_NOBODY])
def test_without_leases(daemon: Daemon, path: str, method: str, fields: Fields, statuses: tuple[int, ...]) -> None:
    """Private images are kept by nobody; versions and chunks by browsers, where the catalog says so."""
    reply = daemon.ask(path, method, fields)
    assert reply.status in statuses
    assert reply["Cache-Control"] == (BROWSER_FOR_GOOD if path in KEPT_FOR_GOOD else NOBODY)
    assert reply.get("Vary") is None


def test_virtual_chunks_without_leases(daemon: Daemon) -> None:
    """Browsers may keep virtual chunks under a version, and not their manifest."""
    chunk, manifest = (daemon.ask(virtual(daemon, rest)) for rest in ("chunks/00000001.bin", "manifest"))
    assert (chunk["Cache-Control"], manifest["Cache-Control"]) == (BROWSER_FOR_GOOD, NOBODY)
    assert hashlib.sha256(chunk.body).digest() == hashlib.sha256(DISK[65_536:131_072]).digest()


def test_errors_without_leases(daemon: Daemon) -> None:
    """Errors are kept by nobody, also below what browsers may keep."""
    for path, fields, status in (
        (KEPT_FOR_GOOD[0], {"Range": "bytes=999999-"}, 416),
        (KEPT_FOR_GOOD[0], {"If-Match": '"x"'}, 412),
        ("/v1/images/kept/versions/v-0", {}, 404),
        ("/v1/images/kept/versions/chunks", {}, 404),
    ):
        reply = daemon.ask(path, fields=fields)
        assert (reply.status, reply["Cache-Control"]) == (status, "no-store, no-transform")


@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/private/meta", "/v1/images/kept/meta"])
def test_metadata_without_leases(daemon: Daemon, path: str) -> None:
    """Without leases the metadata of private images are revalidated, as all others are."""
    reply = daemon.ask(path)
    assert (reply.status, reply["Cache-Control"], reply.get("Vary")) == (200, "no-cache", None)


def test_allowlist_without_leases(home: Callable[[str], Path]) -> None:
    """With an allowlist of origins a response varies by the origin alone."""
    path = home("private-caching-origins")
    make_root(path / "images")
    with running(path, "--cors-origin", "https://a.example") as daemon:
        for target in (KEPT_FOR_GOOD[0], KEPT_BY_NOBODY[0], "/v1/images", "/v1/images/private/meta"):
            assert daemon.ask(target, fields={"Origin": "https://a.example"})["Vary"] == "Origin"
