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

from torture.soak.client import Pacer, SoakClient, Target
from torture.soak.misbehaving import MISBEHAVING
from torture.soak.mixed_client import Client
from torture.soak.well_behaved import WELL_BEHAVED

_MIXED, _MIXED_SECONDS = (4, 2), 0.04
"""Clients of the other soak by TCP and by TLS, and the seconds between two of their acts."""
_LEAVE_SECONDS = 60.0
_TICK_SECONDS = 1.0


@attrs.define(eq=False)
class ClientPool:
    """All clients of a target; `look` is called once a second of load, and says whether to go on."""

    target: Target
    pacer: Pacer
    seed: str
    look: Callable[[float], bool]
    acts: Counter[str] = attrs.field(factory=Counter)
    spent: float = 0.0
    """Seconds of load so far."""

    def come(self, seconds: float) -> None:
        """Let all clients act for so long, then see them off."""
        over, tally = threading.Event(), self.target.tally
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
        """Every client, with a random generator of its own."""
        for act, interval, *doors in (*WELL_BEHAVED, *MISBEHAVING):
            self.acts.setdefault(act.__name__, 0)
            for secure, count in enumerate(doors):
                for number in range(count):
                    client = self._seat(f"{act.__name__} {secure} {number}", over, interval, secure=bool(secure))
                    yield partial(self._sit, client, act)
        for secure, count in enumerate(_MIXED):
            for number in range(count):
                client = self._seat(f"mixed {secure} {number}", over, _MIXED_SECONDS, secure=bool(secure))
                yield self._mixed(client).run

    def _mixed(self, client: SoakClient) -> Client:
        """A client of the other soak, which comes by the door of that client, and in its time."""
        target = self.target
        return Client(
            lambda: client.dial().sock, target.image, target.content, target.tally, client.rng, client.pause
        )

    def _seat(self, name: str, over: threading.Event, interval: float, *, secure: bool) -> SoakClient:
        rng = random.Random(f"{self.seed} {self.spent > 0} {name}")
        return SoakClient(self.target, rng, self.pacer, over, interval, secure)

    def _sit(self, client: SoakClient, act: Callable[[SoakClient], None]) -> None:
        client.run(act)
        self.acts[act.__name__] += client.acts
