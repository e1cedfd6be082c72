"""Images whose entries say how they may be kept, and the requests that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.blackbox.image_roots import DISK, VERSION, Entry, chunk_manifest, entry, put_catalog, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import Fields

NOBODY = "private, no-store, no-transform"
BROWSER_FOR_GOOD = "private, max-age=31536000, immutable, no-transform"
PRIVATE_IDS = ["private", "kept", "cut", "chunks", "pointed"]
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


def virtual_path(daemon: Daemon, rest: str, fields: Fields = ()) -> str:
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
