"""The chunk manifest's rules by case tables (http.md §6)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import pytest

from aero_storage.chunks.manifest import (
    MAX_MANIFEST_BYTES,
    ChunkManifest,
    Geometry,
    check_geometry,
    content_version,
    is_content_version,
    is_virtual_version,
    virtual_version,
)
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.errors import ChunkFormatError
from aero_storage.http.identifiers import is_version

MIB, TIB = 2**20, 2**40
MISSING = object()
DIGEST = "0123456789abcdefABCDEF" + 42 * "0"
GOOD: Mapping[str, object] = {
    "schema": "aero.chunked-disk-image.v1",
    "imageId": "disk",
    "version": "v1",
    "mimeType": "application/octet-stream",
    "totalSize": 2560,
    "chunkSize": 1024,
    "chunkCount": 3,
    "chunkIndexWidth": 8,
    "chunks": [{"size": 1024, "sha256": DIGEST}, {"size": 1024, "sha256": DIGEST}, {"size": 512, "sha256": DIGEST}],
}
WHOLE = Geometry(total_size=2560, chunk_size=1024)


def changed(**changes: object) -> bytes:
    fields = {key: value for key, value in {**GOOD, **changes}.items() if value is not MISSING}
    return json.dumps(fields).encode()


def entries(index: int, **changes: object) -> list[object]:
    sizes = (1024, 1024, 512)
    all_of_them = [{"size": size, "sha256": DIGEST} for size in sizes]
    entry = {key: value for key, value in {**all_of_them[index], **changes}.items() if value is not MISSING}
    return [*all_of_them[:index], entry, *all_of_them[index + 1 :]]


def refusal(data: bytes) -> str:
    with pytest.raises(ChunkFormatError) as caught:
        parse_chunk_manifest(data)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return message


def test_good_manifest() -> None:
    """A manifest by the rules becomes what it says."""
    manifest = parse_chunk_manifest(changed())
    assert manifest == ChunkManifest(
        image_id="disk", version="v1", total_size=2560, chunk_size=1024, digests=3 * bytes.fromhex(DIGEST)
    )
    assert manifest.digest(2) == bytes.fromhex(DIGEST)


@pytest.mark.parametrize(
    "data",
    [
        changed(chunks=MISSING),
        changed(chunks=[{"size": size} for size in (1024, 1024, 512)]),
    ],
)
def test_no_digests(data: bytes) -> None:
    """Digests may be left out, with the entries or of all entries."""
    assert parse_chunk_manifest(data).digests is None


@pytest.mark.parametrize(
    "changes",
    [
        {"other": {"size": 1024, "sha256": DIGEST}},
        {"size": 1024},
        {"chunks": entries(1, other=[1])},
        {"other": {"size": -1}},
    ],
)
def test_unknown_keys(changes: Mapping[str, object]) -> None:
    """Keys that the format does not know are ignored, whatever they look like."""
    assert parse_chunk_manifest(changed(**changes)) == parse_chunk_manifest(changed())


def test_default_width() -> None:
    """Without chunkIndexWidth names have eight digits."""
    assert parse_chunk_manifest(changed(chunkIndexWidth=MISSING)).index_width == 8


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        *((key, MISSING, f"{key}: missing") for key in GOOD if key not in ("chunks", "chunkIndexWidth")),
        *((key, None, f"{key}: must be ") for key in GOOD),
        *((key, True, f"{key}: must be ") for key in GOOD),
        *((key, [], f"{key}: must ") for key in GOOD),
        *((key, {"size": 512}, f"{key}: must be ") for key in GOOD),
        ("schema", "aero.chunked-disk-image.v2", 'schema: must be "aero.chunked-disk-image.v1", not "aero'),
        ("imageId", "a/b", "imageId: must be 1 to 128 characters"),
        ("imageId", "\ud800", r'not "\ud800"'),
        ("version", "..", "version: must be 1 to 128 characters"),
        ("version", "chunks", "or 'chunks', not \"chunks\""),
        ("version", "v" * 10_000_000, "vvv…"),
        ("mimeType", "", "mimeType: must be a media type"),
        ("mimeType", "a\nb/c", "mimeType: must be a media type"),
        ("totalSize", 0, "totalSize: must be a multiple of 512 above 0, not 0"),
        ("totalSize", -512, "totalSize: must be a multiple of 512 above 0, not -512"),
        ("totalSize", 2559, "totalSize: must be a multiple of 512 above 0, not 2559"),
        ("totalSize", 2560.0, "totalSize: must be a multiple of 512 above 0, not 2560.0"),
        ("totalSize", "2560", 'totalSize: must be a multiple of 512 above 0, not "2560"'),
        ("totalSize", 512 * 10**4000, "chunkCount: clients refuse more than 500000"),
        ("chunkSize", 0, "chunkSize: must be a multiple of 512 above 0"),
        ("chunkSize", 1000, "chunkSize: must be a multiple of 512 above 0"),
        ("chunkSize", 64 * MIB + 512, "at most 67108864, not 67109376"),
        ("chunkCount", 2, "chunkCount: must be totalSize / chunkSize rounded up, 3, not 2"),
        ("chunkCount", 3.0, "chunkCount: must be totalSize / chunkSize rounded up, 3, not 3.0"),
        ("chunkIndexWidth", 0, "chunkIndexWidth: must be 1 to 32, not 0"),
        ("chunkIndexWidth", 33, "chunkIndexWidth: must be 1 to 32, not 33"),
        ("chunks", entries(0)[:2], "chunks: must have 3 entries, one a chunk, not 2"),
        ("chunks", [*entries(0), {"size": 512}], "chunks: must have 3 entries, one a chunk, not 4"),
        ("chunks", entries(1, size=512), "chunks[1].size: must be 1024, not 512"),
        ("chunks", entries(2, size=1024), "chunks[2].size: must be 512, not 1024"),
        ("chunks", entries(0, size=True), "chunks[0].size: must be the size of a chunk, not true"),
        ("chunks", entries(0, size=10**4000), "chunks[0].size: must be the size of a chunk, not 1000"),
        ("chunks", entries(0, size=MISSING), "chunks[0].size: missing"),
        ("chunks", entries(2, sha256=MISSING), "chunks: sha256 must be in all entries or in none"),
        ("chunks", entries(2, sha256=None), "chunks[2].sha256: must be 64 hex digits, not null"),
        ("chunks", entries(2, sha256=DIGEST[:-1]), "chunks[2].sha256: must be 64 hex digits"),
        ("chunks", entries(2, sha256=DIGEST[:-2] + "  "), "chunks[2].sha256: must be 64 hex digits"),
        ("chunks", entries(2, sha256=DIGEST[:-1] + "٣"), "chunks[2].sha256: must be 64 hex digits"),
        ("chunks", [*entries(0)[:2], 7], "chunks[2]: must be an object, not 7"),
        ("chunks", [*entries(0)[:2], [[]]], "chunks[2]: must be an object, not an array"),
    ],
)
def test_one_breach(key: str, value: object, reason: str) -> None:
    """A manifest with one breach is refused, with the field and the reason."""
    assert reason in refusal(changed(**{key: value}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON: line 1, column 1"),
        (b"\xff", "not UTF-8: byte 0"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[]", "must be an object, not an array"),
        (b"1", "must be an object, not 1"),
        (b'{"size": 512}', "schema: missing"),
        (b"{}", "schema: missing"),
        (b'{"totalSize": NaN}', "not JSON: NaN is no JSON number"),
        (b'{"totalSize": -Infinity}', "not JSON: -Infinity is no JSON number"),
        (b'{"totalSize": ' + 5000 * b"1" + b"}", "a number of thousands of digits"),
        (100_000 * b"[", "nested too deeply"),
        (100_000 * b'{"a":', "nested too deeply"),
        (b'{"a": 1, "b": 2, "a": 1}', "a: given twice"),
        (b'{"\\n\\ud800": 1, "\\n\\ud800": 1}', r'["\n\ud800"]: given twice'),
        (changed().replace(b'"size": 512,', b'"size": 512, "size": 512,'), "chunks[2].size: given twice"),
        (changed(unknown={}).replace(b"{}", b'{"x": 1, "x": 1}'), "unknown.x: given twice"),
        (changed(unknown=[0] * 2_010_000), "more than 2010000 values"),
        (changed() + b" " * MAX_MANIFEST_BYTES, "larger than 67108864 bytes, which clients refuse"),
        (changed(totalSize=500_001 * 512, chunkSize=512), "clients refuse more than 500000"),
    ],
)
def test_no_manifest_at_all(data: bytes, reason: str) -> None:
    """What is no sound JSON object is refused with the reason."""
    assert reason in refusal(data)


def test_written_form() -> None:
    """A manifest is written compactly, with the keys and digits that clients read."""
    manifest = parse_chunk_manifest(changed())
    text = manifest.to_json()
    assert b" " not in text
    assert json.loads(text) == json.loads(changed().replace(DIGEST.encode(), DIGEST.lower().encode()))
    assert b"".join(manifest.pieces()) == text


def test_written_without_digests() -> None:
    """A manifest without digests is written without `chunks`."""
    manifest = ChunkManifest(image_id="disk", version="v1", total_size=2560, chunk_size=1024)
    assert json.loads(manifest.to_json()) == json.loads(changed(chunks=MISSING))


def test_largest_manifest() -> None:
    """The longest manifest that the format allows is written and read within what clients take."""
    count = 500_000
    manifest = ChunkManifest(
        image_id="i" * 128,
        version="v" * 128,
        total_size=count * 64 * MIB,
        chunk_size=64 * MIB,
        index_width=32,
        digests=hashlib.sha256().digest() * count,
    )
    data = manifest.to_json()
    assert len(data) <= MAX_MANIFEST_BYTES
    assert parse_chunk_manifest(data) == manifest


@pytest.mark.parametrize(
    ("index", "name", "offset", "length"),
    [(0, "00000000.bin", 0, 1024), (1, "00000001.bin", 1024, 1024), (2, "00000002.bin", 2048, 512)],
)
def test_geometry(index: int, name: str, offset: int, length: int) -> None:
    """Chunks follow each other, the last one with what is left, and are named for their index."""
    assert WHOLE.chunk_count == 3
    assert (WHOLE.chunk_name(index), WHOLE.index_of(name)) == (name, index)
    assert (WHOLE.chunk_offset(index), WHOLE.chunk_length(index)) == (offset, length)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".bin", "0.bin", "0000000.bin", "000000000.bin", "00000003.bin", "-0000001.bin", "+0000001.bin"),
        *("00000000", "00000000.BIN", "00000000.bin.bin", "0000000a.bin", "0000_000.bin", " 0000000.bin"),
        *("0" * 5000 + ".bin", "9" * 5000 + ".bin", "9" * 5000, "00000000.bin\n", "99999999.bin"),
        8 * "\N{ARABIC-INDIC DIGIT ZERO}" + ".bin",
    ],
)
def test_no_chunk_name(name: str) -> None:
    """Only the one spelling of an index in range names a chunk."""
    assert WHOLE.index_of(name) is None


@pytest.mark.parametrize(
    ("total", "size"),
    [(512, 512), (512, 64 * MIB), (500_000 * 512, 512), (500_000 * 64 * MIB, 64 * MIB), (20 * TIB, 64 * MIB)],
)
def test_sound_sizes(total: int, size: int) -> None:
    """Sizes within the limits, the limits themselves included, can be cut."""
    check_geometry(total, size)


@pytest.mark.parametrize(
    ("total", "size", "reason"),
    [
        (0, 512, "the image is empty"),
        (511, 512, "511 bytes, no multiple of 512; pad it with: truncate --size=%512 FILE"),
        (512, 0, "chunk size of 0 bytes is no multiple of 512; 4194304 (4 MiB) is usual"),
        (512, -512, "chunk size of -512 bytes"),
        (512, 1000, "chunk size of 1000 bytes is no multiple of 512"),
        (512, 64 * MIB + 512, "choose 67108864 (64 MiB) or less"),
        (500_001 * 512, 512, "these would be 500001; choose a chunk size of 1024 bytes or more"),
        (20 * TIB, 4 * MIB, "choose a chunk size of 67108864 bytes or more"),
        (500_000 * 64 * MIB + 512, 64 * MIB, "chunks hold 33554432000000 at the most"),
    ],
)
def test_unsound_sizes(total: int, size: int, reason: str) -> None:
    """Sizes that break the format are refused in one line that tells how to mend it."""
    with pytest.raises(ChunkFormatError, match=re.escape(reason)):
        check_geometry(total, size)


def test_content_version_is_fixed() -> None:
    """The version of a content is made of the bytes that its description says, for good."""
    digests = b"".join(hashlib.sha256(data).digest() for data in (b"a" * 1024, b"b" * 512))
    text = b"aero.chunked-disk-image.v1\n1536\n1024\n" + digests
    version = content_version(1536, 1024, digests)
    assert version == "sha256-" + hashlib.sha256(text).hexdigest()
    assert is_version(version)
    assert is_content_version(version)
    assert not is_virtual_version(version)


def test_virtual_version() -> None:
    """The version of virtual chunks fits into a URL and changes with each thing that it stands for."""
    versions = {
        virtual_version(*parts)
        for parts in [(1024, 512, '"a"'), (1024, 1024, '"a"'), (1536, 512, '"a"'), (1024, 512, '"b"')]
    }
    assert len(versions) == 4
    for version in versions:
        assert is_version(version)
        assert is_virtual_version(version)
        assert not is_content_version(version)


@pytest.mark.parametrize("text", ["", "virtual-", "v1", "virtual-" + 31 * "0", "virtual-" + 32 * "G", "chunks"])
def test_no_virtual_version(text: str) -> None:
    """Other names are not taken for versions of virtual chunks."""
    assert not is_virtual_version(text)
