"""Image ids, chunked versions and chunk names (http.md §1)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.http.identifiers import (
    MAX_NAME_LENGTH,
    decode_segment,
    is_image_id,
    is_version,
    parse_chunk_name,
    parse_image_id,
    parse_version,
)

NAMES = {
    "word": (b"win7", "win7"),
    "all characters": (b"aZ09._-", "aZ09._-"),
    "one character": (b"a", "a"),
    "hyphen": (b"-", "-"),
    "three dots": (b"...", "..."),
    "leading dot": (b".a", ".a"),
    "dots inside": (b"a..b", "a..b"),
    "route word data": (b"data", "data"),
    "route word meta": (b"meta", "meta"),
    "route word chunked": (b"chunked", "chunked"),
    "route word manifest": (b"manifest.json", "manifest.json"),
    "128 characters": (b"a" * 128, "a" * 128),
    "escaped letter": (b"%61bc", "abc"),
    "escaped dot inside": (b"a%2Eb", "a.b"),
    "lower case escape": (b"a%2eb%5f", "a.b_"),
    "128 escaped characters": (b"%61" * 128, "a" * 128),
}

NO_NAMES = {
    "empty": b"",
    "dot": b".",
    "two dots": b"..",
    "escaped dot": b"%2e",
    "escaped dots": b"%2e%2e",
    "half escaped dots": b".%2E",
    "slash": b"a/b",
    "escaped slash": b"a%2Fmeta",
    "escaped slash, lower case": b"a%2fb",
    "traversal": b"..%2f..%2fetc%2fpasswd",
    "backslash": b"a\\b",
    "escaped backslash": b"a%5Cb",
    "NUL": b"a\x00",
    "escaped NUL": b"a%00",
    "escaped line feed at the end": b"abc%0A",
    "line feed at the end": b"abc\n",
    "carriage return": b"abc%0D",
    "blank": b"a b",
    "escaped blank": b"a%20b",
    "plus": b"a+b",
    "tilde": b"~",
    "colon": b"a:b",
    "percent": b"%25",
    "double encoding": b"%2561",
    "double encoding of dots": b"%252e%252e",
    "double encoding of a slash": b"a%252Fb",
    "escape cut short": b"a%",
    "escape cut shorter": b"a%6",
    "escape of no hexadecimal": b"a%zz",
    "escape with a sign": b"a%+1",
    "good escape after a bad one": b"%g1%61",
    "Latin-1": b"caf\xe9",
    "UTF-8": "caf\u00e9".encode(),
    "escaped UTF-8": b"caf%C3%A9",
    "overlong UTF-8 slash": b"a%c0%afb",
    "full-width letter": "\uff41".encode(),
    "129 characters": b"a" * 129,
    "129 escaped characters": b"%61" * 129,
    "a little over three times the limit": b"a" * 385,
    "very long": b"a" * 100_000,
}

CHUNKS = {
    "usual": (b"00000000.bin", "00000000.bin"),
    "one digit": (b"0.bin", "0.bin"),
    "32 digits": (b"9" * 32 + b".bin", "9" * 32 + ".bin"),
    "escaped": (b"%30%30.%62in", "00.bin"),
    "escaped throughout": (b"%39" * 32 + b"%2e%62%69%6e", "9" * 32 + ".bin"),
}

NO_CHUNKS = {
    "empty": b"",
    "no digits": b".bin",
    "33 digits": b"0" * 33 + b".bin",
    "33 escaped digits": b"%30" * 33 + b".bin",
    "over three times the limit": b"%30" * 36 + b".",
    "no suffix": b"00000000",
    "other suffix": b"00000000.bim",
    "capitals": b"00000000.BIN",
    "any character for the dot": b"00000000xbin",
    "letters": b"0000000a.bin",
    "sign": b"-1.bin",
    "text after": b"0.bin.bin",
    "line feed after": b"0.bin\n",
    "escaped line feed after": b"0.bin%0a",
    "escaped NUL": b"0.bin%00",
    "traversal": b"..%2f0.bin",
    "double encoding": b"%2530.bin",
    "bad escape": b"0%.bin",
    "other digits": "\u0660.bin".encode(),
    "dots": b"..",
}

CHARACTERS = string.ascii_letters + string.digits + "._-"
VALID = st.text(CHARACTERS, min_size=1, max_size=128).filter(lambda name: name not in {".", ".."})
CHUNK = st.text(string.digits, min_size=1, max_size=32).map("{}.bin".format)
RULE = re.compile(r"[A-Za-z0-9._\-]{1,128}\Z")
CHUNK_RULE = re.compile(r"[0-9]{1,32}\.bin\Z")
ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda character: character,
    lambda character: f"%{ord(character):02X}",
    lambda character: f"%{ord(character):02x}",
)
# Bytes close to the rule, so that not everything is refused at the first one.
CLOSE = st.lists(
    st.sampled_from([b"a", b"0", b".", b"..", b".bin", b"%", b"%2e", b"%2F", b"%00", b"\n", b"%0a", b"\xff"])
)
RAW = st.binary(max_size=400) | CLOSE.map(b"".join)


@st.composite
def escaped(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[bytes, str]:
    name = draw(names)
    hows = draw(st.lists(st.sampled_from(ESCAPES), min_size=len(name), max_size=len(name)))
    return "".join(how(character) for how, character in zip(hows, name, strict=True)).encode(), name


def test_limit() -> None:
    """The limit is that of http.md."""
    assert MAX_NAME_LENGTH == 128


@pytest.mark.parametrize(("raw", "expected"), NAMES.values(), ids=NAMES)
def test_name(raw: bytes, expected: str) -> None:
    """A segment that decodes to a name of the rule names that image and that version."""
    assert parse_image_id(raw) == expected
    assert parse_version(raw) == expected


@pytest.mark.parametrize("raw", NO_NAMES.values(), ids=NO_NAMES)
def test_no_name(raw: bytes) -> None:
    """A segment that, decoded once, breaks the rule names nothing."""
    assert parse_image_id(raw) is None
    assert parse_version(raw) is None


def test_reserved_version() -> None:
    """`chunks` is no version, however it is escaped, but a fine image id."""
    assert [parse_version(raw) for raw in (b"chunks", b"%63hunks", b"chunk%73")] == [None] * 3
    assert parse_image_id(b"chunks") == "chunks"
    assert [parse_version(raw) for raw in (b"Chunks", b"chunks1")] == ["Chunks", "chunks1"]
    assert is_image_id("chunks")
    assert not is_version("chunks")


@pytest.mark.parametrize(("raw", "expected"), CHUNKS.values(), ids=CHUNKS)
def test_chunk_name(raw: bytes, expected: str) -> None:
    """A segment that decodes to up to 32 digits and `.bin` names that chunk."""
    assert parse_chunk_name(raw) == expected


@pytest.mark.parametrize("raw", NO_CHUNKS.values(), ids=NO_CHUNKS)
def test_no_chunk_name(raw: bytes) -> None:
    """Whatever is not digits and `.bin` names no chunk."""
    assert parse_chunk_name(raw) is None


def test_bounded_before_decoding() -> None:
    """A raw segment over three times the limit is rejected, one of just that length is decoded."""
    assert decode_segment(b"%61" * 5, 5) == b"aaaaa"
    assert decode_segment(b"a" * 15, 5) == b"a" * 15
    assert decode_segment(b"a" * 16, 5) is None


@pytest.mark.parametrize("raw", [b"%", b"a%", b"a%6", b"%zz", b"%6g", b"%+1", b"%61%"])
def test_bad_escape(raw: bytes) -> None:
    """A badly escaped segment is not decoded at all."""
    assert decode_segment(raw, 128) is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/b", "a b", "%61", "caf\u00e9", "\uff41", "a\n", "a" * 129, "\ud800"]
)
def test_text_that_is_no_name(text: str) -> None:
    """Text is held against the rule as it is, nothing decoded."""
    assert not is_image_id(text)
    assert not is_version(text)


@given(case=escaped(VALID))
def test_round_trip(case: tuple[bytes, str]) -> None:
    """A valid name survives any percent-encoding of its characters."""
    raw, name = case
    assert parse_image_id(raw) == name
    assert parse_version(raw) == (None if name == "chunks" else name)
    assert is_image_id(name)


@given(case=escaped(CHUNK))
def test_chunk_round_trip(case: tuple[bytes, str]) -> None:
    """A valid chunk name survives any percent-encoding of its characters."""
    raw, name = case
    assert parse_chunk_name(raw) == name


@given(case=escaped(VALID | CHUNK))
def test_decoded_once(case: tuple[bytes, str]) -> None:
    """A name that is encoded twice is no name."""
    raw = case[0].replace(b"%", b"%25")
    if b"%" in raw:
        assert parse_image_id(raw) is None
        assert parse_chunk_name(raw) is None


@settings(max_examples=300)
@given(raw=RAW)
def test_arbitrary_bytes(raw: bytes) -> None:
    """No bytes make a parser raise or yield a name that breaks the rule."""
    name, version, chunk = parse_image_id(raw), parse_version(raw), parse_chunk_name(raw)
    assert name is None or (RULE.match(name) and name not in {".", ".."} and is_image_id(name))
    assert version == (None if name == "chunks" else name)
    assert chunk is None or (CHUNK_RULE.match(chunk) and chunk == name)


@given(text=st.text(max_size=140) | st.text("a.\n\u00e9", max_size=3))
def test_arbitrary_text(text: str) -> None:
    """Text is an image id if and only if it follows the rule."""
    assert is_image_id(text) is (bool(RULE.match(text)) and text not in {".", ".."})
    assert is_version(text) is (is_image_id(text) and text != "chunks")
