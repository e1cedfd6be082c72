"""Holders of leases: readers that renew theirs, compare every byte, and know when they are refused."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import RawConnection, head

from torture.image_content import Content
from torture.leases.trial import PRIVATE, LeasedTrial
from torture.outcome import LiveResult, percentile

_LONGEST = 64 * 1024
_PAUSE = 0.002
_PER_LEASE = 20
"""Requests after which a holder comes with another lease."""
_MOST_FAILURES = 5


@attrs.define(eq=False)
class Holders:
    """What all holders saw; `issue` gives each a new lease, by a name of its own."""

    port: int
    content: Content
    issue: Callable[[str], str]
    statuses: Counter[int] = attrs.field(factory=Counter)
    renewals: int = 0
    """Leases that were shown."""
    _wrong: int = 0
    _took: list[float] = attrs.field(factory=list)
    _failures: list[str] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _over: threading.Event = attrs.field(factory=threading.Event)

    def end(self) -> None:
        """Let each finish what it asks for."""
        self._over.set()

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Wait for so many more answers. AssertionError if that takes too long."""
        wanted, deadline = len(self._took) + count, time.monotonic() + seconds
        while len(self._took) < wanted:
            assert time.monotonic() < deadline, f"{wanted - len(self._took)} of {count} answers did not come"
            time.sleep(_PAUSE)

    def result(self) -> LiveResult:
        """Sum up."""
        times = (percentile(self._took, 0.99), max(self._took, default=0.0), percentile(self._took, 0.5))
        return LiveResult(len(self._took), self._wrong, tuple(self._failures), *times)

    def run(self, seed: int) -> None:
        """Be one holder, until the end."""
        rng, number = random.Random(seed), 0
        while not self._over.is_set():
            token, number = self.issue(f"holder-{seed}-{number}"), number + 1
            self.renewals += 1
            try:
                with RawConnection.dial(self.port) as conn:
                    self._hold(conn, token, rng)
            except (OSError, AssertionError) as error:
                with self._lock:
                    self._failures[_MOST_FAILURES:] = []
                    self._failures.append(f"{type(error).__name__}: {error}")

    def _hold(self, conn: RawConnection, token: str, rng: random.Random) -> None:
        for _ in range(_PER_LEASE):
            if self._over.wait(_PAUSE):
                return
            self._ask(conn, token, rng)

    def _ask(self, conn: RawConnection, token: str, rng: random.Random) -> None:
        offset = rng.randrange(self.content.size)
        length = min(rng.randint(1, _LONGEST), self.content.size - offset)
        fields = {"Range": f"bytes={offset}-{offset + length - 1}", "Authorization": f"Bearer {token}"}
        start = time.monotonic()
        conn.send(head("GET", PRIVATE, fields))
        reply = conn.reply()
        took = time.monotonic() - start
        with self._lock:
            self.statuses[reply.status] += 1
            self._took.append(took)
        assert reply.status == 206, f"{reply.status} to a good lease: {reply.body[:100]!r}"
        assert reply.ending == "whole", f"{reply.ending} after {len(reply.body)} of {length} bytes at {offset}"
        self._wrong += self.content.wrong_bytes(reply.body, offset)


@contextmanager
def holders(trial: LeasedTrial, count: int, issue: Callable[[str], str]) -> Iterator[Holders]:
    """Let holders read for the length of a with block, and complain of all that they were refused."""
    found = Holders(trial.daemon.port, trial.content, issue)
    threads = [threading.Thread(target=found.run, args=(seed,), daemon=True) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found.end()
        for thread in threads:
            thread.join()
    trial.live = found.result()
    trial.check(trial.live.requests, "no holder was served")
    for failure in trial.live.failures:
        trial.check(holds=False, text=f"a holder: {failure}")
    trial.check(not trial.live.wrong_bytes, f"holders got {trial.live.wrong_bytes} wrong bytes")
