"""Hands the listening sockets of a worker that does not accept to those that do.

Each worker has TCP sockets of its own (SO_REUSEPORT). The kernel gives a socket its share of new connections whether
or not a process accepts there. So while a worker is dead, starts again or is stuck, all others accept at its sockets
too. Where no such worker is left, its sockets are withdrawn: clients are refused, rather than left waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import attrs
from typing_extensions import override


class Accepting(Protocol):
    """A worker that accepts connections."""

    def take_over(self, number: int) -> None:
        """Have it accept at the sockets of worker `number` too."""
        ...

    def give_back(self, number: int) -> None:
        """Have it leave the sockets of worker `number`."""
        ...


class OwnSockets(Protocol):
    """The sockets that each worker has to itself; those that all workers share are never withdrawn."""

    def withdraw(self, number: int) -> None:
        """Take the sockets of a worker out of their SO_REUSEPORT groups; connections that wait in them are reset."""
        ...

    def restore(self, number: int) -> None:
        """Put the sockets of a worker back."""
        ...


class NoOwnSockets(OwnSockets):
    """All sockets are shared."""

    @override
    def withdraw(self, number: int) -> None: ...

    @override
    def restore(self, number: int) -> None: ...


@attrs.define(eq=False)
class _Place:
    """The sockets of one worker number."""

    worker: Accepting | None = None
    """The worker, from the time that it is ready until it ends or begins to stop."""
    is_paused: bool = False
    is_away: bool = False
    """Its worker has ended, or begun to stop, and the next one is not ready yet."""
    is_waiting: bool = False
    """No worker is started for a while."""
    is_withdrawn: bool = False
    taken_by: list[Accepting] = attrs.field(factory=list)

    @property
    def needs_others(self) -> bool:
        return self.is_away or self.is_paused


@attrs.define(eq=False)
class Handover:
    """Sees to it that a worker accepts at every socket."""

    _sockets: OwnSockets
    _places: dict[int, _Place] = attrs.field(init=False, factory=dict)

    def starting(self, number: int) -> None:
        """A worker is about to be started: it needs its sockets."""
        place = self._places.setdefault(number, _Place())
        place.is_waiting = False
        self._restore(number, place)

    def ready(self, number: int, worker: Accepting) -> None:
        """A worker accepts."""
        place = self._places[number]
        place.worker, place.is_away = worker, False
        self._arrange()

    def pause(self, number: int, is_paused: bool) -> None:  # noqa: FBT001
        """A worker is silent, or is heard again."""
        self._places[number].is_paused = is_paused
        self._arrange()

    def leave(self, number: int) -> None:
        """A worker has ended, or has begun to stop."""
        place = self._places[number]
        worker, place.worker, place.is_away, place.is_paused = place.worker, None, True, False
        for other in self._places.values():
            if worker in other.taken_by:
                other.taken_by.remove(worker)
        self._arrange()

    def wait(self, number: int) -> None:
        """A worker has ended, and no other is started for a while."""
        self._places[number].is_waiting = True
        self._arrange()

    def _others(self, number: int) -> Iterator[Accepting]:
        """The workers that can accept at the sockets of a worker; a silent one cannot until it is heard again."""
        for other, place in self._places.items():
            if other != number and place.worker is not None and not place.is_paused:
                yield place.worker

    def _arrange(self) -> None:
        for number, place in self._places.items():
            if place.needs_others:
                self._hand_out(number, place)
            else:
                for worker in place.taken_by:
                    worker.give_back(number)
                place.taken_by.clear()

    def _hand_out(self, number: int, place: _Place) -> None:
        for worker in self._others(number):
            if worker not in place.taken_by:
                self._restore(number, place)
                place.taken_by.append(worker)
                worker.take_over(number)
        if place.is_waiting and not place.taken_by and not place.is_withdrawn:
            place.is_withdrawn = True
            self._sockets.withdraw(number)

    def _restore(self, number: int, place: _Place) -> None:
        if place.is_withdrawn:
            place.is_withdrawn = False
            self._sockets.restore(number)
