"""The raw image of a catalog entry as a file of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs
from typing_extensions import override

from aero_storage.catalog.content_digest import stamps_of
from aero_storage.chunks.file_digest import hash_file
from aero_storage.chunks.publish.cutting import Advance
from aero_storage.cli.stored_image import ImageSample, StoredImage
from aero_storage.errors import OperatorError
from aero_storage.http.conditional import file_etag
from aero_storage.http.dates import usable_mtime
from aero_storage.image_formats.byte_source import short_sample

_PIECE = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.frozen
class ImageInDirectory(StoredImage):
    """The file `path`, which had this status; all links on the way to it are resolved."""

    path: Path
    _status: os.stat_result
    disk_usage: int

    @property
    @override
    def name(self) -> str:
        return str(self.path)

    @property
    @override
    def size(self) -> int:
        return self._status.st_size

    @property
    @override
    def stamps(self) -> tuple[str, ...]:
        return stamps_of(self._status)

    @property
    @override
    def etag(self) -> str:
        found = self._status
        return file_etag(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    @override
    def sample(self) -> ImageSample | None:
        # A FIFO or a link that is in its place by now is not waited for.
        with _opened(self.path, _FLAGS | os.O_NOFOLLOW) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            sample = short_sample(lambda offset, length: os.pread(descriptor, length, offset), status.st_size)
        constant = status.st_mtime_ns if usable_mtime(status.st_mtime_ns) is None else None
        return ImageSample(sample, status.st_size, stamps_of(status), constant)

    @override
    def contents(self) -> Iterator[bytes]:
        with _opened(self.path, _FLAGS) as descriptor:
            before = os.fstat(descriptor)
            for offset in range(0, before.st_size, _PIECE):
                yield os.pread(descriptor, _PIECE, offset)
            self._require_same(before, os.fstat(descriptor))

    @override
    def sha256(self, track: Callable[[int], AbstractContextManager[Advance]]) -> tuple[int, str]:
        with _opened(self.path, _FLAGS) as descriptor:
            before = os.fstat(descriptor)
            with track(before.st_size) as advance:
                found = hash_file(descriptor, before.st_size, advance)
            self._require_same(before, os.fstat(descriptor))
        return before.st_size, found

    def _require_same(self, before: os.stat_result, after: os.stat_result) -> None:
        if stamps_of(before)[0] != stamps_of(after)[0]:
            raise OperatorError(f"{self.path} was changed while it was checked; try again when nothing writes to it")


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
