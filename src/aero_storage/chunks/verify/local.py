"""Published chunks in a directory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from typing_extensions import override

from aero_storage.chunks.manifest import CHUNKS_DIRECTORY, MAX_MANIFEST_BYTES, Geometry
from aero_storage.chunks.verify.source import ChunkSource, Content, Document
from aero_storage.errors import OperatorError

_PIECE = 512 * 1024


@attrs.frozen
class LocalSource(ChunkSource):
    """The manifest at `path`, and the chunks beside it."""

    path: Path

    @property
    @override
    def name(self) -> str:
        return str(self.path)

    @override
    def manifest(self) -> Document:
        try:
            if not self.path.is_file() and self.path.exists():
                raise OperatorError(f"{self.path} is no regular file; name the manifest.json of published chunks")
            with self.path.open("rb") as file:
                return Document(file.read(MAX_MANIFEST_BYTES + 1))
        except FileNotFoundError as error:
            raise OperatorError(f"there is no {self.path}; publish the image first") from error
        except OSError as error:
            raise OperatorError(f"{self.path} cannot be read: {error.strerror}") from error

    @contextmanager
    @override
    def chunk(self, name: str) -> Iterator[Content]:
        # Without O_NONBLOCK the open of a FIFO would wait for a writer.
        descriptor = os.open(self._directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is no regular file")
            identity = (status.st_dev, status.st_ino, status.st_size) if status.st_nlink > 1 else None
            yield Content(status.st_size, _pieces(descriptor), is_certain=True, identity=identity)
        finally:
            os.close(descriptor)

    @override
    def strays(self, geometry: Geometry) -> Iterator[str]:
        with os.scandir(self._directory) as entries:
            yield from (entry.name for entry in entries if geometry.index_of(entry.name) is None)

    @property
    def _directory(self) -> Path:
        return self.path.parent / CHUNKS_DIRECTORY


def _pieces(descriptor: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_PIECE))
    while count := os.readv(descriptor, [buffer]):
        yield buffer[:count]
