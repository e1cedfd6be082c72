"""What a `manifest.json` may hold, and what is said of one that may not be used (http.md §3)."""

from __future__ import annotations

import json
import re

import attrs
import pytest

from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES, MAX_VALUES, parse_manifest
from aero_storage.errors import CatalogError

Entry = dict[str, object]

SECOND = 10**9
LONGEST_MESSAGE = 400
PLAIN: Entry = {"id": "b", "file": "b.img", "name": "B"}
FULL: Entry = {
    "id": "win7",
    "file": "disks/win7.img",
    "name": "Windows 7 \u2013 64 bit",
    "public": False,
    "description": "with\nservice pack",
    "recommended_chunk_size_bytes": 4194304,
    "chunked_version": "sp1",
    "etag": '"win7-sp1"',
    "last_modified": "2026-01-10T00:00:00Z",
    "sha256": "AB" * 32,
    "sha256_of": "1024-1768003200000000001",
    "private_cache": "browser",
}
FULL_IMAGE = Image(
    id="win7",
    file="disks/win7.img",
    name="Windows 7 \u2013 64 bit",
    public=False,
    description="with\nservice pack",
    recommended_chunk_size_bytes=4194304,
    chunked_version="sp1",
    etag='"win7-sp1"',
    last_modified=1768003200 * SECOND,
    sha256="ab" * 32,
    sha256_of="1024-1768003200000000001",
    private_cache="browser",
)

# Field as written in the manifest, attribute value that must come of it.
TAKEN: dict[str, tuple[str, object, object]] = {
    "longest id": ("id", "a" * 128, "a" * 128),
    "id of a route word": ("id", "chunks", "chunks"),
    "file in a directory": ("file", "a/b/c.img", "a/b/c.img"),
    "file with a dot component": ("file", "./b.img", "./b.img"),
    "file that is a dot": ("file", ".", "."),
    "file with dots in its name": ("file", "a..b/..c/d..", "a..b/..c/d.."),
    "hidden file": ("file", ".hidden/b.img", ".hidden/b.img"),
    "file of 512 bytes": ("file", "\u00e9" * 256, "\u00e9" * 256),
    "file of one byte": ("file", "b", "b"),
    "empty name": ("name", "", ""),
    "public": ("public", True, True),
    "not public": ("public", False, False),
    "description null": ("description", None, None),
    "description empty": ("description", "", ""),
    "chunk size null": ("recommended_chunk_size_bytes", None, None),
    "chunk size of one": ("recommended_chunk_size_bytes", 1, 1),
    "chunk size large": ("recommended_chunk_size_bytes", 2**53, 2**53),
    "version null": ("chunked_version", None, None),
    "version": ("chunked_version", "v1", "v1"),
    "version trimmed": ("chunked_version", " \tv1\n", "v1"),
    "etag null": ("etag", None, None),
    "etag weak": ("etag", 'W/"a,b"', 'W/"a,b"'),
    "etag trimmed": ("etag", '\t "a" \n', '"a"'),
    "etag of 1024 bytes": ("etag", f'"{"a" * 1022}"', f'"{"a" * 1022}"'),
    "etag of 1024 bytes trimmed": ("etag", f'  "{"a" * 1022}"  ', f'"{"a" * 1022}"'),
    "last_modified null": ("last_modified", None, None),
    "last_modified at the epoch": ("last_modified", "1970-01-01T00:00:00Z", 0),
    "last_modified trimmed": ("last_modified", " 1970-01-01T00:00:01Z\n", SECOND),
    "last_modified with an offset": ("last_modified", "1970-01-01T01:00:00+01:00", 0),
    "sha256 null": ("sha256", None, None),
    "sha256 lower": ("sha256", "0123456789abcdef" * 4, "0123456789abcdef" * 4),
    "sha256 upper": ("sha256", "0123456789ABCDEF" * 4, "0123456789abcdef" * 4),
    "sha256_of null": ("sha256_of", None, None),
    "sha256_of alone": ("sha256_of", "512-1", "512-1"),
    "sha256_of at the epoch": ("sha256_of", "0-0", "0-0"),
    "sha256_of before the epoch": ("sha256_of", "512--1", "512--1"),
    "sha256_of with ctime and inode": ("sha256_of", "512-1-1768003200000000001-77", "512-1-1768003200000000001-77"),
    "private_cache null": ("private_cache", None, None),
    "private_cache": ("private_cache", "browser", "browser"),
    "last_modified with a fraction": ("last_modified", "1970-01-01T00:00:00.25Z", SECOND // 4),
}

# Field, value that breaks its rule, a word of the reason.
BREACHES: dict[str, tuple[str, object, str]] = {
    "id null": ("id", None, "string"),
    "id a number": ("id", 7, "string"),
    "id a list": ("id", ["b"], "string"),
    "id empty": ("id", "", "128"),
    "id dot": ("id", ".", "128"),
    "id dots": ("id", "..", "128"),
    "id with a slash": ("id", "a/b", "128"),
    "id with a blank": ("id", " b", "128"),
    "id not trimmed": ("id", "b\n", "128"),
    "id beyond ASCII": ("id", "caf\u00e9", "128"),
    "id escaped": ("id", "%62", "128"),
    "id too long": ("id", "a" * 129, "128"),
    "id half a surrogate pair": ("id", "\ud800", "Unicode|128"),
    "file null": ("file", None, "string"),
    "file a number": ("file", 1, "string"),
    "file empty": ("file", "", "512"),
    "file too long": ("file", "a" * 513, "512"),
    "file too long in bytes": ("file", "\u00e9" * 257, "512"),
    "file with NUL": ("file", "a\0b", "NUL"),
    "file absolute": ("file", "/etc/passwd", "relative"),
    "file absolute, two slashes": ("file", "//etc/passwd", "relative"),
    "file dots": ("file", "..", r"\.\."),
    "file dots first": ("file", "../b", r"\.\."),
    "file dots inside": ("file", "a/../b", r"\.\."),
    "file dots last": ("file", "a/..", r"\.\."),
    "file dots after a dot": ("file", "./..", r"\.\."),
    "file half a surrogate pair": ("file", "\udcff", "Unicode"),
    "name null": ("name", None, "string"),
    "name a number": ("name", 1, "string"),
    "public null": ("public", None, "true or false"),
    "public a string": ("public", "true", "true or false"),
    "public a number": ("public", 1, "true or false"),
    "description a number": ("description", 0, "string"),
    "description false": ("description", False, "string"),
    "chunk size zero": ("recommended_chunk_size_bytes", 0, "above 0"),
    "chunk size negative": ("recommended_chunk_size_bytes", -1, "above 0"),
    "chunk size a fraction": ("recommended_chunk_size_bytes", 1.5, "number"),
    "chunk size a string": ("recommended_chunk_size_bytes", "1", "number"),
    "chunk size true": ("recommended_chunk_size_bytes", True, "number"),
    "version empty": ("chunked_version", "", "128"),
    "version blank": ("chunked_version", "  ", "128"),
    "version chunks": ("chunked_version", "chunks", "chunks"),
    "version chunks, trimmed": ("chunked_version", " chunks ", "chunks"),
    "version dots": ("chunked_version", "..", "128"),
    "version with a slash": ("chunked_version", "a/b", "128"),
    "version too long": ("chunked_version", "a" * 129, "128"),
    "version a number": ("chunked_version", 1, "string"),
    "etag empty": ("etag", "", "quoted"),
    "etag without quotes": ("etag", "abc", "quoted"),
    "etag with a lower case w": ("etag", 'w/"abc"', "quoted"),
    "etag with a blank": ("etag", '"a b"', "quoted"),
    "etag with an inner quote": ("etag", '"a"b"', "quoted"),
    "etag with a line feed": ("etag", '"a\nb"', "quoted"),
    "etag beyond ASCII": ("etag", '"\u00e9"', "ASCII"),
    "etag too long": ("etag", f'"{"a" * 1023}"', "1024"),
    "etag weak and too long": ("etag", f'W/"{"a" * 1021}"', "1024"),
    "etag a number": ("etag", 1, "string"),
    "sha256 empty": ("sha256", "", "64 hex"),
    "sha256 short": ("sha256", "a" * 63, "64 hex"),
    "sha256 long": ("sha256", "a" * 65, "64 hex"),
    "sha256 no hex": ("sha256", "g" * 64, "64 hex"),
    "sha256 beyond ASCII": ("sha256", "\u0661" * 64, "64 hex"),
    "sha256 with a prefix": ("sha256", "sha256:" + "a" * 64, "64 hex"),
    "sha256 with a line feed": ("sha256", "a" * 64 + "\n", "64 hex"),
    "sha256 a number": ("sha256", 1, "string"),
    "sha256_of empty": ("sha256_of", "", "mtime"),
    "sha256_of a size": ("sha256_of", "512", "mtime"),
    "sha256_of a size and a dash": ("sha256_of", "512-", "mtime"),
    "sha256_of negative size": ("sha256_of", "-1-1", "mtime"),
    "sha256_of a date": ("sha256_of", "512-2026-01-10", "mtime"),
    "sha256_of three numbers": ("sha256_of", "512-1-2", "mtime"),
    "sha256_of five numbers": ("sha256_of", "512-1-2-3-4", "mtime"),
    "sha256_of a fraction": ("sha256_of", "512-1.5", "mtime"),
    "sha256_of padded": ("sha256_of", "0512-1", "mtime"),
    "sha256_of not trimmed": ("sha256_of", " 512-1", "mtime"),
    "sha256_of with a line feed": ("sha256_of", "512-1\n", "mtime"),
    "sha256_of beyond ASCII": ("sha256_of", "\u0661-\u0661", "mtime"),
    "sha256_of a number": ("sha256_of", 512, "string"),
    "private_cache empty": ("private_cache", "", 'must be "browser" or absent'),
    "private_cache of another word": ("private_cache", "shared", 'must be "browser" or absent, not "shared"'),
    "private_cache of another case": ("private_cache", "Browser", "browser"),
    "private_cache not trimmed": ("private_cache", " browser", "browser"),
    "private_cache true": ("private_cache", True, "browser"),
    "private_cache a list": ("private_cache", ["browser"], "browser"),
    "last_modified empty": ("last_modified", "", "3339"),
    "last_modified a date alone": ("last_modified", "2026-01-10", "3339"),
    "last_modified an HTTP date": ("last_modified", "Sun, 06 Nov 1994 08:49:37 GMT", "3339"),
    "last_modified a number": ("last_modified", 1768003200, "string"),
    "last_modified no such day": ("last_modified", "2026-02-30T00:00:00Z", "3339"),
    "last_modified before the epoch": ("last_modified", "1969-12-31T23:59:59Z", "epoch"),
    "last_modified before the epoch by a fraction": ("last_modified", "1969-12-31T23:59:59.9Z", "epoch"),
    "last_modified before the epoch by its offset": ("last_modified", "1970-01-01T00:59:59+01:00", "epoch"),
}

DOCUMENTS = {
    "empty file": (b"", "JSON"),
    "blanks": (b" \n", "JSON"),
    "cut short": (b'{"images":[', "JSON"),
    "text after": (b"[] x", "JSON"),
    "single quotes": (b"[{'id':'a'}]", "JSON"),
    "trailing comma": (b"[1,]", "JSON"),
    "not UTF-8": (b'[{"id":"\xff"}]', "UTF-8"),
    "NaN": (b"[NaN]", "NaN"),
    "infinity": (b'{"images":-Infinity}', "Infinity"),
    "number of 5,000 digits": (b"[" + b"1" * 5000 + b"]", ""),
    "control character in a string": (b'[{"id":"a\n"}]', "JSON"),
    "null": (b"null", "array"),
    "string": (b'"images"', "array"),
    "number": (b"1", "array"),
    "no images": (b"{}", "images: missing"),
    "images of another case": (b'{"Images":[]}', "images: missing"),
    "images null": (b'{"images":null}', "images: must be an array"),
    "images an object": (b'{"images":{}}', "images: must be an array"),
    "no image in the list": (b'{"images":[]}', "at least one"),
    "no image in the array": (b"[]", "at least one"),
    "document key twice": (b'{"images":[],"images":[]}', "images: given twice"),
    "field twice": (b'{"images":[{"id":"b","file":"b","name":"B","name":"B"}]}', "images[0].name: given twice"),
    "unknown key twice": (b'[{"id":"b","file":"b","name":"B","x":{"y":1,"y":1}}]', "[0].x.y: given twice"),
    "too many keys": (b'{"images":[{' + b'"x":1,' * MAX_VALUES + b'"x":1}]}', f"more than {MAX_VALUES} values"),
    "too many arrays": (b"[" + b"[]," * MAX_VALUES + b"1]", f"more than {MAX_VALUES} values"),
    "long string": (json.dumps("x" * 10_000).encode(), "array"),
}


def parse(entries: object) -> Catalog:
    return parse_manifest(json.dumps({"images": entries}).encode())


def refusal(data: bytes) -> str:
    with pytest.raises(CatalogError) as caught:
        parse_manifest(data)
    message = str(caught.value)
    assert message.isprintable()
    assert 0 < len(message) <= LONGEST_MESSAGE
    return message


def refusal_of(*entries: object) -> str:
    return refusal(json.dumps(entries).encode())


def test_both_shapes() -> None:
    """An object with `images` and a bare array mean the same."""
    expected = Catalog((FULL_IMAGE, Image(id="b", file="b.img", name="B")))
    assert parse_manifest(json.dumps({"images": [FULL, PLAIN]}).encode()) == expected
    assert parse_manifest(json.dumps([FULL, PLAIN]).encode()) == expected
    assert parse_manifest(json.dumps([FULL, PLAIN], ensure_ascii=False, indent=2).encode()) == expected


def test_order_of_the_manifest() -> None:
    """Images keep the order of the manifest, whatever their ids."""
    ids = ["b", "a", "10", "9", "B"]
    assert [image.id for image in parse([PLAIN | {"id": name} for name in ids]).images] == ids


def test_unknown_keys() -> None:
    """Unknown keys are ignored, in the document and in an entry."""
    entry = PLAIN | {"extra": {"id": 1}, "Public": False, "follow_links": False}
    document = {"version": 2, "images": [entry], "more": [None]}
    assert parse_manifest(json.dumps(document).encode()) == parse([PLAIN])


@pytest.mark.parametrize(("field", "value", "expected"), TAKEN.values(), ids=TAKEN)
def test_field(field: str, value: object, expected: object) -> None:
    """A value that follows the rule of its field is taken, trimmed where the catalog page says so."""
    (image,) = parse([PLAIN | {field: value}]).images
    assert getattr(image, field) == expected
    others = attrs.asdict(image) | {field: None}
    assert others == attrs.asdict(Image(**PLAIN)) | {field: None}  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "value", "reason"), BREACHES.values(), ids=BREACHES)
def test_breach(field: str, value: object, reason: str) -> None:
    """One breach is refused with one line that names the entry, the field and the reason."""
    message = refusal_of(PLAIN | {"id": "a"}, PLAIN | {field: value})
    named = "images[1]: " if field == "id" else "images[1] (b): "
    assert message.startswith(f"{named}{field}: ")
    assert re.search(reason, message)


@pytest.mark.parametrize("field", ["id", "file", "name"])
def test_missing(field: str) -> None:
    """A required field that is missing is told with its entry."""
    entry = {key: value for key, value in PLAIN.items() if key != field}
    message = refusal_of(PLAIN | {"id": "a"}, entry)
    assert message.startswith("images[1]")
    assert message.endswith(f": {field}: missing")


def test_duplicate_id() -> None:
    """An id that is used twice is refused, and both entries are named."""
    message = refusal_of(PLAIN, PLAIN | {"id": "a"}, PLAIN | {"file": "other.img"})
    assert message.startswith("images[2] (b): id: ")
    assert "images[0]" in message
    assert len(parse([PLAIN, PLAIN | {"id": "B"}]).images) == 2


@pytest.mark.parametrize("entry", [None, 1, "b", [PLAIN], True], ids=repr)
def test_entry_of_another_kind(entry: object) -> None:
    """An entry that is no object is refused by its place."""
    assert refusal_of(PLAIN, entry).startswith("images[1]: must be an object")


@pytest.mark.parametrize(("data", "reason"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_document(data: bytes, reason: str) -> None:
    """A file that is no JSON of either shape, or lists no image, is refused with a reason."""
    assert reason in refusal(data)


def test_commas_in_texts_are_no_values() -> None:
    """Only values count towards the limit: a long description may have as many commas as it likes."""
    assert parse([PLAIN | {"description": ",[{" * MAX_VALUES}]).find("b") is not None


def test_too_large() -> None:
    """A file over the limit is refused for its size."""
    assert str(MAX_MANIFEST_BYTES) in refusal(b" " * (MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize("field", ["id", "file", "name", "public", "etag", "last_modified", "chunked_version"])
def test_long_values_are_truncated(field: str) -> None:
    """A long value is shown in part, so that the message stays short."""
    for value in ("\u00e9\n" * 10_000, [0] * 10_000, {"x" * 10_000: 1}, "9" * 10_000):
        if field != "name" or not isinstance(value, str):
            refusal_of(PLAIN | {field: value})


@pytest.mark.parametrize(
    "document",
    ["[%s]", '{"images":%s}', '[{"id":%s}]', '[{"id":"b","file":"b","name":"b","etag":%s}]', '{"x":%s}'],
    ids=["entry", "images", "id", "etag", "unknown key"],
)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
def test_deep_nesting(document: str, opening: str, closing: str) -> None:
    """Nesting of any depth, up to and over what the interpreter's stack holds, is refused like any other breach."""
    for depth in (*range(700, 1100), 10_000, 100_000):
        inner = opening * depth + ("1" if closing == "}" else "") + closing * depth
        refusal((document % inner).encode())
