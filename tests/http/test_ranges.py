"""Which bytes a `Range` header asks for (http.md §5, RFC 9110 §14)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aero_storage.http.ranges import (
    MAX_HEADER_LENGTH,
    MAX_RANGES,
    ByteRange,
    RangeProblem,
    Segment,
    content_range,
    parse_range,
    resolve,
    unsatisfied_range,
)

TOP = 2**64 - 1
KIB_8 = 8 * 1024

ACCEPTED = {
    "first byte": ("bytes=0-0", ByteRange(0, 0)),
    "closed": ("bytes=5-9", ByteRange(5, 9)),
    "open": ("bytes=5-", ByteRange(5, None)),
    "open from zero": ("bytes=0-", ByteRange(0, None)),
    "suffix": ("bytes=-5", ByteRange(None, 5)),
    "unit in capitals": ("BYTES=0-5", ByteRange(0, 5)),
    "unit in mixed case": ("ByTeS=0-5", ByteRange(0, 5)),
    "blanks around equals": ("bytes = 0-5", ByteRange(0, 5)),
    "tabs around equals": ("bytes\t=\t0-5", ByteRange(0, 5)),
    "blanks around hyphen": ("bytes=0 - 5", ByteRange(0, 5)),
    "tabs around hyphen": ("bytes=0\t-\t5", ByteRange(0, 5)),
    "blanks outside": (" \tbytes=0-5\t ", ByteRange(0, 5)),
    "blank after open": ("bytes=5- ", ByteRange(5, None)),
    "blank in suffix": ("bytes= - 5", ByteRange(None, 5)),
    "zero-padded": ("bytes=000-0005", ByteRange(0, 5)),
    "zero-padded suffix": ("bytes=-0005", ByteRange(None, 5)),
    "zero-padded far beyond 20 digits": (f"bytes={'0' * 60}1-{'0' * 60}2", ByteRange(1, 2)),
    "largest last": (f"bytes=0-{TOP}", ByteRange(0, TOP)),
    "largest first": (f"bytes={TOP}-", ByteRange(TOP, None)),
    "largest suffix": (f"bytes=-{TOP}", ByteRange(None, TOP)),
    "8 KiB": ("bytes=" + "7-".rjust(KIB_8 - len("bytes="), "0"), ByteRange(7, None)),
}

BROKEN = {
    "empty": "",
    "blank": " ",
    "unit alone": "bytes",
    "no equals": "bytes 0-5",
    "other word alone": "items",
    "no range": "bytes=",
    "blank range": "bytes= ",
    "hyphen alone": "bytes=-",
    "no hyphen": "bytes=5",
    "descending": "bytes=5-2",
    "empty suffix": "bytes=-0",
    "zero-padded empty suffix": "bytes=-000",
    "letters": "bytes=a-b",
    "letter after": "bytes=0-5x",
    "trailing comma": "bytes=0-0,",
    "leading comma": "bytes=,0-0",
    "commas alone": "bytes=,",
    "blank member": "bytes=0-0, ,2-2",
    "two hyphens": "bytes=0--5",
    "negative suffix": "bytes=--5",
    "three numbers": "bytes=0-5-9",
    "plus sign": "bytes=+0-5",
    "underscore": "bytes=1_0-2_0",
    "hexadecimal": "bytes=0x0-0x5",
    "fraction": "bytes=0.0-5",
    "blank inside a number": "bytes=1 0-20",
    "second equals": "bytes==0-5",
    "star": "bytes=*",
    "other digits": "bytes=\u0660-\u0665",
    "other digits first": "bytes=\u0660-5",
    "other digits last": "bytes=0-\u0665",
    "superscript": "bytes=0-\u00b2",
    "no-break space": "bytes=0\u00a0-5",
    "line feed": "bytes=0-5\n",
    "last of 2^64": f"bytes=0-{2**64}",
    "first of 2^64": f"bytes={2**64}-",
    "suffix of 2^64": f"bytes=-{2**64}",
    "21 digits": "bytes=0-100000000000000000000",
    "8,000 digits": "bytes=0-" + "9" * 8000,
}

OTHER_UNIT = {
    "items": "items=0-5",
    "no unit": "=0-5",
    "blank unit": " =0-5",
    "prefix of bytes": "byte=0-5",
    "bytes and more": "bytesx=0-5",
    "two words": "x bytes=0-5",
    "broken too": "items=a-b",
    "look-alike letter": "byte\u017f=0-5",
}

MULTIPLE = {
    "two": "bytes=0-0,2-2",
    "two the same": "bytes=0-0,0-0",
    "blanks around the comma": "bytes=0-0 ,\t2-2",
    "of each kind": "bytes=0-0,5-,-3",
    "as many as may be": "bytes=" + ",".join(["0-0"] * 1000),
}

OVERSIZED = {
    "a byte over 8 KiB": "bytes=" + "7-".rjust(KIB_8 + 1 - len("bytes="), "0"),
    "a byte over 8 KiB and broken": "x" * (KIB_8 + 1),
}
TOO_MANY = {
    "a range over a thousand": "bytes=" + ",".join(["0-0"] * 1001),
    "a range over a thousand and broken": "bytes=" + "," * 1000,
}

RESOLVED = {
    "first byte": ("bytes=0-0", 10, Segment(0, 1)),
    "middle": ("bytes=3-6", 10, Segment(3, 4)),
    "last byte": ("bytes=9-9", 10, Segment(9, 1)),
    "all": ("bytes=0-9", 10, Segment(0, 10)),
    "end clipped": ("bytes=5-10", 10, Segment(5, 5)),
    "end clipped from far": (f"bytes=5-{TOP}", 10, Segment(5, 5)),
    "open from zero": ("bytes=0-", 10, Segment(0, 10)),
    "open tail": ("bytes=7-", 10, Segment(7, 3)),
    "suffix": ("bytes=-3", 10, Segment(7, 3)),
    "suffix of one": ("bytes=-1", 10, Segment(9, 1)),
    "suffix of all": ("bytes=-10", 10, Segment(0, 10)),
    "suffix larger than all": ("bytes=-11", 10, Segment(0, 10)),
    "largest suffix": (f"bytes=-{TOP}", 10, Segment(0, 10)),
    "first at the end": ("bytes=10-10", 10, None),
    "open at the end": ("bytes=10-", 10, None),
    "first past the end": ("bytes=11-20", 10, None),
    "empty, closed": ("bytes=0-0", 0, None),
    "empty, open": ("bytes=0-", 0, None),
    "empty, suffix": ("bytes=-1", 0, None),
    "20 GiB": ("bytes=21474836470-", 20 * 2**30, Segment(21474836470, 10)),
}

BLANKS = st.text(" \t", max_size=2)
PIECES = st.lists(
    st.sampled_from(["bytes", "Bytes", "items", "=", "-", ",", " ", "\t", "0", "5", "07", str(TOP), str(2**64), "x"])
)
GRAMMAR = re.compile(
    r"[ \t]*bytes[ \t]*=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*",
    re.IGNORECASE | re.ASCII,
)


def wanted(header: str) -> ByteRange:
    parsed = parse_range(header)
    assert isinstance(parsed, ByteRange)
    return parsed


def by_the_grammar(header: str) -> ByteRange | None:
    match = GRAMMAR.fullmatch(header)
    if match is None:
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if max(first or 0, last or 0) > TOP or (first is None and not last):
        return None
    return None if first is not None and last is not None and first > last else ByteRange(first, last)


def positions(first: int | None, last: int | None, size: int) -> list[int]:
    if first is None:
        return list(range(size))[-(last or 0) :]
    return [at for at in range(size) if first <= at and (last is None or at <= last)]


def numbers(top: int) -> st.SearchStrategy[tuple[int | None, int | None]]:
    number = st.integers(0, top)
    closed = st.tuples(number, number).map(lambda pair: (min(pair), max(pair)))
    return st.one_of(closed, st.tuples(number, st.none()), st.tuples(st.none(), st.integers(1, top)))


def test_limits() -> None:
    """The limits are those of http.md."""
    assert (MAX_HEADER_LENGTH, MAX_RANGES) == (KIB_8, 1000)


@pytest.mark.parametrize(("header", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(header: str, expected: ByteRange) -> None:
    """One well-formed byte range is read as it was asked for."""
    assert parse_range(header) == expected


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN)
def test_broken(header: str) -> None:
    """A syntactically broken header is told as such."""
    assert parse_range(header) is RangeProblem.BROKEN


@pytest.mark.parametrize("header", OTHER_UNIT.values(), ids=OTHER_UNIT)
def test_other_unit(header: str) -> None:
    """A unit other than `bytes` is told as such, whatever follows it."""
    assert parse_range(header) is RangeProblem.OTHER_UNIT


@pytest.mark.parametrize("header", MULTIPLE.values(), ids=MULTIPLE)
def test_multiple(header: str) -> None:
    """More than one well-formed range is told as such."""
    assert parse_range(header) is RangeProblem.MULTIPLE


@pytest.mark.parametrize("header", OVERSIZED.values(), ids=OVERSIZED)
def test_oversized(header: str) -> None:
    """The length is looked at before the syntax."""
    assert parse_range(header) is RangeProblem.OVERSIZED


@pytest.mark.parametrize("header", TOO_MANY.values(), ids=TOO_MANY)
def test_too_many(header: str) -> None:
    """The count is looked at before the syntax of each range."""
    assert parse_range(header) is RangeProblem.TOO_MANY


@pytest.mark.parametrize(("header", "size", "expected"), RESOLVED.values(), ids=RESOLVED)
def test_resolved(header: str, size: int, expected: Segment | None) -> None:
    """A range is laid on the representation: the end clipped, a suffix counted from it, None if there is no byte."""
    assert resolve(wanted(header), size) == expected


def test_open_ended() -> None:
    """Only `first-` is open-ended: a suffix and a closed range have their length said."""
    assert [wanted(f"bytes={text}").open_ended for text in ("5-", "0-", "5-9", "-5")] == [True, True, False, False]


def test_content_range() -> None:
    """`Content-Range` names the first and the last byte sent and the size, and on a 416 the size alone."""
    assert content_range(Segment(0, 1), 1) == "bytes 0-0/1"
    assert content_range(Segment(3, 4), 10) == "bytes 3-6/10"
    assert unsatisfied_range(10) == "bytes */10"
    assert unsatisfied_range(0) == "bytes */0"


@given(pair=numbers(40), size=st.integers(0, 30), zeros=st.integers(0, 3), blanks=st.lists(BLANKS, min_size=6))
def test_bytes_of_a_small_representation(
    pair: tuple[int | None, int | None], size: int, zeros: int, blanks: list[str]
) -> None:
    """A range selects exactly the bytes that counting them one by one selects, and is None where there are none."""
    first, last = ("" if number is None else "0" * zeros + str(number) for number in pair)
    parts = ("bytes", "=", first, "-", last)
    header = "".join(blank + part for blank, part in zip(blanks, (*parts, ""), strict=False))
    segment = resolve(wanted(header), size)
    found = [] if segment is None else list(range(segment.offset, segment.offset + segment.length))
    assert found == positions(*pair, size)
    assert segment is None or segment.length


@given(pair=numbers(TOP), size=st.integers(0, 2**63))
def test_inside(pair: tuple[int | None, int | None], size: int) -> None:
    """A satisfiable range lies inside the representation and holds a byte at least."""
    segment = resolve(ByteRange(*pair), size)
    if segment is not None:
        assert 0 <= segment.offset < segment.offset + segment.length <= size
        assert content_range(segment, size) == f"bytes {segment.offset}-{segment.offset + segment.length - 1}/{size}"


@settings(max_examples=300)
@given(header=PIECES.map("".join) | PIECES.map(lambda pieces: "bytes=" + "".join(pieces)))
def test_grammar(header: str) -> None:
    """A header is accepted if and only if the grammar, written down once more, accepts it, and to the same range."""
    expected, parsed = by_the_grammar(header), parse_range(header)
    assert parsed == expected if expected else isinstance(parsed, RangeProblem)


@given(header=st.text() | st.text().map("bytes=".__add__) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_arbitrary_text(header: str) -> None:
    """No text makes the parser raise."""
    assert isinstance(parse_range(header), ByteRange | RangeProblem)
