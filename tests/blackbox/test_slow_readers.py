"""http.md §5, places: readers that are slow but move keep nobody out, and nobody is cut for it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import DISK, entry, put, small_root, wide_bytes
from tests.blackbox.raw_http import head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.blackbox.raw_http import RawConnection, Reply

CAP = 4
SIZE = 8 << 20
OTHER = "127.0.0.9"
_PAUSE, _PIECE = 0.02, 512  # 25 kB a second


@define
class SlowReaders:
    """Connections of which a thread reads a little again and again, until `hurry`."""

    conns: list[RawConnection]
    taken: list[bytearray] = field(factory=list)
    _over: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _read(self) -> None:
        self.taken = [bytearray() for _ in self.conns]
        while not self._over.wait(_PAUSE):
            for number, conn in enumerate(self.conns):
                self.taken[number] += conn.sip(_PIECE)

    def rest(self) -> list[bytes]:
        """Read all to the end, as fast as it comes."""
        self.end()
        pairs = zip(self.conns, self.taken, strict=True)
        return [bytes(taken) + conn.take(SIZE - len(taken)) for conn, taken in pairs]


@contextmanager
def slow_readers(daemon: Daemon, clients: list[str], *, forwarded: bool) -> Iterator[SlowReaders]:
    """Let each client read slowly; through a proxy that names it, or from its own address."""
    with ExitStack() as held:
        conns = []
        for number, client in enumerate(clients):
            fields = {"X-Request-Id": f"slow-{number}"} | ({"X-Forwarded-For": client} if forwarded else {})
            conn = daemon.dial(receive_buffer=16384, source=None if forwarded else client)
            held.enter_context(conn)
            conn.send(head("GET", "/v1/images/wide", fields))
            assert conn.reply_head().status == 200
            conns.append(conn)
        readers = SlowReaders(conns)
        readers.start()
        held.callback(readers.end)
        yield readers


def ask(daemon: Daemon, client: str, *, forwarded: bool) -> Reply:
    """Ask for ten bytes as another client."""
    fields = {"Range": "bytes=0-9"} | ({"X-Forwarded-For": client} if forwarded else {})
    with daemon.dial(source=None if forwarded else client) as conn:
        return conn.ask("GET", "/v1/images/disk", fields)


@contextmanager
def crowded(path: Path, *flags: str) -> Iterator[Daemon]:
    small_root(path / "images", entry("wide", "wide.img"))
    put(path / "images" / "wide.img", wide_bytes()[:SIZE])
    with running(path, f"--max-concurrent-bytes-requests={CAP}", *flags) as daemon:
        yield daemon


def gauges(daemon: Daemon) -> tuple[float, float]:
    """Places held, and streams without one."""
    metrics = daemon.metrics()
    return metrics.value("aero_storage_places_taken"), metrics.value("aero_storage_streams_without_place")


def check_whole(daemon: Daemon, readers: SlowReaders) -> None:
    """Nobody was cut: all come to their end, with the right bytes, and nothing is held any more."""
    wanted = wide_bytes()[:SIZE]
    assert all(got == wanted for got in readers.rest())
    for number in range(len(readers.conns)):
        assert daemon.complete(f"slow-{number}")["outcome"] == "complete"
    until(lambda: gauges(daemon) == (0, 0))


ONE, SOME = ["127.0.0.2"] * CAP, ["127.0.0.2", "127.0.0.3"] * (CAP // 2)


@pytest.mark.parametrize(
    ("clients", "forwarded"),
    [(ONE, False), (SOME, False), (ONE, True), (SOME, True)],
    ids=["one address", "two addresses", "one behind a proxy", "two behind a proxy"],
)
def test_slow_readers_keep_nobody_out(home: Callable[[str], Path], clients: list[str], *, forwarded: bool) -> None:
    """All places are held by clients over their share: another gets all its small requests answered at once."""
    flags = ("--trusted-proxy=127.0.0.1",) if forwarded else ()
    with (
        crowded(home("slow-readers"), *flags) as daemon,
        slow_readers(daemon, clients, forwarded=forwarded) as readers,
    ):
        until(lambda: gauges(daemon) == (CAP, 0))
        assert all(ask(daemon, OTHER, forwarded=forwarded).status == 206 for _ in range(50))
        until(lambda: gauges(daemon)[1] >= 1)
        check_whole(daemon, readers)


def test_slow_readers_of_many_addresses(home: Callable[[str], Path]) -> None:
    """Each holds no more than its share: the slowest gives its place up once it has been seen for a second."""
    clients = [f"127.0.0.{number}" for number in range(2, 2 + CAP)]
    with (
        crowded(home("many-readers"), "--bytes-queue-timeout-secs=10") as daemon,
        slow_readers(daemon, clients, forwarded=False) as readers,
    ):
        assert all(ask(daemon, OTHER, forwarded=False).body == DISK[:10] for _ in range(50))
        check_whole(daemon, readers)


def test_many_requests_of_one_client(home: Callable[[str], Path]) -> None:
    """A client with more requests than the queue has room for does not keep others out of it."""
    with crowded(home("full-queue"), "--bytes-queue-timeout-secs=10") as daemon, ExitStack() as held:
        for _ in range(CAP + 20):
            conn = held.enter_context(daemon.dial(receive_buffer=16384, source="127.0.0.2"))
            conn.send(head("GET", "/v1/images/wide"))
        until(lambda: daemon.metrics().value("aero_storage_rejections_total", reason="queue_full") > 0)
        assert all(ask(daemon, OTHER, forwarded=False).status == 206 for _ in range(20))
