"""A head that differs from the last one in its range alone is answered without a look for its plan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.request_head import range_place, split_varying
from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.web.fast_responses import FastClient, FastConnection, FastResponses
from aero_storage.web.response_plans import Around, PlannedRequest, ResponsePlan

HEAD = b"GET /v1/images/disk HTTP/1.1\r\nHost: h\r\nRange: bytes=%b\r\nAccept: */*\r\n\r\n"
USUAL = HEAD % b"0-511"


@attrs.define(eq=False)
class Answers:
    """Answers ranges, or leaves them to the ordinary way."""

    able: bool = True
    asked: list[tuple[object, int, int]] = attrs.field(factory=list)

    def respond(self, plan: ResponsePlan, first: int, last: int, _connection: FastConnection) -> bool:
        """Note what is asked for."""
        self.asked.append((plan, first, last))
        return self.able


def plan_of(*, persistent: bool = True) -> ResponsePlan:
    """Return a plan, as far as a connection looks at it."""
    return cast("ResponsePlan", SimpleNamespace(persistent=persistent, around=Around()))


def planned_of(plan: ResponsePlan, data: bytes) -> PlannedRequest:
    """Return what would be found for a head."""
    return (plan, *split_varying(data)[1:])


def connection_of(answers: Answers) -> FastConnection:
    """Return a connection from an address."""
    client = cast("FastClient", SimpleNamespace(peer="192.0.2.1"))
    return FastConnection(cast("FastResponses", answers), client, cast("SendfileServer", None))


def taught(answers: Answers, plan: ResponsePlan, data: bytes = USUAL) -> FastConnection:
    """Return a connection that has asked twice with one plan."""
    connection = connection_of(answers)
    for _ in range(2):
        assert connection.respond(planned_of(plan, data), data)
    answers.asked.clear()
    return connection


def test_the_third_in_a_row_needs_no_plan() -> None:
    """The first has a plan, and the second shows that they follow each other."""
    answers, plan = Answers(), plan_of()
    connection = connection_of(answers)
    for positions in (b"0-9", b"1-10"):
        data = HEAD % positions
        assert not connection.repeat(data)
        assert connection.respond(planned_of(plan, data), data)
    assert connection.repeat(HEAD % b"4096-8191")
    assert answers.asked == [(plan, 0, 9), (plan, 1, 10), (plan, 4096, 8191)]
    assert connection.peer == '"192.0.2.1"'


def test_another_plan_is_learned_anew() -> None:
    """A client that reads two images in turns has each of its requests looked up."""
    answers, one, two = Answers(), plan_of(), plan_of()
    connection = taught(answers, one)
    other = USUAL.replace(b"disk", b"other")
    assert not connection.repeat(other)
    assert connection.respond(planned_of(two, other), other)
    assert not connection.repeat(USUAL)
    assert not connection.repeat(other)


@pytest.mark.parametrize(
    "positions",
    [
        *(b"", b"-", b"5-", b"-5", b"0-1,3-4", b"a-5", b"0-0x5", b"+1-5", b"1_0-20", b" 1-5", b"1-5 ", b"1--5"),
        *(b"\xb2-5", b"1" * 19 + b"-5", b"0-" + b"1" * 19),
        *(b"0-5\r\nRange: bytes=7-9", b"0-5\r\nX-Request-Id: a"),
    ],
)
def test_all_else_is_looked_up(positions: bytes) -> None:
    """What stands in place of two positions is read by the grammar."""
    answers = Answers()
    connection = taught(answers, plan_of())
    assert not connection.repeat(HEAD % positions)
    assert answers.asked == []


@pytest.mark.parametrize("data", [b"", USUAL[:-1], USUAL + b"\r\n", USUAL + USUAL, HEAD[:40], b"\n", b"\r\n\r\n"])
def test_a_part_of_a_head_and_two_heads_are_no_head(data: bytes) -> None:
    """The bytes around the positions are the same to the last one."""
    connection = taught(Answers(), plan_of())
    assert not connection.repeat(data)
    assert not connection_of(Answers()).repeat(data)


def test_what_cannot_be_answered_fast_goes_the_ordinary_way() -> None:
    """The connection does not learn from it, and does not forget either."""
    answers, plan = Answers(able=False), plan_of()
    connection = connection_of(answers)
    for _ in range(3):
        assert not connection.respond(planned_of(plan, USUAL), USUAL)
    answers.able = True
    assert not connection.repeat(USUAL)
    connection = taught(answers, plan)
    answers.able = False
    assert not connection.repeat(USUAL)
    answers.able = True
    assert connection.repeat(USUAL)


@pytest.mark.parametrize(
    ("data", "persistent"),
    [
        (USUAL, False),
        (USUAL.replace(b"Accept: */*", b"X-Request-Id: mine"), True),
        (USUAL.replace(b"bytes=0-511", b"bytes=0-"), True),
        (b"GET /v1/images/disk HTTP/1.1\r\nHost: h\r\n\r\n", True),
    ],
)
def test_requests_that_are_not_for_two_positions_alone(data: bytes, *, persistent: bool) -> None:
    """A connection that ends, an id of the client, a range without an end, and none."""
    answers, plan = Answers(), plan_of(persistent=persistent)
    assert not connection_of(answers).respond(planned_of(plan, data), data)
    assert answers.asked == []


def test_a_range_in_the_query_is_looked_up() -> None:
    """It differs from request to request, before the field."""
    data = USUAL.replace(b"/disk ", b"/disk?0-511 ")
    assert range_place(data) is None
    connection = taught(Answers(), plan_of(), data)
    assert not connection.repeat(data)


_PIECES = st.sampled_from([
    *(b"GET /v1/images/disk HTTP/1.1\r\n", b"GET /v1/images/disk?a=b HTTP/1.1\r\n", b"GET /d?1-2 HTTP/1.1\r\n"),
    *(b"Host: h\r\n", b"Range: bytes=0-511\r\n", b"range: bytes=5-6\r\n", b"Range: bytes=77-", b"88\r\n"),
    *(b"X-Range: bytes=1-2\r\n", b"Range: bytes=1-2 \r\n"),
    *(b"X-Request-Id: a\r\n", b"x-request-id: bytes=0-5\r\n", b"\r\n", b" ", b"0", b"-", b"\r\nRange: bytes=3-4"),
])  # fmt: skip
_HEADS = st.lists(_PIECES, max_size=9).map(b"".join)


@given(_HEADS, st.tuples(st.binary(max_size=3), _HEADS) | st.from_regex(rb"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True))
def test_what_is_repeated_has_the_same_key(head: bytes, change: tuple[bytes, bytes] | bytes) -> None:
    """Whatever heads are like: one that is answered as a repetition would have had the plan of the first."""
    place = range_place(head)
    if place is None:
        return
    second = head[: place.start] + change + head[place.stop :] if isinstance(change, bytes) else b"".join(change)
    answers, plan = Answers(), plan_of()
    connection = taught(answers, plan, head)
    if connection.repeat(second):
        key, wanted, request_id = split_varying(second)
        assert key == split_varying(head)[0]
        assert request_id is None
        assert wanted is not None
        assert answers.asked == [(plan, *map(int, wanted.removeprefix("bytes=").split("-")))]
