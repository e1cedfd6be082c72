"""Holders of leases: readers that renew theirs, compare every byte, and know when they are refused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import RawConnection
from typing_extensions import override

from torture.leases.trial import PRIVATE, LeasedTrial
from torture.reader_threads import PAUSE, ReaderThreads

_PER_LEASE = 20
"""Requests after which a holder comes with another lease."""


@attrs.define(eq=False)
class Holders(ReaderThreads):
    """What all holders saw; `issue` gives each a new lease, by a name of its own."""

    issue: Callable[[str], str]
    statuses: Counter[int] = attrs.field(factory=Counter)
    renewals: int = 0
    """Leases that were shown."""

    @override
    def run(self, seed: int) -> None:
        rng, number = random.Random(seed), 0
        while not self.over.is_set():
            token, number = self.issue(f"holder-{seed}-{number}"), number + 1
            self.renewals += 1
            try:
                with RawConnection.dial(self.port) as conn:
                    self._hold(conn, token, rng)
            except (OSError, AssertionError) as error:
                self.failed(error)

    def _hold(self, conn: RawConnection, token: str, rng: random.Random) -> None:
        for _ in range(_PER_LEASE):
            if self.over.wait(PAUSE):
                return
            offset, reply, seconds = self.ask(conn, PRIVATE, rng, {"Authorization": f"Bearer {token}"})
            with self.lock:
                self.statuses[reply.status] += 1
            self.compare(offset, reply, seconds)


@contextmanager
def holders(trial: LeasedTrial, count: int, issue: Callable[[str], str]) -> Iterator[Holders]:
    """Let holders read for the length of a with block, and complain of all that they were refused."""
    found = Holders(trial.daemon.port, trial.content, issue)
    with found.reading(count):
        yield found
    trial.live = found.result()
    trial.check(trial.live.requests, "no holder was served")
    for failure in trial.live.failures:
        trial.check(holds=False, text=f"a holder: {failure}")
    trial.check(not trial.live.wrong_bytes, f"holders got {trial.live.wrong_bytes} wrong bytes")
