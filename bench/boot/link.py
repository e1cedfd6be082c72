"""A link with a round trip and a rate: a TCP proxy that delays. `python -m bench.boot.link PORT --rtt-ms 50`.

It needs no rights and no netem. A connection takes a round trip to open; each direction takes half of one; bytes to
the client pass one after the other at the rate, of all connections together. There are no losses and no slow start:
an idle connection carries the full rate at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from subprocess import PIPE, Popen

import attrs

PIECE = 16 << 10
QUEUED_PIECES = 256
"""Of one connection in one direction: 4 MiB, as receive windows are. With a rate, a quarter of a second of it."""
SECONDS_QUEUED = 0.25


@attrs.frozen
class Shape:
    """A round trip in seconds, and bytes a second to the client; None for no limit."""

    rtt: float
    rate: float | None = None

    @property
    def pieces(self) -> int:
        """How much of a connection may be under way."""
        if self.rate is None:
            return QUEUED_PIECES
        return max(4, int(self.rate * (self.rtt + SECONDS_QUEUED) / PIECE))


@attrs.define
class Link:
    """The line that all connections share."""

    shape: Shape
    free_at: float = 0.0

    def arrival(self, now: float, length: int, *, limited: bool) -> float:
        """When bytes that are sent now are at the other end."""
        if limited and self.shape.rate is not None:
            self.free_at = now = max(now, self.free_at) + length / self.shape.rate
        return now + self.shape.rtt / 2


@attrs.define
class Direction:
    """One way of one connection."""

    link: Link
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    limited: bool
    open_at: float
    queue: asyncio.Queue[tuple[float, bytes]] = attrs.field()

    @queue.default
    def _bounded(self) -> asyncio.Queue[tuple[float, bytes]]:
        return asyncio.Queue(self.link.shape.pieces)

    async def carry(self) -> None:
        """Carry all bytes until an end closes."""
        taking = asyncio.ensure_future(self._take())
        try:
            await self._deliver()
        finally:
            taking.cancel()

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            with contextlib.suppress(ConnectionError):
                data = await self.reader.read(PIECE)
            now = max(loop.time(), self.open_at)
            await self.queue.put((self.link.arrival(now, len(data), limited=self.limited), data))

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await self.queue.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    self.writer.write_eof()  # the other direction may go on
                    return
                self.writer.write(data)
                await self.writer.drain()
        except OSError:
            self.writer.close()  # so the other direction comes to its end too


@attrs.frozen
class Proxy:
    """Takes connections to a port of this machine over the link."""

    link: Link
    port: int

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        open_at = asyncio.get_running_loop().time() + self.link.shape.rtt
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        up = Direction(self.link, reader, back, limited=False, open_at=open_at)
        down = Direction(self.link, there, writer, limited=True, open_at=open_at)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # when the proxy ends
                await asyncio.gather(up.carry(), down.carry())
        finally:
            back.close()
            writer.close()


@asynccontextmanager
async def serving(port: int, shape: Shape) -> AsyncIterator[int]:
    """Run a proxy; give its port."""
    server = await asyncio.start_server(Proxy(Link(shape), port).connect, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextmanager
def running(port: int, shape: Shape) -> Iterator[int]:
    """Run a proxy as a process of its own; give its port."""
    given = [str(port), f"--rtt-ms={shape.rtt * 1000}", *([f"--mbit={shape.rate / 125_000}"] if shape.rate else [])]
    with Popen([sys.executable, "-m", "bench.boot.link", *given], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate(timeout=10)  # the end of its standard input ends it


async def _main(port: int, shape: Shape) -> None:
    async with serving(port, shape) as own:
        print(own, flush=True)  # noqa: T201 - for who started it
        await asyncio.to_thread(sys.stdin.read)


def main(arguments: Sequence[str]) -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.boot.link")
    parser.add_argument("port", type=int)
    parser.add_argument("--rtt-ms", type=float, default=0)
    parser.add_argument("--mbit", type=float)
    given = parser.parse_args(arguments)
    asyncio.run(_main(given.port, Shape(given.rtt_ms / 1000, given.mbit and given.mbit * 125_000)))


if __name__ == "__main__":
    main(sys.argv[1:])
