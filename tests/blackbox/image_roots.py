"""What lies under the images roots of these tests."""

from __future__ import annotations

import hashlib
import json
import os
import random
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Entry: TypeAlias = dict[str, Any]

# What scripts may read of the data plane (http.md §7).
DATA_EXPOSED = [
    "etag",
    "last-modified",
    "cache-control",
    "content-range",
    "accept-ranges",
    "content-length",
    "content-encoding",
    "retry-after",
    "x-request-id",
]
SIZE = 300_000
DISK = random.Random(7).randbytes(SIZE)
SECONDS, NANOS = 1_600_000_000, 123_456_789
MODIFIED = "Sun, 13 Sep 2020 12:26:40 GMT"
OVER_BUCKET = os.environ.get("BLACKBOX_ROOT", "directory") != "directory"
"""Whether what daemons serve is a bucket that is kept as their directory is."""


def tag_of(data: bytes, at: tuple[int, int] = (SECONDS, NANOS)) -> str:
    """Return the tag that the daemon makes (http.md §3): of size and mtime, or, in a bucket, of the object's tag."""
    if not OVER_BUCKET:
        return f'"{len(data):x}-{at[0]:x}-{at[1]:x}"'
    stored = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    return f'"{len(data):x}-{hashlib.sha256(stored.encode()).hexdigest()[:32]}"'


TAG = tag_of(DISK)


def version_of(size: int, tag: str, own_tag: str | None = None) -> str:
    """Return the version of an image without a known digest (http.md §13); `own_tag` is that of the file alone."""
    named = f"{size}\n{tag}\n{own_tag or tag}"
    return f"v-{hashlib.sha256(named.encode()).hexdigest()[:32]}"


VERSION = version_of(SIZE, TAG)
GIB = 1 << 30
BIG_SIZE = 5 * GIB + 12_345
MARK_AT = (1 << 32) - 8
MARK = b"across the 2^32!"
TAIL = b"the end of it"
WIDE_SIZE = 64 << 20
CATALOG_DATE = "2020-01-02T03:04:05Z"
CATALOG_HTTP_DATE = "Thu, 02 Jan 2020 03:04:05 GMT"
EARLIER = "Thu, 02 Jan 2020 03:04:04 GMT"
LATER = "Thu, 02 Jan 2020 03:04:06 GMT"
ODD_IDS = ("a", "0", "...", "-", "_", ".hidden", "A.b_c-D", "x" * 128, "..a", "a..")
ROUTE_LIKE_IDS = ("data", "meta", "chunked", "chunks", "manifest", "extents", "profile", "lease", "versions")


@cache
def wide_bytes() -> bytes:
    """Return 64 MiB in which every 4 KiB block is different."""
    block = random.Random(11).randbytes(4096 - 8)
    return b"".join(number.to_bytes(8, "big") + block for number in range(WIDE_SIZE // 4096))


def write(path: Path, data: bytes, *, at: tuple[int, int] = (SECONDS, NANOS)) -> Path:
    """Write a file with a given mtime (seconds, nanoseconds)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    stamp(path, at)
    return path


def stamp(path: Path, at: tuple[int, int]) -> None:
    nanos = at[0] * 10**9 + at[1]
    os.utime(path, ns=(nanos, nanos))


def put(path: Path, data: bytes, at: tuple[int, int] | None = None) -> None:
    """Put new content in place by rename, as http.md asks, with an mtime of now or of `at`."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(data)
    if at is not None:
        stamp(fresh, at)
    fresh.replace(path)


def put_catalog(root: Path, document: object) -> None:
    """Put a new catalog in place by rename; a str or bytes is written as it is."""
    if isinstance(document, bytes):
        data = document
    else:
        data = (document if isinstance(document, str) else json.dumps(document)).encode()
    put(root / "manifest.json", data)


def entry(image_id: str, file: str = "disk.img", **more: Any) -> Entry:
    return {"id": image_id, "file": file, "name": f"Image {image_id[:16]}", "public": True} | more


def profile_of(image_id: str, version: str, size: int = SIZE, **more: Any) -> bytes:
    """A boot profile of two ranges, to the byte as `aero-storage profile` writes it."""
    unit = 65536
    rows = [[0, 1, 0, 100], [2, -(-size // unit) - 2, 1500, 66]]
    document = {
        "schema": "aero.profile.v1",
        "image_id": image_id,
        "version": version,
        "name": "boot",
        "unit": unit,
        "sessions": 3,
        "recorded": "2026-11-28T12:00:00Z",
        "seconds": 30,
        "bytes": size - unit,
        "ranges": rows,
    }
    return json.dumps(document | more, separators=(",", ":")).encode()


def put_profile(root: Path, image_id: str, version: str, data: bytes | None = None, name: str = "boot") -> Path:
    """Put a profile in place by rename; without `data` a valid one of DISK."""
    path = root / "profiles" / image_id / version / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    put(path, profile_of(image_id, version, name=name) if data is None else data)
    return path


def sparse(path: Path) -> None:
    """Write an image of a little over 5 GiB that takes next to no room, with marks in it."""
    with path.open("wb") as file:
        file.truncate(BIG_SIZE)
        file.seek(MARK_AT)
        file.write(MARK)
        file.seek(BIG_SIZE - len(TAIL))
        file.write(TAIL)


def small_root(root: Path, *more: Entry) -> Path:
    """Make a root with the few images that most settings are tried on."""
    write(root / "disk.img", DISK)
    write(root / "empty.img", b"")
    write(root / "ageless.img", DISK[:100], at=(-5, 0))
    dated = {"last_modified": CATALOG_DATE}
    entries = [
        entry("disk"),
        entry("tagged", etag='"tag-1"', **dated),
        entry("weak", etag='W/"weak-1"', **dated),
        entry("private", public=False),
        entry("empty", "empty.img"),
        entry("ageless", "ageless.img"),
        *more,
    ]
    put_catalog(root, {"images": entries})
    return root


def full_root(root: Path) -> Path:
    """Make the root of the default daemon: every kind of image that can be served."""
    root.mkdir(parents=True)
    sparse(root / "big.img")
    write(root / "wide.img", wide_bytes())
    (root / "linked.img").symlink_to("disk.img")
    write(root / "sub" / "deep" / "disk.img", DISK)
    more = [
        entry("big", "big.img"),
        entry("wide", "wide.img"),
        entry("comma", etag='"a,b"', last_modified=CATALOG_DATE),
        entry("fraction", etag='"f"', last_modified="2020-01-02T03:04:05.5Z"),
        entry("linked", "linked.img"),
        entry("deep", "sub/./deep/disk.img"),
        entry("described", name="A name", description="Words", recommended_chunk_size_bytes=1 << 20),
        *(entry(image_id) for image_id in (*ROUTE_LIKE_IDS, *ODD_IDS)),
    ]
    return small_root(root, *more)


def chunk_manifest(image: bytes, chunk_size: int) -> bytes:
    """The manifest of an image, to the byte as `aero-storage publish` writes it."""
    chunks = [image[start : start + chunk_size] for start in range(0, len(image), chunk_size)]
    document = {
        "schema": "aero.chunked-disk-image.v1",
        "imageId": "win98",
        "version": "v1",
        "mimeType": "application/octet-stream",
        "totalSize": len(image),
        "chunkSize": chunk_size,
        "chunkCount": len(chunks),
        "chunkIndexWidth": 8,
        "chunks": [{"size": len(chunk), "sha256": hashlib.sha256(chunk).hexdigest()} for chunk in chunks],
    }
    return json.dumps(document, separators=(",", ":")).encode()
