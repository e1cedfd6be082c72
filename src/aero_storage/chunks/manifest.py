"""The manifest of a chunked image (http.md §6): its rules, and how it becomes JSON. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

import attrs

from aero_storage.errors import ChunkFormatError

SCHEMA = "aero.chunked-disk-image.v1"
MIME_TYPE = "application/octet-stream"
CHUNKS_DIRECTORY = "chunks"

SECTOR = 512
"""Image size and chunk size are multiples of this, in bytes."""

DEFAULT_CHUNK_SIZE = 4 * 1024 * 1024
DEFAULT_INDEX_WIDTH = 8
DIGEST_SIZE = 32
"""Bytes of a SHA-256 digest."""

# Limits of clients: they refuse images beyond them.
MAX_CHUNK_SIZE = 64 * 1024 * 1024
MAX_CHUNK_COUNT = 500_000
MAX_INDEX_WIDTH = 32
MAX_MANIFEST_BYTES = 64 * 1024 * 1024

_SUFFIX = ".bin"
_ENTRIES_AT_ONCE = 4096
_CONTENT_VERSION = re.compile(r"sha256-[0-9a-f]{64}")
_VIRTUAL_VERSION = re.compile(r"virtual-[0-9a-f]{32}")


def check_geometry(total_size: int, chunk_size: int) -> None:
    """Raise ChunkFormatError, with a remedy, unless an image can be cut into chunks of this size."""
    if total_size <= 0:
        raise ChunkFormatError("the image is empty; an image in chunks has at least 512 bytes")
    if total_size % SECTOR:
        raise ChunkFormatError(
            f"the image has {total_size} bytes, no multiple of 512; pad it with: truncate --size=%512 FILE"
        )
    if chunk_size <= 0 or chunk_size % SECTOR:
        raise ChunkFormatError(
            f"a chunk size of {chunk_size} bytes is no multiple of 512; {DEFAULT_CHUNK_SIZE} (4 MiB) is usual"
        )
    if chunk_size > MAX_CHUNK_SIZE:
        raise ChunkFormatError(
            f"clients refuse chunks of {chunk_size} bytes; choose {MAX_CHUNK_SIZE} (64 MiB) or less"
        )
    _check_count(total_size, chunk_size)


def _check_count(total_size: int, chunk_size: int) -> None:
    least = -(-total_size // MAX_CHUNK_COUNT)
    if chunk_size >= least:
        return
    if least > MAX_CHUNK_SIZE:
        raise ChunkFormatError(
            f"the image has {total_size} bytes; chunks hold {MAX_CHUNK_COUNT * MAX_CHUNK_SIZE} at the most"
        )
    better = max(SECTOR, 1 << (least - 1).bit_length())
    raise ChunkFormatError(
        f"clients refuse more than {MAX_CHUNK_COUNT} chunks, and these would be {-(-total_size // chunk_size)}; "
        f"choose a chunk size of {better} bytes or more"
    )


@attrs.frozen(kw_only=True)
class Geometry:
    """The division of an image: every chunk but the last has `chunk_size` bytes. Sizes are in bytes, above 0."""

    total_size: int
    chunk_size: int
    index_width: int = DEFAULT_INDEX_WIDTH
    """Number of digits in a chunk's name; at least that of the last index."""

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return -(-self.total_size // self.chunk_size)

    def chunk_name(self, index: int) -> str:
        """Return the name of a chunk: `00000000.bin`."""
        return f"{index:0{self.index_width}}{_SUFFIX}"

    def index_of(self, name: str) -> int | None:
        """Return the index of the chunk with this name, or None; each chunk has exactly one name."""
        digits = name.removesuffix(_SUFFIX)
        if len(digits) > MAX_INDEX_WIDTH or not (digits.isascii() and digits.isdecimal()):
            return None
        index = int(digits)
        return index if index < self.chunk_count and name == self.chunk_name(index) else None

    def chunk_offset(self, index: int) -> int:
        """Return the offset of a chunk in the image, in bytes."""
        return index * self.chunk_size

    def chunk_length(self, index: int) -> int:
        """Return the length of a chunk in bytes."""
        return min(self.chunk_size, self.total_size - self.chunk_offset(index))


@attrs.frozen(kw_only=True)
class ChunkManifest(Geometry):
    """The manifest of a chunked image: clients read it before the chunks."""

    image_id: str
    version: str
    mime_type: str = MIME_TYPE
    digests: bytes | None = attrs.field(default=None, repr=False)
    """The chunks' SHA-256 digests, 32 bytes each, in order; None if the manifest has none."""
    zeros: tuple[int, ...] | None = attrs.field(default=None, eq=False, repr=False)
    """Chunks that are all zeros, as pairs of gap and length in chunks; None if it does not tell."""
    image_sha256: str | None = attrs.field(default=None, eq=False)
    """The SHA-256 digest of the whole image, in hex; None if it does not tell."""

    def digest(self, index: int) -> bytes | None:
        """Return the SHA-256 digest of a chunk, or None if the manifest has none."""
        return None if self.digests is None else self.digests[DIGEST_SIZE * index : DIGEST_SIZE * (index + 1)]

    def to_json(self) -> bytes:
        """Return the manifest as JSON."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield the manifest as JSON in pieces: with half a million digests it has 47 MB."""
        head = {
            "schema": SCHEMA,
            "imageId": self.image_id,
            "version": self.version,
            "mimeType": self.mime_type,
            "totalSize": self.total_size,
            "chunkSize": self.chunk_size,
            "chunkCount": self.chunk_count,
            "chunkIndexWidth": self.index_width,
        }
        more = {"zeros": self.zeros, "sha256": self.image_sha256}
        text, end = _members(head), _members({key: value for key, value in more.items() if value is not None})
        yield f"{{{text}".encode()
        if self.digests is not None:
            yield from self._entries()
        yield (f",{end}}}" if end else "}").encode()

    def _entries(self) -> Iterator[bytes]:
        yield b',"chunks":['
        for first in range(0, self.chunk_count, _ENTRIES_AT_ONCE):
            group = range(first, min(first + _ENTRIES_AT_ONCE, self.chunk_count))
            yield (("," if first else "") + ",".join(map(self._entry, group))).encode()
        yield b"]"

    def _entry(self, index: int) -> str:
        digest = self.digest(index) or b""
        return f'{{"size":{self.chunk_length(index)},"sha256":"{digest.hex()}"}}'


def content_version(total_size: int, chunk_size: int, digests: bytes) -> str:
    r"""Return the version name of some content, `sha256-<64 hex digits>`: equal for equal content, and only for that.

    The digest is over the ASCII text `aero.chunked-disk-image.v1\n<total size>\n<chunk size>\n`, both in decimal,
    followed by the 32 bytes of each chunk's SHA-256 digest, in order.
    """
    digest = hashlib.sha256(f"{SCHEMA}\n{total_size}\n{chunk_size}\n".encode())
    digest.update(digests)
    return f"sha256-{digest.hexdigest()}"


def is_content_version(text: str) -> bool:
    """Return whether a version has the form of `content_version`."""
    return _CONTENT_VERSION.fullmatch(text) is not None


def virtual_version(size: int, chunk_size: int, validator: str) -> str:
    """Return the version of an image that is cut on request, `virtual-<32 hex digits>`; it changes with the image.

    `validator` identifies the state of the image, like an entity-tag.
    """
    digest = hashlib.sha256(f"{size}\n{chunk_size}\n{validator}".encode()).hexdigest()
    return f"virtual-{digest[:32]}"


def is_virtual_version(text: str) -> bool:
    """Return whether a version has the form of `virtual_version`."""
    return _VIRTUAL_VERSION.fullmatch(text) is not None


def _members(values: Mapping[str, object]) -> str:
    """Return the members of an object as JSON, without its braces."""
    return json.dumps(values, separators=(",", ":"))[1:-1]
