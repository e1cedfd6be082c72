"""Readers in several threads: what they saw, and how long it took."""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import RawConnection, Reply, head

from torture.image_content import Content
from torture.outcome import LiveResult, percentile

LONGEST = 64 * 1024
"""Bytes of a range."""
PAUSE = 0.002
"""Seconds between two requests: readers watch, they do not load."""
_MOST_FAILURES = 5


@attrs.define(eq=False)
class ReaderThreads(ABC):
    """What all readers of one image saw so far."""

    port: int
    content: Content
    wrong: int = attrs.field(init=False, default=0)
    """Bytes that were others than they should be."""
    took: list[float] = attrs.field(init=False, factory=list)
    """Seconds of each answer."""
    failures: list[str] = attrs.field(init=False, factory=list)
    lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)
    over: threading.Event = attrs.field(init=False, factory=threading.Event)

    @abstractmethod
    def run(self, seed: int) -> None:
        """Be one reader, until it is over."""

    def ask(
        self, conn: RawConnection, path: str, rng: random.Random, fields: dict[str, str]
    ) -> tuple[int, Reply, float]:
        """Ask for a range, and return its offset, the answer, and the seconds it took."""
        offset = rng.randrange(self.content.size)
        length = min(rng.randint(1, LONGEST), self.content.size - offset)
        start = time.monotonic()
        conn.send(head("GET", path, {"Range": f"bytes={offset}-{offset + length - 1}", **fields}))
        return offset, conn.reply(), time.monotonic() - start

    def compare(self, offset: int, reply: Reply, seconds: float) -> None:
        """Count an answer, and its wrong bytes. AssertionError if it is no range, or was cut."""
        assert reply.status == 206, f"{reply.status} at {offset}: {reply.body[:100]!r}"
        assert reply.ending == "whole", f"{reply.ending} after {len(reply.body)} of {reply.length} bytes at {offset}"
        wrong = self.content.wrong_bytes(reply.body, offset)
        with self.lock:
            self.took.append(seconds)
            self.wrong += wrong

    def failed(self, error: Exception) -> None:
        """Note a failure, one of the first."""
        with self.lock:
            if len(self.failures) < _MOST_FAILURES:
                self.failures.append(f"{type(error).__name__}: {error}")

    @property
    def requests(self) -> int:
        """How many were answered as they should be."""
        return len(self.took)

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many requests were answered. AssertionError if that takes too long."""
        deadline = time.monotonic() + seconds
        while self.requests < count:
            assert time.monotonic() < deadline, f"{self.requests} of {count} requests were answered in time"
            time.sleep(PAUSE)

    def result(self) -> LiveResult:
        """Sum up."""
        times = (percentile(self.took, 0.99), max(self.took, default=0.0), percentile(self.took, 0.5))
        return LiveResult(self.requests, self.wrong, tuple(self.failures), *times)

    @contextmanager
    def reading(self, count: int) -> Iterator[None]:
        """Run so many readers for the length of a with block; each finishes what it asks for."""
        threads = [threading.Thread(target=self.run, args=(seed,), daemon=True) for seed in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()
