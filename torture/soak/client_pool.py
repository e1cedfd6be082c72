"""All clients of the soak at once, for some seconds or responses, while the daemon is measured once a second."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

import attrs

from torture.soak.client import Pacer, SoakClient, Target
from torture.soak.misbehaving import MISBEHAVING
from torture.soak.mixed_client import MixedClient
from torture.soak.well_behaved import WELL_BEHAVED

MIXED = "mixed"
"""The kind of the clients of mixed_client."""
KINDS = (*(act.__name__ for act, *_ in (*WELL_BEHAVED, *MISBEHAVING)), MIXED)
_MIXED_SECONDS = 0.04
"""Between two acts of a mixed client."""
_LEAVE_SECONDS = 60.0
_LOOK_SECONDS, _TICK_SECONDS = 1.0, 0.05


@attrs.define(eq=False)
class ClientPool:
    """All clients of a target; `look` is called once a second of load, and says whether to go on."""

    target: Target
    pacer: Pacer
    seed: str
    look: Callable[[float], bool]
    mixed: tuple[int, int] = (4, 2)
    """How many mixed clients come by TCP and by TLS."""
    kinds: Collection[str] = KINDS
    acts: Counter[str] = attrs.field(factory=Counter)
    spent: float = 0.0
    """Seconds of load so far."""

    def run(self, seconds: float, responses: int | None = None) -> None:
        """Let all clients act for so long, or until so many responses have been compared; then end them."""
        over, tally = threading.Event(), self.target.tally
        tally.left = sys.maxsize if responses is None else max(responses - tally.done, 0)
        threads = [threading.Thread(target=run, daemon=True) for run in self._runs(over)]
        for thread in threads:
            thread.start()
        self._watch(seconds, responses or sys.maxsize, threads)
        over.set()
        tally.stop()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        if hanging := sum(thread.is_alive() for thread in threads):
            tally.fault(f"{hanging} clients still wait for the daemon {_LEAVE_SECONDS:g} s after the end")

    def _watch(self, seconds: float, responses: int, threads: Sequence[threading.Thread]) -> None:
        start, before, looked, goes_on = time.monotonic(), self.spent, self.spent, True
        while goes_on:
            time.sleep(_TICK_SECONDS)
            self.spent = before + time.monotonic() - start
            goes_on = (
                self.spent - before < seconds
                and self.target.tally.done < responses
                and any(thread.is_alive() for thread in threads)
            )
            if not goes_on or self.spent - looked >= _LOOK_SECONDS:
                looked = self.spent
                goes_on &= self.look(self.spent)

    def _runs(self, over: threading.Event) -> Iterator[Callable[[], None]]:
        """Every client, with a random generator of its own."""
        for act, interval, *counts in (*WELL_BEHAVED, *MISBEHAVING):
            for client in self._clients(act.__name__, counts, over, interval):
                yield partial(self._act, client, act)
        for client in self._clients(MIXED, self.mixed, over, _MIXED_SECONDS):
            yield partial(self._mix, client)

    def _clients(
        self, kind: str, counts: Sequence[int], over: threading.Event, interval: float
    ) -> Iterator[SoakClient]:
        if kind not in self.kinds:
            return
        self.acts.setdefault(kind, 0)
        for secure, count in enumerate(counts):
            for number in range(count):
                rng = random.Random(f"{self.seed} {self.spent > 0} {kind} {secure} {number}")
                yield SoakClient(self.target, rng, self.pacer, over, interval, bool(secure))

    def _act(self, client: SoakClient, act: Callable[[SoakClient], None]) -> None:
        client.run(act)
        self.acts[act.__name__] += client.acts

    def _mix(self, client: SoakClient) -> None:
        """Run a mixed client, which connects as this one does, and waits as this one does."""
        target = self.target
        mixed = MixedClient(
            lambda: client.dial().sock, target.image, target.content, target.tally, client.rng, client.pause
        )
        mixed.run()
        self.acts[MIXED] += mixed.acts
