"""The states of an HTTP/1.1 connection, and all that changes them: one table, no sockets (RFC 9112 §9).

A connection answers one request at a time. It ends at once, or by way of LINGERING, in which it throws away what the
client may still be sending: a close with unread input would make the kernel reset the connection, and our last
response could be lost (RFC 9112 §9.6).
"""

from __future__ import annotations

import enum

import attrs


class State(enum.Enum):
    """A state of a connection."""

    __hash__ = object.__hash__  # Enum's own is written in Python, and takes 0.2 µs

    IDLE = "no response is under way, and nothing of a next request has come"
    READING = "a part of a request head has come"
    ANSWERING = "a response is under way; the connection stays open after it"
    LAST_RESPONSE = "a response is under way; the connection ends after it"
    LINGERING = "our half is closed, or is being closed; what comes is thrown away"
    CLOSED = "the connection is closed, reset or lost"


class Event(enum.Enum):
    """An event in the life of a connection."""

    __hash__ = object.__hash__

    PART_OF_HEAD = "a part of a head has come"
    HEAD = "a head is complete"
    LAST_HEAD = "a head is complete, and its connection ends with its response"
    RETIRE = "the response under way is to be the last"
    RESPONSE_SENT = "the kernel has the last byte of the response"
    LINGER = "we end the connection, and the client may still be sending"
    CLOSE = "we end the connection, and the client has nothing to send"
    ABORT = "we reset the connection"
    LOST = "the connection is lost"


class ConnectionStateError(RuntimeError):
    """An event that cannot happen in a state: a defect of ours."""


_ANY_TIME: dict[Event, State] = {Event.ABORT: State.CLOSED, Event.LOST: State.CLOSED}
_BETWEEN_REQUESTS: dict[Event, State] = {
    Event.PART_OF_HEAD: State.READING,
    Event.HEAD: State.ANSWERING,
    Event.LAST_HEAD: State.LAST_RESPONSE,
    Event.LINGER: State.LINGERING,
    Event.CLOSE: State.CLOSED,
    **_ANY_TIME,
}
TRANSITIONS: dict[State, dict[Event, State]] = {
    State.IDLE: _BETWEEN_REQUESTS,
    State.READING: _BETWEEN_REQUESTS,
    State.ANSWERING: {
        Event.RESPONSE_SENT: State.IDLE,
        Event.RETIRE: State.LAST_RESPONSE,
        **_ANY_TIME,
    },
    State.LAST_RESPONSE: {
        Event.RETIRE: State.LAST_RESPONSE,
        Event.LINGER: State.LINGERING,
        Event.CLOSE: State.CLOSED,
        **_ANY_TIME,
    },
    State.LINGERING: _ANY_TIME,
    State.CLOSED: _ANY_TIME,
}
"""By state, what each possible event leads to. The last response does not end by RESPONSE_SENT, but by the close."""


@attrs.define(eq=False)
class ConnectionState:
    """The state of one connection, and what decides how it ends."""

    state: State = State.IDLE
    heads: int = 0
    """Request heads that were complete, or refused."""
    input_ended: bool = False
    """Whether the client has closed its half."""
    body_unread: bool = False
    """Whether the client may be sending a body, or what else follows a head that was refused."""
    close_unannounced: bool = False
    """Whether we end the connection and the client could not know it in time: it may be sending more requests."""

    def on(self, event: Event) -> None:
        """Take the step of an event. Raises ConnectionStateError if it cannot happen now."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            raise ConnectionStateError(f"{event.name} in state {self.state.name}")
        self.state = state

    @property
    def takes_requests(self) -> bool:
        """Whether the next request may be answered now."""
        return self.state is State.IDLE or self.state is State.READING

    @property
    def is_answering(self) -> bool:
        """Whether a response is under way."""
        return self.state is State.ANSWERING or self.state is State.LAST_RESPONSE

    @property
    def is_ending(self) -> bool:
        """Whether nothing that comes is read any more."""
        return self.state is State.LINGERING or self.state is State.CLOSED

    def begin_response(self, *, last: bool) -> None:
        """A head was read, or refused; `last`: the connection ends with the response."""
        self.heads += 1
        self.on(Event.LAST_HEAD if last else Event.HEAD)

    def end_input(self) -> None:
        """The client has closed its half."""
        self.input_ended = True

    def expect_body(self) -> None:
        """The client may be sending a body, or the rest of a head that is refused: it will not be read."""
        self.body_unread = True

    def retire(self) -> None:
        """Make the response under way the last one, for reasons that the client does not know yet."""
        self.close_unannounced = self.close_unannounced or self.state is State.ANSWERING
        self.on(Event.RETIRE)

    def begin_close(self, *, linger: bool) -> None:
        """End the connection; `linger`: first throw away what the client may still be sending."""
        self.on(Event.LINGER if linger else Event.CLOSE)

    @property
    def client_may_send(self) -> bool:
        """Whether the client may be sending, as it has a body to send or has not heard that we close."""
        return self.body_unread or self.close_unannounced

    def count_unanswered(self) -> bool:
        """Whether input that is thrown away now is to be counted: once, and only if the client could not know."""
        counted, self.close_unannounced = self.close_unannounced, False
        return counted
