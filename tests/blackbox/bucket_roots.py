"""Images roots in a bucket: a mirror keeps the bucket as the directory is that tests write to.

`BLACKBOX_ROOT=bucket` has every daemon of this suite that names no images root of its own serve a bucket, and
`BLACKBOX_ROOT=cached` the same with a block cache. Tests write files as ever; `SHOWS_WITHIN` of the harness counts
from there, so the mirror looks every few milliseconds. `BLACKBOX_STORE=ceph` or `seaweedfs` takes a real store
instead of the tests' own. `bucket_differences` has the tests that a bucket has no place for.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import uuid
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen
from tests.object_store.server import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODE = os.environ.get("BLACKBOX_ROOT", "directory")
"""`directory`, `bucket` or `cached`."""
LOOK_SECONDS = 0.02
_HASHED_BYTES = 1 << 26
_Seen = tuple[int, int, int, int]


@frozen
class BucketRoot:
    """What a daemon over a bucket is started with."""

    flags: tuple[str, ...]
    environ: dict[str, str]
    copy: Callable[[], None]
    """Makes the bucket as the directory is, at once."""


class BucketLike(Protocol):
    """What a mirror needs of a bucket."""

    def put(self, key: str, data: bytes, *, modified: float) -> object: ...

    def put_mapped(self, key: str, data: memoryview, tag: str, modified: float) -> object: ...

    def delete(self, key: str) -> None: ...


class StoreLike(Protocol):
    """A store in which daemons find their images."""

    @property
    def environ(self) -> dict[str, str]: ...

    def mirrored(self, name: str) -> tuple[str, BucketLike]:
        """Return the images root, as a URL, and the bucket for what lies below it."""


@frozen
class _Scripted:
    """The tests' own store; its threads end with the process."""

    _store: ObjectStore = field(factory=lambda: ObjectStore().__enter__())

    @property
    def environ(self) -> dict[str, str]:
        return self._store.environ

    def mirrored(self, name: str) -> tuple[str, BucketLike]:
        return f"s3://{name}", self._store.bucket(name)


@cache
def scripted() -> StoreLike:
    """Return the store of this test run."""
    return _Scripted()


_used: list[StoreLike] = []


def use(store: StoreLike) -> None:
    """Have all daemons that start from now on serve from this store."""
    _used[:] = [store]


@define
class Mirror:
    """Copies a directory to a bucket, and what changes in it; links that stay inside are followed."""

    directory: Path
    bucket: BucketLike
    _seen: dict[str, _Seen] = field(init=False, factory=dict)
    _ends: threading.Event = field(init=False, factory=threading.Event)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def look(self) -> None:
        """Make the bucket as the directory is now."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        found = dict(self._files())
        for key in self._seen.keys() - found.keys():
            self.bucket.delete(key)
            del self._seen[key]
        for key, seen in found.items():
            if self._seen.get(key) != seen and self._copy(key):
                self._seen[key] = seen

    def follow(self) -> None:
        """Do so until `end`."""
        while not self._ends.wait(LOOK_SECONDS):
            self.look()

    def end(self) -> None:
        """Follow no longer."""
        self._ends.set()

    def _files(self) -> Iterator[tuple[str, _Seen]]:
        inside = self.directory.resolve()
        has_catalog = (self.directory / "manifest.json").exists()  # else links are no images
        for at, _, names in os.walk(self.directory):
            for name in names:
                path = self.directory.__class__(at, name)
                try:
                    found = path.stat()
                    if path.is_symlink() and not has_catalog:
                        continue
                    if path.is_file() and path.resolve().is_relative_to(inside):
                        seen = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                        yield str(path.relative_to(self.directory)), seen
                except OSError:  # it has gone meanwhile
                    continue

    def _copy(self, key: str) -> bool:
        try:
            with (self.directory / key).open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_size <= _HASHED_BYTES:
                    self.bucket.put(key, file.read(), modified=found.st_mtime)
                else:  # sparse, and larger than memory
                    self._map(key, file.fileno(), found)
        except OSError:
            return False
        return True

    def _map(self, key: str, descriptor: int, found: os.stat_result) -> None:
        tag = hashlib.sha256(f"{found.st_ino} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:32]
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        self.bucket.put_mapped(key, memoryview(mapped), f'"{tag}"', found.st_mtime)


@contextmanager
def bucket_root(directory: Path, home: Path, *, cached: bool) -> Iterator[BucketRoot]:
    """Give the flags and variables of a daemon over a bucket that is as the directory is, for a with block."""
    name = f"b-{uuid.uuid4()}"
    store = _used[0] if _used else scripted()
    url, bucket = store.mirrored(name)
    mirror = Mirror(directory, bucket)
    mirror.look()
    following = threading.Thread(target=mirror.follow, daemon=True)
    following.start()
    flags = ["--images-root", url, "--origin-refresh-secs", "0.9", "--origin-timeout-secs", "5"]
    if cached:
        flags += ["--cache-dir", str(home / "cache")]
    try:
        yield BucketRoot(tuple(flags), store.environ, mirror.look)
    finally:
        mirror.end()
        following.join(5)
