"""Readers that are slow, but move: they hold every place for as long as they like, and nobody else waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import attrs
from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head

from torture.outcome import LiveResult, Outcome, merged_results
from torture.trial import CAP, IMAGE, Trial, run_trial

_PROXY = "127.0.0.1"
_PAUSE, _PIECE = 0.1, 1024
"""Each reads 10 kB a second: 64 of them 640."""
_SECONDS, _FEWEST_SECONDS = 6.0, 2.0
"""Of each crowd; the second beside no more readers than places."""
_MOST_REFUSED = 0.01
_SLOWEST = 1.0
"""Of the live clients' requests: the queue's second."""

_CROWDS: Mapping[str, Callable[[int], tuple[str, str]]] = {
    "one address": lambda _: ("127.0.0.2", ""),
    "16 addresses": lambda number: (f"127.0.1.{number % 16 + 1}", ""),
    "an address each": lambda number: (f"127.0.{number // 200 + 2}.{number % 200 + 1}", ""),
    "one behind a proxy": lambda _: (_PROXY, "192.0.2.1"),
    "16 behind a proxy": lambda number: (_PROXY, f"192.0.2.{number % 16 + 1}"),
}
"""Whose the readers are: the address that each connects from, and the client that a proxy names."""


@attrs.define(eq=False)
class _Crowd:
    """Slow readers, and what they have read."""

    conns: list[RawConnection]
    taken: list[bytearray] = attrs.field(factory=list)
    _over: threading.Event = attrs.field(factory=threading.Event)

    def read(self) -> None:
        """Read a little of each again and again, until the end."""
        self.taken = [bytearray() for _ in self.conns]
        while not self._over.wait(_PAUSE):
            for conn, taken in zip(self.conns, self.taken, strict=True):
                if conn.ending == "whole":
                    taken.extend(conn.sip(_PIECE))

    @property
    def cut(self) -> int:
        """How many have come to an end that none asked for."""
        return sum(conn.ending != "whole" for conn in self.conns)

    def end(self) -> None:
        """Read no more."""
        self._over.set()


def slow_readers_that_move(count: int) -> Outcome:
    """Let readers of one and of many addresses hold all places: live clients are served in time, nobody is cut."""
    with run_trial(f"--trusted-proxy={_PROXY}") as trial:
        before = trial.footprint(places=True)
        alone = _watch(trial, _FEWEST_SECONDS)[0]
        endured = {crowd: _endure(trial, crowd, count) for crowd in _CROWDS}
        trial.live = merged_results([result for result, _ in endured.values()])
        after = trial.footprint_after(before)
        trial.check_alive()
    saw = (f"{crowd}: {live.p99 * 1000:.1f} ms, {lost} refused" for crowd, (live, lost) in endured.items())
    text = f"p99 of live clients {alone.p99 * 1000:.1f} ms without them; {'; '.join(saw)}"
    tried = f"readers of {_PIECE / _PAUSE / 1000:.0f} kB a second, at {CAP} places, in {len(_CROWDS)} ways"
    return trial.outcome("slow readers that move", tried, count, text, (before, after))


def _watch(trial: Trial, seconds: float) -> tuple[LiveResult, int]:
    """What live clients see for so long, and how often they were refused."""
    with trial.with_live_clients(forgiving=True) as watch:
        threading.Event().wait(seconds)
    assert trial.live is not None
    return trial.live, watch.lost


def _endure(trial: Trial, crowd: str, count: int) -> tuple[LiveResult, int]:
    with _crowd(trial, crowd, count) as readers:
        until(lambda: trial.daemon.metrics().value("aero_storage_places_taken") >= min(count, CAP))
        live, lost = _watch(trial, _SECONDS if count > CAP else _FEWEST_SECONDS)
        without = trial.daemon.metrics().value("aero_storage_streams_without_place")
    trial.check(lost <= _MOST_REFUSED * live.requests, f"{crowd}: {lost} of {live.requests} requests were refused")
    trial.check(live.slowest <= _SLOWEST, f"{crowd}: a request took {live.slowest:.1f} s")
    trial.check(count < CAP or without, f"{crowd}: no stream gave its place up")
    trial.check(not readers.cut, f"{crowd}: {readers.cut} readers were cut")
    wrong = sum(trial.content.wrong_bytes(bytes(taken)) for taken in readers.taken)
    trial.check(not wrong, f"{crowd}: {wrong} wrong bytes")
    return live, lost


@contextmanager
def _crowd(trial: Trial, crowd: str, count: int) -> Iterator[_Crowd]:
    """Have slow readers for the length of a with block."""
    with ExitStack() as held:
        readers = _Crowd([held.enter_context(_begin(trial, *_CROWDS[crowd](number))) for number in range(count)])
        thread = threading.Thread(target=readers.read, daemon=True)
        thread.start()
        held.callback(thread.join)
        held.callback(readers.end)
        yield readers


def _begin(trial: Trial, source: str, client: str) -> RawConnection:
    conn = trial.daemon.dial(source=source)
    conn.send(head("GET", IMAGE, {"X-Forwarded-For": client} if client else {}))
    start = conn.reply_head(_SLOWEST * 2)
    assert start.status == 200, f"{start.status} to a slow reader"
    return conn
