"""All clients of the soak at once, for some seconds, while somebody looks at the daemon once a second."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import attrs
from bench.soak_clients import Client

from torture.soak.habits import WELL_MEANT
from torture.soak.mischief import ILL_MEANT
from torture.soak.seat import Pace, Place, Seat

_MIXED, _MIXED_SECONDS = (4, 2), 0.04
"""Clients of the other soak by TCP and by TLS, and the seconds between two of their acts."""
_LEAVE_SECONDS = 60.0
_TICK_SECONDS = 1.0


@attrs.define(eq=False)
class Crowd:
    """Everybody who comes to a place; `look` is called once a second of load, and says whether to go on."""

    place: Place
    pace: Pace
    seed: str
    look: Callable[[float], bool]
    acts: Counter[str] = attrs.field(factory=Counter)
    spent: float = 0.0
    """Seconds of load so far."""

    def come(self, seconds: float) -> None:
        """Let all clients act for so long, then see them off."""
        over, tally = threading.Event(), self.place.tally
        tally.left = sys.maxsize
        threads = [threading.Thread(target=run, daemon=True) for run in self._runs(over)]
        for thread in threads:
            thread.start()
        self._watch(seconds)
        over.set()
        tally.stop()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        if hanging := sum(thread.is_alive() for thread in threads):
            tally.fault(f"{hanging} clients still wait for the daemon {_LEAVE_SECONDS:g} s after the end")

    def _watch(self, seconds: float) -> None:
        start, before = time.monotonic(), self.spent
        while (left := start + seconds - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_SECONDS))
            self.spent = before + time.monotonic() - start
            if not self.look(self.spent):
                return

    def _runs(self, over: threading.Event) -> Iterator[Callable[[], None]]:
        """Every client, with dice of its own."""
        for act, interval, *doors in (*WELL_MEANT, *ILL_MEANT):
            self.acts.setdefault(act.__name__, 0)
            for secure, count in enumerate(doors):
                for number in range(count):
                    seat = self._seat(f"{act.__name__} {secure} {number}", over, interval, secure=bool(secure))
                    yield partial(self._sit, seat, act)
        for secure, count in enumerate(_MIXED):
            for number in range(count):
                seat = self._seat(f"mixed {secure} {number}", over, _MIXED_SECONDS, secure=bool(secure))
                yield self._mixed(seat).run

    def _mixed(self, seat: Seat) -> Client:
        """A client of the other soak, which comes by the door of that seat, and in its time."""
        place = self.place
        return Client(lambda: seat.dial().sock, place.site, place.content, place.tally, seat.chance, seat.pause)

    def _seat(self, name: str, over: threading.Event, interval: float, *, secure: bool) -> Seat:
        chance = random.Random(f"{self.seed} {self.spent > 0} {name}")
        return Seat(self.place, chance, self.pace, over, interval, secure)

    def _sit(self, seat: Seat, act: Callable[[Seat], None]) -> None:
        seat.run(act)
        self.acts[act.__name__] += seat.acts
