"""Parses chunk manifests: refuses those that the format forbids or that clients refuse (http.md §6). Pure."""

from __future__ import annotations

import re

import attrs

from aero_storage.chunks.manifest import (
    DEFAULT_INDEX_WIDTH,
    DIGEST_SIZE,
    MAX_CHUNK_COUNT,
    MAX_CHUNK_SIZE,
    MAX_INDEX_WIDTH,
    MAX_MANIFEST_BYTES,
    SCHEMA,
    SECTOR,
    ChunkManifest,
    Geometry,
)
from aero_storage.chunks.zero_chunks import parse_zeros
from aero_storage.errors import ChunkFormatError, JsonError
from aero_storage.http.digests import is_sha256
from aero_storage.http.identifiers import NAME_RULE, is_image_id, is_version
from aero_storage.strict_json import Fields, Values, load, show

_SIZE_BYTES = 8
_ENTRY_KEYS = frozenset({"size", "sha256"})
_MAX_VALUES = 4 * MAX_CHUNK_COUNT + 10_000
"""An entry of `chunks` is three: itself, `size` and `sha256`. `zeros` has a pair for two entries at most."""

_MEDIA_TYPE = re.compile(r"[!-.0-~]{1,100}/[ -~]{1,200}")


def parse_chunk_manifest(data: bytes) -> ChunkManifest:
    """Parse and check a chunk manifest; unknown keys are ignored.

    Raises ChunkFormatError with one line that names the field and the reason.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ChunkFormatError(f"larger than {MAX_MANIFEST_BYTES} bytes, which clients refuse")
    try:
        return _parse(data)
    except JsonError as error:
        raise ChunkFormatError(str(error)) from error


def _parse(data: bytes) -> ChunkManifest:
    fields = Fields(_values(load(data, _MAX_VALUES, _pack)))
    fields.text("schema", SCHEMA.__eq__, f'must be "{SCHEMA}"')
    image_id = fields.text("imageId", is_image_id, NAME_RULE)
    version = fields.text("version", is_version, f"{NAME_RULE} or 'chunks'")
    mime_type = fields.text("mimeType", _is_media_type, "must be a media type")
    total, size, width = _geometry(fields)
    manifest = ChunkManifest(
        image_id=image_id,
        version=version,
        mime_type=mime_type,
        total_size=total,
        chunk_size=size,
        index_width=width,
    )
    digests = _digests(fields.values["chunks"], manifest) if "chunks" in fields.values else None
    manifest = attrs.evolve(manifest, digests=digests, image_sha256=_image_sha256(fields))
    if "zeros" not in fields.values:
        return manifest
    return attrs.evolve(manifest, zeros=parse_zeros(fields.values["zeros"], manifest))


def _image_sha256(fields: Fields) -> str | None:
    if "sha256" not in fields.values:
        return None
    return fields.text("sha256", is_sha256, "must be 64 hex digits").lower()


def _geometry(fields: Fields) -> tuple[int, int, int]:
    whole = "must be a multiple of 512 above 0"
    total = fields.number("totalSize", lambda size: size > 0 and not size % SECTOR, whole)
    most = f"{whole} and at most {MAX_CHUNK_SIZE}"
    size = fields.number("chunkSize", lambda size: 0 < size <= MAX_CHUNK_SIZE and not size % SECTOR, most)
    count = -(-total // size)
    if count > MAX_CHUNK_COUNT:
        raise ChunkFormatError(f"chunkCount: clients refuse more than {MAX_CHUNK_COUNT}, as these sizes make")
    fields.number("chunkCount", count.__eq__, f"must be totalSize / chunkSize rounded up, {count}")
    if "chunkIndexWidth" not in fields.values:
        return total, size, DEFAULT_INDEX_WIDTH
    digits = len(str(count - 1))
    rule = f"must be {digits} to {MAX_INDEX_WIDTH}"
    return total, size, fields.number("chunkIndexWidth", lambda width: digits <= width <= MAX_INDEX_WIDTH, rule)


def _digests(entries: object, geometry: Geometry) -> bytes | None:
    if not isinstance(entries, list):
        raise ChunkFormatError(f"chunks: must be an array, not {show(entries)}")
    count = geometry.chunk_count
    if len(entries) != count:
        raise ChunkFormatError(f"chunks: must have {count} entries, one a chunk, not {len(entries)}")
    digests = bytearray()
    for index, entry in enumerate(entries):
        digests += _digest(index, entry, geometry)
    if len(digests) not in (0, DIGEST_SIZE * count):
        raise ChunkFormatError("chunks: sha256 must be in all entries or in none")
    return bytes(digests) or None


def _digest(index: int, entry: object, geometry: Geometry) -> bytes:
    """Return the digest in one entry of `chunks`, empty if there is none."""
    label = f"chunks[{index}]"
    packed = entry if isinstance(entry, bytes) else _packed(Fields(_values(entry, f"{label}: "), f"{label}."))
    size, length = int.from_bytes(packed[:_SIZE_BYTES], "big"), geometry.chunk_length(index)
    if size != length:
        raise ChunkFormatError(f"{label}.size: must be {length}, not {size}")
    return packed[_SIZE_BYTES:]


def _packed(fields: Fields) -> bytes:
    """Return an entry of `chunks` as 8 bytes of size and, if it has a digest, 32 bytes of digest."""
    size = fields.number("size", lambda size: 0 < size <= MAX_CHUNK_SIZE, "must be the size of a chunk")
    digest = fields.text("sha256", is_sha256, "must be 64 hex digits") if "sha256" in fields.values else ""
    return size.to_bytes(_SIZE_BYTES, "big") + bytes.fromhex(digest)


def _pack(values: Values) -> object:
    """Pack an entry of `chunks` while JSON is parsed: half a million dicts would take 150 MiB."""
    if not values.keys() <= _ENTRY_KEYS:
        return values
    try:
        return _packed(Fields(values))
    except JsonError:  # raised again when its place is known, if it is an entry at all
        return values


def _values(document: object, label: str = "") -> Values:
    if isinstance(document, bytes):  # a packed entry, not a manifest
        return {}
    if not isinstance(document, dict):
        raise ChunkFormatError(f"{label}must be an object, not {show(document)}")
    return document


def _is_media_type(text: str) -> bool:
    return _MEDIA_TYPE.fullmatch(text) is not None
