"""Published chunks in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from typing_extensions import override

from aero_storage.chunks.manifest import CHUNKS_DIRECTORY, MAX_CHUNK_SIZE, MAX_MANIFEST_BYTES, Geometry
from aero_storage.chunks.verify.source import ChunkSource, Content, Document
from aero_storage.cli.buckets.keys import chunk_manifest_key
from aero_storage.errors import (
    AeroStorageError,
    BlobNotFoundError,
    ObjectTooLargeError,
    OperatorError,
)
from aero_storage.storage.objects.origin import Origin


def beginning_of(origin: Origin, key: str, most: int) -> bytes:
    """Return a document, of a longer one its first `most` + 1 bytes. Raises BlobNotFoundError."""
    try:
        return origin.read(key, most)[1]
    except ObjectTooLargeError:
        status = origin.head(key)
        return bytes(origin.get(key, status.pin, 0, most + 1))


@attrs.frozen
class BucketSource(ChunkSource):
    """The chunks in the directory of keys `directory`, and the manifest beside them."""

    origin: Origin
    directory: str

    @property
    @override
    def name(self) -> str:
        return f"{self.origin.name}/{chunk_manifest_key(self.directory)}"

    @override
    def manifest(self) -> Document:
        try:
            return Document(beginning_of(self.origin, chunk_manifest_key(self.directory), MAX_MANIFEST_BYTES))
        except BlobNotFoundError as error:
            raise OperatorError(f"there is no {self.name}; publish the image first") from error

    @contextmanager
    @override
    def chunk(self, name: str) -> Iterator[Content]:
        key = f"{self.directory}/{CHUNKS_DIRECTORY}/{name}"
        try:
            status, data = self.origin.read(key, MAX_CHUNK_SIZE)
        except BlobNotFoundError as error:
            raise FileNotFoundError(str(error)) from error
        except AeroStorageError as error:
            raise OSError(str(error)) from error
        yield Content(status.size, (data,), is_certain=True)

    @override
    def strays(self, geometry: Geometry) -> Iterator[str]:
        prefix = f"{self.directory}/{CHUNKS_DIRECTORY}"
        for listed in self.origin.list(prefix, delimiter=True):
            name = listed.key.rpartition("/")[2]
            if listed.status is None or geometry.index_of(name) is None:
                yield name
