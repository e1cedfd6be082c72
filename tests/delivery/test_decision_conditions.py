"""Conditional requests for images as http.md §5 has them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs
import pytest

from aero_storage.http.conditional import Validators

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, ReplyTo

BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
EXACTLY = "Tue, 14 Nov 2023 22:13:20 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"
VALIDATORS = Validators('"v1"', 1_700_000_000_500_000_000)
WEAK = attrs.evolve(VALIDATORS, etag='W/"v1"')
UNDATED = attrs.evolve(VALIDATORS, last_modified=None)
ONE = {"Range": "bytes=0-0"}
RANGES = ("bytes=" + "a-b," * 1001, "bytes=5000-1", "bytes=5000-6000", "bytes=0-500")

Headers = dict[str, str]

CONDITIONS = [
    # If-Match, If-Unmodified-Since
    ({"If-Match": '"v1"'}, 200),
    ({"If-Match": '"v0", "v1"'}, 200),
    ({"If-Match": "*"}, 200),
    ({"If-Match": '"v0"'}, 412),
    ({"If-Match": 'W/"v1"'}, 412),
    ({"If-Match": "v1"}, 412),
    ({"If-Match": ""}, 412),
    ({"If-Match": '"v0,", ",v1"'}, 412),
    ({"If-Unmodified-Since": BEFORE}, 412),
    ({"If-Unmodified-Since": EXACTLY}, 200),
    ({"If-Unmodified-Since": AFTER}, 200),
    ({"If-Unmodified-Since": "yesterday"}, 200),
    ({"If-Match": '"v1"', "If-Unmodified-Since": BEFORE}, 200),
    ({"If-Match": '"v0"', "If-Unmodified-Since": AFTER}, 412),
    # If-None-Match, If-Modified-Since
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-None-Match": 'W/"v1"'}, 304),
    ({"If-None-Match": '"v0" ,W/"v1"'}, 304),
    ({"If-None-Match": '"a,b", "v1"'}, 304),
    ({"If-None-Match": "*"}, 304),
    ({"If-None-Match": '"v0"'}, 200),
    ({"If-None-Match": '"v0,"v1""'}, 200),
    ({"If-None-Match": "v1"}, 200),
    ({"If-None-Match": ""}, 200),
    ({"If-Modified-Since": BEFORE}, 200),
    ({"If-Modified-Since": EXACTLY}, 304),
    ({"If-Modified-Since": AFTER}, 304),
    ({"If-Modified-Since": "tomorrow"}, 200),
    ({"If-None-Match": '"v0"', "If-Modified-Since": AFTER}, 200),
    ({"If-None-Match": '"v1"', "If-Modified-Since": BEFORE}, 304),
    # both: the first pair comes first
    ({"If-Match": '"v0"', "If-None-Match": '"v1"'}, 412),
    ({"If-Match": '"v1"', "If-None-Match": '"v1"'}, 304),
    ({"If-Unmodified-Since": BEFORE, "If-Modified-Since": AFTER}, 412),
    ({"If-Unmodified-Since": BEFORE, "If-None-Match": '"v1"'}, 412),
    # If-Range
    (ONE | {"If-Range": '"v1"'}, 206),
    (ONE | {"If-Range": ' "v1" '}, 206),
    (ONE | {"If-Range": EXACTLY}, 206),
    (ONE | {"If-Range": 'W/"v1"'}, 200),
    (ONE | {"If-Range": '"v0"'}, 200),
    (ONE | {"If-Range": '"v0", "v1"'}, 200),
    (ONE | {"If-Range": "*"}, 200),
    (ONE | {"If-Range": BEFORE}, 200),
    (ONE | {"If-Range": AFTER}, 200),
    (ONE | {"If-Range": "whenever"}, 200),
    (ONE | {"If-Range": ""}, 200),
    ({"If-Range": '"v0"'}, 200),
    ({"If-Range": '"v1"'}, 200),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("headers", "status"), CONDITIONS, ids=repr)
def test_conditions(ask: Ask, reply_to: ReplyTo, headers: Headers, status: int, method: str) -> None:
    """Conditional headers get what http.md §5 says, on GET and HEAD alike."""
    assert reply_to(ask(headers=headers, method=method)).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": 'W/"v1"'}, 412),
        ({"If-Match": '"v1"'}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": '"v1"'}, 304),
        ({"If-None-Match": 'W/"v1"'}, 304),
        (ONE | {"If-Range": 'W/"v1"'}, 200),
        (ONE | {"If-Range": '"v1"'}, 200),
        (ONE | {"If-Range": EXACTLY}, 206),
    ],
    ids=repr,
)
def test_weak_tag(ask: Ask, reply_to: ReplyTo, headers: Headers, status: int) -> None:
    """An image whose catalog gives it a weak tag never matches strongly."""
    assert reply_to(ask(headers=headers), validators=WEAK).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Unmodified-Since": BEFORE}, 200),
        ({"If-Modified-Since": AFTER}, 200),
        (ONE | {"If-Range": EXACTLY}, 200),
        (ONE | {"If-Range": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        (ONE | {"If-Range": '"v1"'}, 206),
    ],
    ids=repr,
)
def test_no_date(ask: Ask, reply_to: ReplyTo, headers: Headers, status: int) -> None:
    """Where there is no last-modified, dates are ignored, and an If-Range date does not hold."""
    reply = reply_to(ask(headers=headers), validators=UNDATED)
    assert reply.status == status
    assert "Last-Modified" not in dict(reply.headers)


def test_epoch_is_a_date(ask: Ask, reply_to: ReplyTo) -> None:
    """The epoch itself is a date like any other."""
    epoch = attrs.evolve(VALIDATORS, last_modified=0)
    reply = reply_to(ask(headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}), validators=epoch)
    assert reply.status == 304
    assert dict(reply.headers)["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"


TO_COME = attrs.evolve(VALIDATORS, last_modified=1_700_000_101_000_000_000)
LATE = "Tue, 14 Nov 2023 22:15:01 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"If-Unmodified-Since": BEFORE}, 200),
        ({"If-Modified-Since": LATE}, 200),
        (ONE | {"If-Range": LATE}, 200),
        (ONE | {"If-Range": '"v1"'}, 206),
        ({"If-None-Match": '"v1"'}, 304),
    ],
    ids=repr,
)
def test_date_to_come(ask: Ask, reply_to: ReplyTo, headers: Headers, status: int) -> None:
    """A last modification later than `Date` is not sent, and takes part in no condition."""
    reply = reply_to(ask(headers=headers), validators=TO_COME)
    assert reply.status == status
    assert "Last-Modified" not in dict(reply.headers)


@pytest.mark.parametrize(("second", "status"), [(100, 200), (99, 206)])
def test_young_date_in_if_range(ask: Ask, reply_to: ReplyTo, second: int, status: int) -> None:
    """A date in `If-Range` holds only if it is at least one second before the `Date` of the response."""
    young = attrs.evolve(VALIDATORS, last_modified=(1_700_000_000 + second) * 10**9)
    date = f"Tue, 14 Nov 2023 22:14:{second - 40} GMT" if second < 100 else "Tue, 14 Nov 2023 22:15:00 GMT"
    reply = reply_to(ask(headers=ONE | {"If-Range": date}), validators=young)
    assert (reply.status, dict(reply.headers)["Last-Modified"]) == (status, date)


# Each step of the order, with what makes a request end there. If-Range alone ends nothing: it takes the Range away.
STEPS = [
    ({"If-Match": '"v0"'}, 412),
    ({"If-None-Match": '"v1"'}, 304),
    ({"If-Range": '"v0"'}, 200),
]


@pytest.mark.parametrize("earlier", range(len(STEPS)))
def test_order_of_conditions(ask: Ask, reply_to: ReplyTo, earlier: int) -> None:
    """Where several conditions would decide, the earliest of the order of http.md does, with or without a range."""
    chosen, status = STEPS[earlier]
    later = [headers for headers, _ in STEPS[earlier + 1 :]]
    for count in range(len(later) + 1):
        for others in itertools.combinations(later, count):
            for header in (None, "bytes=0-0", *RANGES):
                headers = dict(chosen, **{key: value for other in others for key, value in other.items()})
                if header is not None:
                    headers["Range"] = header
                assert reply_to(ask(headers=headers)).status == status
