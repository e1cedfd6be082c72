"""The scanner of request heads: which byte decides, in whatever pieces, and that each byte is looked at once."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aero_storage.http.general_head import parse_head
from aero_storage.http.head_reader import HeadReader
from aero_storage.http.head_scanner import HeadScanner
from aero_storage.http.request_head import MAX_HEAD, MAX_HEADERS, Refusal

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
LENGTH_FIELD = rb"[Cc]ontent-[Ll]ength:[0-9, \t]*\r\n(?:[ \t][0-9, \t]*\r\n)*"
FIELD = rb"(?![Cc]ontent-[Ll]ength:)" + TOKEN + rb":" + TEXT + rb"\r\n(?:[ \t]" + TEXT + rb"\r\n)*"
HEAD = re.compile(TOKEN + rb" [\x21-\x7e]+ HTTP/1\.[01]\r\n(?:" + LENGTH_FIELD + rb"|" + FIELD + rb")*\r\n")
"""The grammar of a whole head, written down a second time."""

SHORTEST = b"G / HTTP/1.1\r\nX: 0\r\n\r\n"
ENDS = [SHORTEST[at:] for at in range(len(SHORTEST) + 1)]
"""Wherever a good head breaks off, one of these completes it."""

GOOD = b"GET /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX:\r\n y\r\n\r\n"


def can_become_a_head(data: bytes) -> bool:
    return HEAD.match(data) is not None or any(HEAD.fullmatch(data + end) for end in ENDS)


def scan(*pieces: bytes) -> tuple[int | None, int]:
    """Give status and number of bytes after these pieces, up to the one that decides."""
    scanner, data = HeadScanner(), bytearray()
    for piece in pieces:
        data += piece
        if (status := scanner.scan(data, 0)) is not None:
            return status, scanner.scanned
    return None, scanner.scanned


PARTS = st.sampled_from([
    *(b"GET", b"a", b" ", b"/", b" / ", b"HTTP", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"\r\n", b"\r\n", b"\r", b"\n"),
    *(b"X", b":", b"X: y", b"\t", b"\x00", b"\x7f", b"\xff", b"(", b"Content-Length", b"content-length:", b"5", b","),
])  # fmt: skip
STRINGS = (
    st.binary(max_size=12)
    | st.lists(PARTS, max_size=12).map(b"".join)
    | st.lists(PARTS, max_size=12).map(lambda parts: GOOD[:19] + b"".join(parts))
)


@st.composite
def damaged_heads(draw: st.DrawFn) -> bytes:
    """Give a good head with bytes cut out and put in anywhere."""
    data = GOOD
    for _ in range(draw(st.integers(0, 2))):
        place, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 3))
        data = data[:place] + draw(st.binary(max_size=2) | PARTS) + data[place + cut :]
    return data


@given(data=STRINGS | damaged_heads())
@example(data=GOOD)
@example(data=GOOD.replace(b"0", b"x"))
@example(data=b"GET / HTTP/1.1\r\n folded")
def test_the_first_byte_behind_which_no_head_can_come(data: bytes) -> None:
    """A head is refused with 400 at the byte behind which nothing makes it one, and not a byte sooner."""
    hopeless = next((size for size in range(1, len(data) + 1) if not can_become_a_head(data[:size])), None)
    status, scanned = scan(data)
    assert (status, scanned if status else None) == (400 if hopeless else None, hopeless)


@given(data=STRINGS | damaged_heads(), cuts=st.lists(st.integers(0, 200), max_size=8), end=st.sampled_from(ENDS))
def test_any_pieces(data: bytes, cuts: list[int], end: bytes) -> None:
    """The same byte decides in any pieces, and whatever comes behind it."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[one:two] for one, two in pairwise(places)]
    found = scan(*pieces)
    assert found == scan(data)
    if found[0] is not None:
        assert found == scan(data + end)


@given(data=STRINGS | damaged_heads(), end=st.sampled_from(ENDS))
def test_what_is_refused_early_is_refused_whole(data: bytes, end: bytes) -> None:
    """A reader that has refused a part of a head refuses all that begins with it, and says the same of it."""
    reader = HeadReader()
    reader.receive(data)
    early = reader.next()
    if isinstance(early, Refusal):
        whole = HeadReader()
        whole.receive(data + end)
        assert whole.next() == early


@given(value=st.binary(min_size=1, max_size=9).filter(lambda value: re.fullmatch(TEXT, value)))
def test_lengths_that_h11_refuses(value: bytes) -> None:
    """A `Content-Length` is refused at a byte only if the whole head would be refused for it."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:" + value + b"\r\n\r\n"
    if scan(data)[0] is not None:
        assert parse_head(data) == Refusal(400, "GET", "/")


LINE = b"GET / HTTP/1.1\r\n"
LIMITS = {
    "long request line": (b"a" * (MAX_HEAD - 1), b"a", 414),
    "long target": (b"GET /" + b"a" * (MAX_HEAD - 6), b"a", 414),
    "request line to the limit": (b"GET /" + b"a" * (MAX_HEAD - 16) + b" HTTP/1.1\r", b"\n", 431),
    "long name": (LINE + b"X" * (MAX_HEAD - 1 - len(LINE)), b"X", 431),
    "long value": (LINE + b"X:" + b"a" * (MAX_HEAD - 3 - len(LINE)), b"a", 431),
    "a wrong byte at the limit": (LINE + b"X:" + b"a" * (MAX_HEAD - 3 - len(LINE)), b"\x00", 400),
    "a header too many": (LINE + b"X:\r\n" * MAX_HEADERS, b"X", 431),
    "a continued line too many": (LINE + b"X:\r\n" + b" \r\n" * (MAX_HEADERS - 1), b"\t", 431),
    "a wrong byte behind the last header": (LINE + b"X:\r\n" * MAX_HEADERS, b"\x00", 400),
}


@pytest.mark.parametrize(("before", "byte", "status"), LIMITS.values(), ids=LIMITS)
def test_limits(before: bytes, byte: bytes, status: int) -> None:
    """The byte that reaches a limit decides, and no byte before it."""
    assert scan(before) == (None, len(before))
    assert scan(before + byte) == (status, len(before) + 1) == scan(before, byte)


def test_a_head_of_the_largest_size() -> None:
    """A head that ends at the limit is a good one."""
    data = LINE + b"X:" + b"a" * (MAX_HEAD - len(LINE) - 6) + b"\r\n\r\n"
    assert len(data) == MAX_HEAD
    assert scan(data) == scan(*(data[at : at + 1] for at in range(MAX_HEAD))) == (None, MAX_HEAD)


def test_each_byte_is_looked_at_once() -> None:
    """What was looked at can be overwritten, but for the name of the present line: nothing reads it again."""
    data = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n z\r\n" * 50 + b"\r\n"
    scanner, seen = HeadScanner(), bytearray()
    for at, byte in enumerate(data[2:]):
        seen.append(byte)
        assert scanner.scan(seen, 0) is None
        assert scanner.scanned == at + 1
        seen[:] = b"\x00" * len(seen)
    assert scanner.scanned == len(data) - 2


def test_a_reader_appends_in_place() -> None:
    """A head that comes byte by byte is gathered in one buffer, without a copy for each byte."""
    reader = HeadReader()
    for byte in GOOD[:2]:
        reader.receive(bytes([byte]))
    buffer = reader._data  # noqa: SLF001
    for byte in GOOD[2:]:
        reader.receive(bytes([byte]))
        assert reader._data is buffer  # noqa: SLF001
    assert reader.peek() == GOOD
