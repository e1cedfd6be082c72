"""The limit on bodies that wait: what is counted, who is closed, in which order, and that each leaves once."""

from __future__ import annotations

import attrs
import pytest

from aero_storage.streaming.waiting_bodies import WaitingBodies, WaitingBody

LIST, METRICS = bytes(1000), bytes(300)


@attrs.define(eq=False)
class Clients:
    """Clients by name, each with a body that waits; who was closed, in order, and how often that was reported."""

    bodies: WaitingBodies
    closed: list[str] = attrs.field(factory=list)
    waiting: dict[str, WaitingBody] = attrs.field(factory=dict)

    def add(self, name: str, body: bytes, copied: int = 0) -> None:
        self.waiting[name] = self.bodies.add(body, copied, lambda: self.closed.append(name))


def make(limit: int) -> tuple[Clients, list[None]]:
    reports: list[None] = []
    return Clients(WaitingBodies(limit, lambda: reports.append(None))), reports


def own(size: int) -> bytes:
    """A body that nobody shares."""
    return bytes(bytearray(size))


def test_a_shared_body_counts_once() -> None:
    """Many clients that wait for one object hold its bytes once, until the last of them leaves."""
    clients, _ = make(2000)
    for number in range(600):
        clients.add(str(number), LIST)
    assert (clients.bodies.held, clients.closed) == (1000, [])
    for number in range(599):
        clients.waiting[str(number)].leave()
    assert clients.bodies.held == 1000
    clients.waiting["599"].leave()
    assert clients.bodies.held == 0


def test_equal_bodies_count_each() -> None:
    """Two objects are two copies in memory, whatever is in them."""
    clients, _ = make(0)
    clients.add("a", own(500))
    clients.add("b", own(500))
    assert clients.bodies.held == 1000


def test_copied_pieces_count_for_each_client() -> None:
    """A connection that cannot share holds a piece for itself beside the shared body."""
    clients, _ = make(2000)
    for name in "abc":
        clients.add(name, LIST, 32)
    assert clients.bodies.held == 1000 + 3 * 32
    clients.waiting["a"].leave()
    assert clients.bodies.held == 1000 + 2 * 32


def test_the_longest_wait_is_closed() -> None:
    """Over the limit connections are closed in the order of their waits, no more of them than it takes."""
    clients, reports = make(1000)
    for name in "abcd":
        clients.add(name, own(250))
    assert clients.closed == []
    clients.add("e", own(500))
    assert clients.closed == ["a", "b"]
    assert len(reports) == 2
    assert clients.bodies.held == 1000


def test_a_byte_taken_begins_a_new_wait() -> None:
    """A client that reads, however slowly, is behind all that have not read since."""
    clients, _ = make(1000)
    for name in "abcd":
        clients.add(name, own(250))
    clients.waiting["a"].taken()
    clients.waiting["b"].taken()
    clients.add("e", own(750))
    assert clients.closed == ["c", "d", "a"]


def test_sharers_are_closed_until_it_fits() -> None:
    """To close one of many that share a body frees nothing: the next ones go too, in order."""
    clients, _ = make(1000)
    for name in "abc":
        clients.add(name, LIST)
    clients.add("d", METRICS)
    assert clients.closed == ["a", "b", "c"]
    assert clients.bodies.held == 300


def test_the_last_one_is_never_closed() -> None:
    """A body that is over the limit by itself can be sent; the next object takes its place."""
    clients, reports = make(100)
    clients.add("a", LIST)
    assert clients.closed == reports == []
    clients.add("b", own(1000))
    assert clients.closed == ["a"]
    assert clients.bodies.held == 1000


def test_no_limit() -> None:
    """With 0 nobody is closed, and all is still counted."""
    clients, reports = make(0)
    for number in range(100):
        clients.add(str(number), own(1_000_000))
    assert clients.closed == reports == []
    assert clients.bodies.held == 100_000_000


@pytest.mark.parametrize("end", ["leave", "close"])
def test_each_leaves_once(end: str) -> None:
    """A client that has left or was closed leaves again, or has a byte taken, without any effect."""
    clients, _ = make(1000)
    clients.add("a", own(600))
    if end == "leave":
        clients.waiting["a"].leave()
        clients.add("b", own(600))
    else:
        clients.add("b", own(600))
        assert clients.closed == ["a"]
    assert clients.bodies.held == 600
    clients.waiting["a"].taken()
    clients.waiting["a"].leave()
    assert clients.bodies.held == 600
    clients.add("c", own(600))
    assert clients.closed[-1] == "b"


def test_closing_leaves_first() -> None:
    """A connection that is closed may tell of its end at once: it counts no more by then."""
    held: list[int] = []
    bodies = WaitingBodies(1000, lambda: None)

    def close() -> None:
        first.leave()
        held.append(bodies.held)

    first = bodies.add(own(600), 0, close)
    bodies.add(own(600), 0, lambda: held.append(-1))
    assert held == [600]


def test_who_shares_makes_no_room() -> None:
    """One more client of a body that is over the limit by itself takes no memory: nobody is closed for it."""
    clients, reports = make(500)
    for name in "abcd":
        clients.add(name, LIST)
    assert (clients.bodies.held, clients.closed, reports) == (1000, [], [])
