"""Ranges of images as http.md §5 has them: what is sent, what is refused, and in which order that is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.policies import policy_with

from aero_storage.delivery.reply import Reply

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, ReplyTo

SIZE = 1000
LIMITED = policy_with(max_range_bytes=100)
LIMITED_TAILS = policy_with(max_range_bytes=100, open_ended_ranges="limit")
STRICT = policy_with(max_range_bytes=100, require_range=True)
EXACTLY = "Tue, 14 Nov 2023 22:13:20 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"
ONE = {"Range": "bytes=0-0"}
WHOLE = (200, 0, SIZE)

Headers = dict[str, str]


def sent(reply: Reply) -> tuple[int, int, int] | int:
    """Status, offset and length of what is sent; of a reply without bytes the status alone."""
    return reply.status if reply.segment is None else (reply.status, reply.segment.offset, reply.segment.length)


def part(first: int, last: int) -> tuple[int, int, int]:
    return (206, first, last - first + 1)


RANGES = [
    # satisfiable
    ("bytes=0-99", part(0, 99)),
    ("bytes=0-0", part(0, 0)),
    ("bytes=500-599", part(500, 599)),
    ("bytes=999-999", part(999, 999)),
    ("bytes=-1", part(999, 999)),
    ("bytes=-100", part(900, 999)),
    ("Bytes=0-9", part(0, 9)),
    ("BYTES=0-9", part(0, 9)),
    # white space and zeros
    ("bytes = 0-9", part(0, 9)),
    ("bytes= 0 - 9 ", part(0, 9)),
    (" bytes\t=\t0\t-\t9\t", part(0, 9)),
    ("bytes= - 9", part(991, 999)),
    ("bytes=0000-0009", part(0, 9)),
    (f"bytes={'0' * 100}5-{'0' * 100}9", part(5, 9)),
    ("bytes=-00009", part(991, 999)),
    # past the end: clipped
    ("bytes=950-1000", part(950, 999)),
    ("bytes=950-99999999999", part(950, 999)),
    (f"bytes=950-{2**64 - 1}", part(950, 999)),
    # open-ended: never limited by default
    ("bytes=0-", part(0, 999)),
    ("bytes=500-", part(500, 999)),
    ("bytes=950-", part(950, 999)),
    ("bytes=999-", part(999, 999)),
    # other unit
    ("items=0-5", WHOLE),
    ("=0-5", WHOLE),
    ("byte=0-5", WHOLE),
    ("bytes2=0-5", WHOLE),
    ("items=broken", WHOLE),
    # broken
    ("", 416),
    (" ", 416),
    ("bytes", 416),
    ("bytes=", 416),
    ("bytes= ", 416),
    ("bytes=-", 416),
    ("bytes=5-2", 416),
    ("bytes=-0", 416),
    ("bytes=-000", 416),
    ("bytes=a-b", 416),
    ("bytes=0", 416),
    ("bytes=0-5-7", 416),
    ("bytes=--5", 416),
    ("bytes=0--5", 416),
    ("bytes=+0-5", 416),
    ("bytes=0x0-0x5", 416),
    ("bytes=0_0-5", 416),
    ("bytes=0.0-5", 416),
    ("bytes=1 0-15", 416),
    ("bytes=\u0661-\u0662", 416),
    ("bytes=\xb2-5", 416),
    ("bytes==0-5", 416),
    ("bytes 0-5", 416),
    ("bytes:0-5", 416),
    ("bytes=0-0,", 416),
    ("bytes=,0-0", 416),
    ("bytes=,", 416),
    (f"bytes=0-{2**64}", 416),
    (f"bytes={2**64}-", 416),
    (f"bytes=-{2**64}", 416),
    (f"bytes=0-{'9' * 5000}", 416),
    # more than one
    ("bytes=0-1,3-4", 416),
    ("bytes=0-1 , 3-4", 416),
    ("bytes=0-0,0-0", 416),
    ("bytes=0-,-5", 416),
    ("bytes=0-1,a-b", 416),
    # not satisfiable
    ("bytes=1000-1000", 416),
    ("bytes=1000-", 416),
    (f"bytes={2**64 - 1}-", 416),
    # length and count of the header
    ("bytes=" + ",".join(["0-0"] * 1000), 416),
    ("bytes=" + ",".join(["0-0"] * 1001), 413),
    (f"bytes={'0' * (8192 - 8)}-9", part(0, 9)),
    (f"bytes={'0' * (8193 - 8)}-9", 413),
    ("x" * 8193, 413),
    # over the limit, never shortened
    ("bytes=0-100", 413),
    ("bytes=0-999", 413),
    ("bytes=0-99999", 413),
    ("bytes=899-1000", 413),
    ("bytes=900-1000", part(900, 999)),
    ("bytes=-101", 413),
    ("bytes=-1000", 413),
    ("bytes=-5000", 413),
]


def name(value: object) -> str | None:
    return value[:40] if isinstance(value, str) else None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("header", "expected"), RANGES, ids=name)
def test_ranges(ask: Ask, reply_to: ReplyTo, header: str, expected: tuple[int, int, int] | int, method: str) -> None:
    """A Range header gets what http.md §5 says: a part, the whole, or a refusal; HEAD what GET gets."""
    assert sent(reply_to(ask(headers={"Range": header}, method=method))) == expected


def test_no_range(ask: Ask, reply_to: ReplyTo) -> None:
    """Without a Range the whole image is sent, whatever its size."""
    assert sent(reply_to(ask())) == WHOLE
    assert sent(reply_to(ask(), size=20 * 2**30)) == (200, 0, 20 * 2**30)


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-5000"])
def test_ranges_of_an_empty_image(ask: Ask, reply_to: ReplyTo, header: str) -> None:
    """No range of an empty image can be satisfied; without a Range it is sent as it is."""
    reply = reply_to(ask(headers={"Range": header}), size=0)
    assert reply.status == 416
    assert ("Content-Range", "bytes */0") in reply.headers
    assert sent(reply_to(ask(), size=0)) == (200, 0, 0)


def test_short_image_and_long_suffix(ask: Ask, reply_to: ReplyTo) -> None:
    """A suffix longer than the image is all of it, and the limit is laid on what comes of it."""
    reply = reply_to(ask(headers={"Range": "bytes=-5000"}), size=100)
    assert sent(reply) == (206, 0, 100)
    assert ("Content-Range", "bytes 0-99/100") in reply.headers


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", 413),
        ("bytes=899-", 413),
        ("bytes=900-", part(900, 999)),
        ("bytes=1000-", 416),
        ("bytes=0-99", part(0, 99)),
        ("bytes=0-100", 413),
        (None, WHOLE),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_limited_tails(
    ask: Ask, reply_to: ReplyTo, header: str | None, expected: tuple[int, int, int] | int, method: str
) -> None:
    """With `--open-ended-ranges=limit` a tail is limited like any range; a plain request is not."""
    facts = ask(headers={} if header is None else {"Range": header}, method=method)
    assert sent(reply_to(facts, LIMITED_TAILS)) == expected


RANGE_STEPS = [
    ("bytes=" + "a-b," * 1001, 413),
    ("bytes=5000-1", 416),
    ("bytes=5000-6000", 416),
    ("bytes=0-500", 413),
]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        *RANGE_STEPS,
        ("bytes=" + "a-b," * 1001, 413),  # count before syntax
        ("bytes=a-b" + " " * 9000 + ",", 413),  # length before syntax
        ("items=" + "0" * 9000, 413),  # length before unit
        ("bytes=2000-1", 416),  # syntax before satisfiability
        ("bytes=1000-99999", 416),  # satisfiability before limit
    ],
    ids=name,
)
def test_order_within_the_range(ask: Ask, reply_to: ReplyTo, header: str, status: int) -> None:
    """Of the range the header's length and count come first, then syntax, satisfiability, and the limit last."""
    reply = reply_to(ask(headers={"Range": header}))
    assert reply.status == status
    assert ("Content-Range" in dict(reply.headers)) is (status == 416)


STRICT_CASES = [
    ({}, 416),
    ({"Range": "bytes=0-99"}, 206),
    ({"Range": "bytes=-5"}, 206),
    ({"Range": "bytes=950-"}, 206),
    ({"Range": "bytes=950-5000"}, 206),
    # no full body, ever
    ({"Range": ""}, 416),
    ({"Range": "bytes=a-b"}, 416),
    ({"Range": "bytes=-0"}, 416),
    ({"Range": "items=0-5"}, 416),
    ({"Range": "=0-5"}, 416),
    ({"Range": "bytes=1000-"}, 416),
    ({"Range": "bytes=0-1,3-4"}, 416),
    # too large, tails too
    ({"Range": "bytes=0-100"}, 413),
    ({"Range": "bytes=-101"}, 413),
    ({"Range": "bytes=0-"}, 413),
    ({"Range": "bytes=" + "0-0," * 1001}, 413),
    ({"Range": "bytes=" + "0" * 9000 + "-1"}, 413),
    # If-Range
    (ONE | {"If-Range": '"v1"'}, 206),
    (ONE | {"If-Range": EXACTLY}, 206),
    (ONE | {"If-Range": '"v0"'}, 412),
    (ONE | {"If-Range": 'W/"v1"'}, 412),
    (ONE | {"If-Range": AFTER}, 412),
    (ONE | {"If-Range": "whenever"}, 412),
    ({"Range": "bytes=0-", "If-Range": '"v0"'}, 412),
    ({"Range": "bytes=a-b", "If-Range": '"v0"'}, 416),
    ({"Range": "items=0-5", "If-Range": '"v0"'}, 416),
    ({"Range": "bytes=0-1,3-4", "If-Range": '"v0"'}, 416),
    ({"If-Range": '"v0"'}, 416),
    ({"If-Range": '"v1"'}, 416),
    # conditions come first, as ever
    ({"If-Match": '"v0"'}, 412),
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-Modified-Since": AFTER}, 304),
    (ONE | {"If-None-Match": '"v1"'}, 304),
]


@pytest.mark.parametrize(("headers", "status"), STRICT_CASES, ids=lambda value: repr(value)[:60])
def test_required_range(ask: Ask, reply_to: ReplyTo, headers: Headers, status: int) -> None:
    """With `--require-range` a GET gets a part or a refusal, never a full body."""
    assert reply_to(ask(headers=headers), STRICT).status == status


@pytest.mark.parametrize(("headers", "_status"), STRICT_CASES, ids=lambda value: repr(value)[:60])
def test_required_range_and_head(ask: Ask, reply_to: ReplyTo, headers: Headers, _status: int) -> None:
    """`--require-range` does not affect HEAD: it gets what it gets without."""
    facts = ask(headers=headers, method="HEAD")
    assert reply_to(facts, STRICT) == reply_to(facts, LIMITED)


def test_required_range_of_an_empty_image(ask: Ask, reply_to: ReplyTo) -> None:
    """With `--require-range` an empty image cannot be had by GET."""
    assert reply_to(ask(), STRICT, size=0).status == 416
    assert reply_to(ask(headers=ONE), STRICT, size=0).status == 416
