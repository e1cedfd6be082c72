"""Reads of our connections are called at once; all else goes the way of Twisted."""

from __future__ import annotations

import errno
import select

import attrs
import pytest
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from aero_storage.service.direct_reads import DirectReads, read_directly
from aero_storage.streaming.receive_buffer import SharedReceiveBuffer

IN, OUT, HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP


class Ours(SharedReceiveBuffer):
    """A connection whose reads end in a given way."""

    def __init__(self, outcome: object = None) -> None:
        self.outcome, self.reads = outcome, 0

    def doRead(self) -> object:  # type: ignore[override]
        self.reads += 1
        if isinstance(self.outcome, Exception) and self.outcome is not CONNECTION_DONE:
            raise self.outcome
        return self.outcome


@attrs.define
class FakePoller:
    """Says once what has happened."""

    events: list[tuple[int, int]] | OSError
    asked: list[tuple[float, int]] = attrs.field(factory=list)

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        self.asked.append((timeout, most))
        if isinstance(self.events, OSError):
            raise self.events
        return self.events


class FakeReactor:
    """The parts of an epoll reactor that are used, and what was asked of them."""

    def __init__(self, selectables: dict[int, object], events: list[tuple[int, int]] | OSError) -> None:
        self._selectables, self._poller = selectables, FakePoller(events)
        self.handled: list[tuple[object, int, int]] = []
        self.lost: list[tuple[object, object, bool]] = []
        self.defect: Exception | None = None
        """Raised when a connection is told of its end."""

    def _doReadOrWrite(self, selectable: object, descriptor: int, event: int) -> None:
        self.handled.append((selectable, descriptor, event))

    def _disconnectSelectable(self, selectable: object, why: object, is_read: bool) -> None:  # noqa: FBT001
        self.lost.append((selectable, why, is_read))
        if self.defect is not None:
            raise self.defect

    @property
    def asked(self) -> list[tuple[float, int]]:
        return self._poller.asked


def test_a_connection_of_ours_is_read_at_once() -> None:
    """Nothing of Twisted's is called for it; a descriptor that was closed in this turn is passed over."""
    ours = Ours()
    reactor = FakeReactor({5: ours}, [(5, IN), (6, IN)])
    DirectReads(reactor).poll(1.5)
    assert (ours.reads, reactor.handled, reactor.lost, reactor.asked) == (1, [], [], [(1.5, 1)])


@pytest.mark.parametrize("event", [OUT, IN | OUT, HUP, IN | HUP])
def test_all_else_goes_the_way_of_twisted(event: int) -> None:
    """Other events of ours, and reads of others."""
    ours, other = Ours(), object()
    reactor = FakeReactor({5: ours, 6: other}, [(5, event), (6, IN)])
    DirectReads(reactor).poll(None)
    assert reactor.handled == [(ours, 5, event), (other, 6, IN)]
    assert (ours.reads, reactor.asked) == (0, [(-1, 2)])


def test_the_end_of_a_connection_is_told() -> None:
    """A read that says so ends its connection as a read."""
    ours = Ours(CONNECTION_DONE)
    reactor = FakeReactor({5: ours}, [(5, IN)])
    DirectReads(reactor).poll(0)
    assert reactor.lost == [(ours, CONNECTION_DONE, True)]


def test_a_defect_ends_its_connection_alone() -> None:
    """The next connection is read."""
    defect = ValueError("a defect")
    broken, sound = Ours(defect), Ours()
    reactor = FakeReactor({5: broken, 6: sound}, [(5, IN), (6, IN)])
    DirectReads(reactor).poll(0)
    assert reactor.lost == [(broken, defect, True)]
    assert sound.reads == 1


def test_a_defect_at_the_end_of_a_connection_is_its_own() -> None:
    """The next connection is read."""
    ended, sound = Ours(CONNECTION_DONE), Ours()
    reactor = FakeReactor({5: ended, 6: sound}, [(5, IN), (6, IN)])
    reactor.defect = ValueError("a defect")
    DirectReads(reactor).poll(0)
    assert reactor.lost == [(ended, CONNECTION_DONE, True)]
    assert sound.reads == 1


def test_a_signal_ends_the_wait() -> None:
    """As in Twisted, the loop goes on; any other error is raised."""
    DirectReads(FakeReactor({}, OSError(errno.EINTR, "a signal"))).poll(None)
    with pytest.raises(OSError, match="bad"):
        DirectReads(FakeReactor({}, OSError(errno.EBADF, "bad"))).poll(None)


def test_other_reactors_are_left_alone() -> None:
    """A clock, and a reactor that does not use epoll."""
    read_directly(Clock())
    reactor = SelectReactor.__new__(SelectReactor)
    read_directly(reactor)
    assert "doIteration" not in vars(reactor)
