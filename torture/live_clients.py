"""Live clients ask for ranges beside a fault, compare every byte, and measure how long it took."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import RawConnection, head

from torture.image_content import Content, differing
from torture.outcome import LiveResult, percentile

_LONGEST = 64 * 1024
_PAUSE = 0.002
"""Seconds between two requests: the live clients watch, they do not load."""
_MOST_FAILURES = 5


@attrs.define(eq=False)
class LiveClients:
    """What all live clients saw so far."""

    port: int
    content: Content
    stem: str
    forgiving: bool = False
    """Whether connections may be lost and requests refused, as the fault brings with it: they are made again then."""
    lost: int = 0
    _wrong: int = 0
    _took: list[float] = attrs.field(factory=list)
    _failures: list[str] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _over: threading.Event = attrs.field(factory=threading.Event)

    def end(self) -> None:
        """Let every client finish what it asks for."""
        self._over.set()

    @property
    def requests(self) -> int:
        """How many came to their end."""
        return len(self._took)

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many requests came to their end. AssertionError if that takes too long."""
        deadline = time.monotonic() + seconds
        while self.requests < count:
            assert time.monotonic() < deadline, f"{self.requests} of {count} requests were answered in time"
            time.sleep(_PAUSE)

    def result(self) -> LiveResult:
        """Sum up."""
        times = (percentile(self._took, 0.99), max(self._took, default=0.0), percentile(self._took, 0.5))
        return LiveResult(len(self._took), self._wrong, tuple(self._failures), *times)

    def run(self, seed: int) -> None:
        """Be one client, until the end."""
        rng, conn = random.Random(seed), None
        while not self._over.wait(_PAUSE):
            try:
                conn = conn or RawConnection.dial(self.port)
                self._ask(conn, rng)
            except (OSError, AssertionError) as error:
                if conn is not None:
                    conn.close()
                conn = None
                self._failed(f"{type(error).__name__}: {error}")
        if conn is not None:
            conn.close()

    def _failed(self, text: str) -> None:
        with self._lock:
            if self.forgiving:
                self.lost += 1
            elif len(self._failures) < _MOST_FAILURES:
                self._failures.append(text)

    def _ask(self, conn: RawConnection, rng: random.Random) -> None:
        offset = rng.randrange(self.content.size)
        length = min(rng.randint(1, _LONGEST), self.content.size - offset)
        start = time.monotonic()
        conn.send(head("GET", self.stem, {"Range": f"bytes={offset}-{offset + length - 1}"}))
        reply = conn.reply()
        took = time.monotonic() - start
        assert reply.status == 206, f"{reply.status} for {length} bytes at {offset}"
        assert reply.ending == "whole", f"{reply.ending} after {len(reply.body)} of {length} bytes at {offset}"
        with self._lock:
            self._took.append(took)
            self._wrong += differing(reply.body, self.content.part(offset, length))


@contextmanager
def live_clients(port: int, content: Content, clients: int, stem: str, *, forgiving: bool) -> Iterator[LiveClients]:
    """Run live clients for the length of a with block."""
    watch = LiveClients(port, content, stem, forgiving)
    threads = [threading.Thread(target=watch.run, args=(seed,), daemon=True) for seed in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.end()
        for thread in threads:
            thread.join()
