"""Reads request heads from a connection, and has them answered, a few in each turn of the reactor.

After TURN_REQUESTS, or when the time of all connections for this turn is over (`request_turns`), a connection goes to
the back of the line. Requests that are pipelined behind a response which had to wait have a turn of their own, too.
"""

from __future__ import annotations

from typing import Any, Protocol

import attrs
from typing_extensions import override

from aero_storage.http.first_byte import foreign_protocol
from aero_storage.http.head_reader import HeadReader
from aero_storage.http.request_head import Refusal, RequestHead, read_strict_head
from aero_storage.web.connection_state import ConnectionState, Event, State
from aero_storage.web.request_turns import PipeliningConnection, RequestTurns
from aero_storage.web.response_plans import FindPlan, PlannedRequest

TURN_REQUESTS = 16

_MAX_READ_AHEAD = 16 * 1024
"""Bytes that are read behind the request that is being answered."""


class Answering(Protocol):
    """A connection, as far as its requests go."""

    transport: Any
    find_plan: FindPlan
    is_secure: bool

    def turn_away(self, protocol: str) -> None:
        """Close without an answer: the first byte can begin no request."""
        ...

    def answer(self, planned: PlannedRequest) -> None:
        """Answer a request whose head is known."""
        ...

    def answer_head(self, head: RequestHead, raw: bytes) -> None:
        """Answer any other request."""
        ...

    def refuse(self, refusal: Refusal) -> None:
        """Answer a head that cannot be read."""
        ...

    def input_answered(self) -> None:
        """All that came has been answered, as far as it was complete."""
        ...


@attrs.define(eq=False)
class RequestReader(PipeliningConnection):
    """Reads the heads of one connection, whose `state` says whether the next request may be answered."""

    _connection: Answering
    _state: ConnectionState
    _turns: RequestTurns
    has_input: bool = attrs.field(init=False, default=False)
    """Whether anything may have come that is not answered."""
    has_discarded: bool = attrs.field(init=False, default=False)
    """Whether anything came behind the last request."""
    _heads: HeadReader = attrs.field(init=False, factory=HeadReader)
    waits_for_turn: bool = attrs.field(init=False, default=False)
    """Whether requests have come that are answered in a later turn."""
    _reading: bool = attrs.field(init=False, default=False)
    _paused: bool = attrs.field(init=False, default=False)

    @property
    def begun(self) -> bool:
        """Whether anything of a next request has come."""
        return self._heads.begun

    def receive(self, data: bytes) -> None:
        """Answer what has come, or keep it, if another request is being answered; behind the last throw it away."""
        if self._state.state is State.LAST_RESPONSE:
            self.has_discarded = True
            return
        if not self.has_input and self._state.state is State.IDLE and self._answer_alone(data):
            return
        if not (self.has_input or self._state.heads or self._begins_http(data)):
            return
        self.has_input = True
        self._heads.receive(data)
        if not self.waits_for_turn and self._state.takes_requests:
            self._read()
        elif len(self._heads) > _MAX_READ_AHEAD and not self._paused:
            self._paused = True
            self._connection.transport.pauseProducing()

    def _answer_alone(self, data: bytes) -> bool:
        """Answer one request in the strict grammar that has come alone and whole, as most do; False if it has not."""
        head = read_strict_head(data)
        if head is None:
            return False
        self._reading = True
        self._connection.answer_head(head, data)
        self._reading = False
        if self._state.takes_requests:
            self._connection.input_answered()
        return True

    def _begins_http(self, data: bytes) -> bool:
        """Whether a connection begins with these bytes as HTTP does; behind a PROXY header alone there are none."""
        if not data:
            return False
        protocol = foreign_protocol(data[0], secure=self._connection.is_secure)
        if protocol is not None:
            self._connection.turn_away(protocol)
        return protocol is None

    def response_sent(self) -> None:
        """Go on behind a response."""
        if not self._reading and (self.has_input or self._paused or self._state.input_ended):
            self._go_on(more=self.has_input)

    def stop(self) -> None:
        """Answer no more."""
        self.waits_for_turn = False

    @override
    def take_turn(self) -> None:
        if self.waits_for_turn:
            self.waits_for_turn = False
            self._read()

    def _read(self) -> None:
        """Answer as much as one turn of the reactor allows."""
        self._reading = True
        start, left = self._turns.now(), 0 if self._turns.is_over and self._heads.has_several else TURN_REQUESTS
        while left and self._state.takes_requests and self._read_head():
            left = left - 1 if self._heads.is_fresh or self._turns.has_time(start) else 0
        self._reading = False
        self.has_input = not self._heads.is_fresh
        if self._state.takes_requests:
            self._go_on(more=not left and self.has_input)

    def _go_on(self, *, more: bool) -> None:
        """Answer what has come in the next turn of the reactor, or wait for more to come."""
        if more:
            self.waits_for_turn = True
            self._turns.wait(self)
        else:
            self._connection.input_answered()
        if self._paused and len(self._heads) <= _MAX_READ_AHEAD:
            self._paused = False
            self._connection.transport.resumeProducing()

    def _read_head(self) -> bool:
        """Begin to answer the next head; false if it is not complete."""
        raw = self._heads.peek()
        planned = self._connection.find_plan(raw) if raw else None
        if planned is not None:
            self._heads.take(len(raw))
            self._connection.answer(planned)
            return True
        head = self._heads.next()
        if head is None:
            if self._heads.begun:
                self._state.on(Event.PART_OF_HEAD)
        elif isinstance(head, Refusal):
            self._connection.refuse(head)
        else:
            self._connection.answer_head(head, raw)
        return head is not None
