"""Live clients ask for ranges beside a fault, compare every byte, and measure how long it took."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import RawConnection
from typing_extensions import override

from torture.image_content import Content
from torture.reader_threads import PAUSE, ReaderThreads


@attrs.define(eq=False)
class LiveClients(ReaderThreads):
    """What all live clients saw so far."""

    stem: str
    forgiving: bool = False
    """Whether connections may be lost and requests refused, as the fault brings with it: they are made again then."""
    lost: int = 0

    @override
    def run(self, seed: int) -> None:
        rng, conn = random.Random(seed), None
        while not self.over.wait(PAUSE):
            try:
                conn = conn or RawConnection.dial(self.port)
                self.compare(*self.ask(conn, self.stem, rng, {}))
            except (OSError, AssertionError) as error:
                if conn is not None:
                    conn.close()
                conn = None
                self._lose(error)
        if conn is not None:
            conn.close()

    def _lose(self, error: Exception) -> None:
        if not self.forgiving:
            self.failed(error)
            return
        with self.lock:
            self.lost += 1


@contextmanager
def live_clients(port: int, content: Content, clients: int, stem: str, *, forgiving: bool) -> Iterator[LiveClients]:
    """Run live clients for the length of a with block."""
    watch = LiveClients(port, content, stem, forgiving)
    with watch.reading(clients):
        yield watch
