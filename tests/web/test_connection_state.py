"""The states of a connection: the table is complete, and whatever happens a connection comes to one end."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aero_storage.web.connection_state import (
    TRANSITIONS,
    ConnectionState,
    ConnectionStateError,
    Event,
    State,
)


def test_every_state_has_its_row() -> None:
    """No state is forgotten, and each can be reached from the first."""
    assert set(TRANSITIONS) == set(State)
    reached, todo = {State.IDLE}, [State.IDLE]
    while todo:
        for state in TRANSITIONS[todo.pop()].values():
            if state not in reached:
                reached.add(state)
                todo.append(state)
    assert reached == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_lost(state: State) -> None:
    """A connection may be reset or lost whatever it is doing."""
    assert TRANSITIONS[state][Event.ABORT] is TRANSITIONS[state][Event.LOST] is State.CLOSED


@pytest.mark.parametrize(
    ("state", "event"), [(state, event) for state in State for event in Event if event not in TRANSITIONS[state]]
)
def test_what_cannot_happen(state: State, event: Event) -> None:
    """An event without a place in the table is a defect, told by state and event, and changes nothing."""
    connection = ConnectionState(state)
    with pytest.raises(ConnectionStateError, match=f"^{event.name} in state {state.name}$"):
        connection.on(event)
    assert connection.state is state


@pytest.mark.parametrize("state", [State.LINGERING, State.CLOSED])
def test_no_way_back(state: State) -> None:
    """What is being closed answers nothing any more."""
    assert set(TRANSITIONS[state].values()) == {State.CLOSED}


class Connection(RuleBasedStateMachine):
    """A connection as its owner drives it: heads come, responses end, the daemon stops, the client goes."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = ConnectionState()
        self.heads = self.responses = self.counted = 0

    @precondition(lambda self: self.connection.takes_requests)
    @rule()
    def part_of_a_head(self) -> None:
        self.connection.on(Event.PART_OF_HEAD)
        assert self.connection.takes_requests

    @precondition(lambda self: self.connection.takes_requests)
    @rule(last=st.booleans(), body=st.booleans())
    def head(self, *, last: bool, body: bool) -> None:
        self.connection.body_unread = self.connection.body_unread or body
        self.connection.begin_response(last=last or body)
        self.heads += 1
        assert self.connection.is_answering

    @precondition(lambda self: self.connection.is_answering)
    @rule()
    def retire(self) -> None:
        unknown = self.connection.state is State.ANSWERING
        self.connection.retire()
        assert self.connection.state is State.LAST_RESPONSE
        assert self.connection.client_may_send or not unknown

    @precondition(lambda self: self.connection.is_answering)
    @rule()
    def response_sent(self) -> None:
        if self.connection.state is State.ANSWERING:
            self.connection.on(Event.RESPONSE_SENT)
        else:
            self.connection.begin_close(linger=self.connection.client_may_send)
        self.responses += 1

    @precondition(lambda self: self.connection.takes_requests)
    @rule(linger=st.booleans())
    def close(self, *, linger: bool) -> None:
        self.connection.begin_close(linger=linger)

    @precondition(lambda self: self.connection.is_ending)
    @rule()
    def input_is_thrown_away(self) -> None:
        self.counted += self.connection.count_unanswered()

    @rule(event=st.sampled_from([Event.ABORT, Event.LOST]))
    def goes(self, event: Event) -> None:
        self.connection.on(event)

    @invariant()
    def is_doing_one_thing(self) -> None:
        connection = self.connection
        assert [connection.takes_requests, connection.is_answering, connection.is_ending].count(True) == 1

    @invariant()
    def answers_one_at_a_time(self) -> None:
        assert self.connection.heads == self.heads
        assert self.heads - self.responses <= 1

    @invariant()
    def counts_once(self) -> None:
        assert self.counted <= 1


TestConnection = Connection.TestCase
