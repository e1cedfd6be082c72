"""The files that are served: a hot image, its chunks, an image to be read cold, and a sparse one of 30 GiB."""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from bench.errors import BenchError
from bench.processes import resident_share

MIB = 1 << 20
GIB = 1 << 30
SPARSE_SIZE = 30 * GIB
CHUNK_SIZE = 4 * MIB
CHUNKS = 64
COLD_SIZE = GIB

_RESIDENT = 0.99  # some kernels take a page here and there at any time
HOT = "hot.img"
COLD = "cold.img"
SPARSE = "sparse.img"


@attrs.frozen
class Data:
    """The images root."""

    root: Path
    hot_size: int
    hot_digest: str

    def chunk(self, number: int) -> Path:
        """The file of a chunk of the hot image."""
        return chunk_directory(self.root) / f"{number:08}.bin"

    def require_hot(self) -> None:
        """Have the hot image and the chunks in the page cache, all but a few pages; BenchError if they do not fit."""
        for path in (self.root / HOT, *map(self.chunk, range(CHUNKS))):
            if _resident(path) < 1:
                bring_in(path)  # the kernel took some of it for somebody else
            if (share := _resident(path)) < _RESIDENT:
                raise BenchError(f"{path.name}: only {share:.2%} stays in the page cache; the machine lacks memory")


def chunk_directory(root: Path) -> Path:
    """Where the daemon looks for the chunks of version v1 of the hot image."""
    return root / "chunked" / HOT / "v1" / "chunks"


def make(root: Path, hot_size: int) -> Data:
    """Make all files, about 2.3 GiB on the disk with a hot image of 1 GiB."""
    chunk_directory(root).mkdir(parents=True)
    data = Data(root, hot_size, _fill(root / HOT, hot_size))
    for number in range(CHUNKS):
        _fill(data.chunk(number), CHUNK_SIZE)
    _fill(root / COLD, COLD_SIZE)
    with (root / SPARSE).open("wb") as file:
        file.truncate(SPARSE_SIZE)
    images = [{"id": name, "file": name, "name": name, "public": True} for name in (HOT, COLD, SPARSE)]
    (root / "manifest.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    os.sync()  # dirty pages cannot be pushed out of the page cache
    return data


def part_digest(path: Path, offset: int, length: int) -> str:
    """The sha256 of a part of a file."""
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(length)).hexdigest()


def bring_in(path: Path) -> None:
    """Read a file once, so that the page cache has it."""
    buffer = bytearray(MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


@contextmanager
def pinned(path: Path) -> Iterator[None]:
    """Keep a file in the page cache, as far as we may (RLIMIT_MEMLOCK), whatever reclaims memory meanwhile.

    Some machines free pages long before memory is short (DAMON_RECLAIM): one hot request in a hundred then waits for
    the disk, and the 99th percentile tells of that and nothing else.
    """
    bring_in(path)
    # Shared and writable only because ctypes takes no address of read-only memory; a private one would be copied.
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE) as mapped:
        view = ctypes.c_char.from_buffer(mapped)
        ctypes.CDLL(None).mlock(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapped)))
        del view
        yield  # unmapped is unlocked


def _resident(path: Path) -> float:
    with path.open("rb") as file:
        return resident_share(file.fileno(), 0, path.stat().st_size)


def _fill(path: Path, size: int) -> str:
    """Write random bytes; return their sha256."""
    state = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            piece = os.urandom(min(MIB, size - start))
            file.write(piece)
            state.update(piece)
    return state.hexdigest()
