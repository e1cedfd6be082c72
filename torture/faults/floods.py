"""Floods: 1,400 pipelined requests in one packet, for each route, known heads and new ones, beside a live client."""

from __future__ import annotations

import itertools
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import attrs
from tests.blackbox.raw_http import head

from aero_storage.delivery.routes import ROUTES
from torture.live_clients import live_clients
from torture.outcome import LiveResult, Outcome, merged_results
from torture.trial import IMAGE, Trial, run_trial

PACKET = 1400
"""Requests that a flooding connection sends at once."""
CONNECTIONS = 20
"""How many do so at a time."""
_MOST_P99, _MOST_MEDIAN = 0.025, 0.010
"""Seconds that a live client's times may be above its own without a flood: what other work on a machine may add."""
_TRIES = 3
"""Other work on the machine makes times worse, never better: so often it is tried whether they stay high."""
_ENOUGH = 100
"""Requests of which a p99 says something."""
_LIVE = 1
"""One live client: two would wait for each other."""


@attrs.frozen
class Flood:
    """What one packet holds."""

    name: str
    requests: tuple[bytes, ...]

    @property
    def text(self) -> bytes:
        """The packet."""
        return b"".join(self.requests)


def floods(names: dict[str, str]) -> Iterator[Flood]:
    """One flood for each route and method, and for what is no route; `names` are the values of the templates."""
    targets = {route.template: re.sub(r":(\w+)", lambda match: names[match[1]], route.template) for route in ROUTES}
    for (template, target), method in itertools.product(targets.items(), ("GET", "HEAD")):
        yield _repeated(f"{method} {template}", head(method, target))
    yield _repeated("OPTIONS", head("OPTIONS", IMAGE, {"Origin": "http://a.test"}))
    yield _repeated("unknown path", head("GET", "/nowhere"))
    yield _repeated("unknown image", head("GET", "/v1/images/nobody"))
    yield _repeated("unknown method", head("BREW", IMAGE))
    yield _repeated("bad head", head("GET", IMAGE, {"Bad Name": "x"}))
    yield _repeated("bad id", head("GET", "/v1/images/%00/meta"))
    yield _repeated("small ranges", head("GET", IMAGE, {"Range": "bytes=0-9"}))
    yield _repeated("ranges refused", head("GET", IMAGE, {"Range": "bytes=9-1"}))
    yield Flood("new heads", tuple(head("GET", "/healthz", {"X-New": str(number)}) for number in range(PACKET)))
    conditional = {"If-None-Match": '"a"', "Range": "bytes=0-9"}
    yield _repeated("conditional", head("GET", IMAGE, conditional))


def _repeated(name: str, request: bytes) -> Flood:
    return Flood(name, (request,) * PACKET)


def pipelined_floods(count: int) -> Outcome:
    """Flood each route for `count` requests of a live client: it waits little longer than without a flood."""
    with run_trial("--virtual-chunks", "--max-range-bytes=none") as trial:
        before, alone = trial.footprint(places=True), _watch(trial, max(count, _ENOUGH))
        seen = {flood.name: _beside(trial, flood, count, alone) for flood in floods(_names(trial))}
        after = trial.footprint_after(before)
        trial.check_alive()
    for name, (result, calm) in seen.items():
        trial.check(_is_served(result, calm), f"{name}: {_times(result)}; without a flood {_times(calm)}")
    trial.live = merged_results(tuple(result for result, _ in seen.values()))
    worst = max(seen, key=lambda name: seen[name][0].p99)
    saw = f"a live client waited {_times(alone)} alone, {_times(seen[worst][0])} beside the worst flood ({worst})"
    tried = f"{PACKET:,} pipelined requests in one packet, on {CONNECTIONS} connections: {len(seen)} floods"
    return trial.outcome("pipelined floods", tried, len(seen), saw, (before, after))


def _is_served(result: LiveResult, alone: LiveResult) -> bool:
    """Whether a live client waits little longer than it does alone."""
    p99_counts = result.requests >= _ENOUGH
    return result.median <= alone.median + _MOST_MEDIAN and not (p99_counts and result.p99 > alone.p99 + _MOST_P99)


def _times(result: LiveResult) -> str:
    return f"{result.median * 1000:.1f} ms (p99 {result.p99 * 1000:.1f})"


def _names(trial: Trial) -> dict[str, str]:
    version = trial.daemon.ask(f"{IMAGE}/chunked/manifest.json").json()["version"]
    return {"image_id": "disk", "version": version, "chunk_name": "00000000.bin", "part": "aero-disk.js"}


def _watch(trial: Trial, count: int) -> LiveResult:
    """Let a live client ask so many times."""
    with live_clients(trial.daemon.port, trial.content, _LIVE, IMAGE, forgiving=False) as watch:
        watch.wait_for(count)
    result = watch.result()
    for failure in result.failures:
        trial.check(holds=False, text=f"a live client: {failure}")
    trial.check(not result.wrong_bytes, f"a live client got {result.wrong_bytes} wrong bytes")
    return result


def _beside(trial: Trial, flood: Flood, count: int, alone: LiveResult) -> tuple[LiveResult, LiveResult]:
    """Return the best of some tries, and the time without a flood: anew where the machine may be busier by now."""
    tries: list[LiveResult] = []
    while len(tries) < _TRIES and not any(_is_served(result, alone) for result in tries):
        if tries:
            alone = max(alone, _watch(trial, count), key=lambda result: result.median)
        with _flooding(trial, flood.text) as flooder:
            tries.append(_watch(trial, count))
        trial.check(flooder.sent >= len(flood.text), f"{flood.name}: only {flooder.sent} bytes were sent")
    return min(tries, key=lambda result: result.p99), alone


@contextmanager
def _flooding(trial: Trial, text: bytes) -> Iterator[_Flooder]:
    """Flood for the length of a with block."""
    with ExitStack() as held:
        flooder = _Flooder(trial, text, held)
        thread = threading.Thread(target=flooder.run, daemon=True)
        thread.start()
        try:
            yield flooder
        finally:
            flooder.over.set()
            thread.join()


@attrs.define(eq=False)
class _Flooder:
    """Sends a packet on each of many connections, and throws away what comes; `sent` is in bytes."""

    trial: Trial
    text: bytes
    held: ExitStack
    over: threading.Event = attrs.field(init=False, factory=threading.Event)
    sent: int = attrs.field(init=False, default=0)
    _left: dict[socket.socket, memoryview] = attrs.field(init=False, factory=dict)
    """What is not sent yet, by connection."""
    _buffer: bytearray = attrs.field(init=False, factory=lambda: bytearray(1 << 20))

    def run(self) -> None:
        """Send and receive, until it is over; when nothing comes any more, another packet goes out on each."""
        while not self.over.is_set():
            while len(self._left) < CONNECTIONS:
                self._dial()
            unsent = [sock for sock, left in self._left.items() if left]
            readable, writable, _ = select.select(list(self._left), unsent, [], 0.05)
            for sock in writable:
                self._try(sock, self._send)
            for sock in readable:
                self._try(sock, self._receive)
            if not (readable or writable):
                self._left = dict.fromkeys(self._left, memoryview(self.text))

    def _dial(self) -> None:
        sock = self.held.enter_context(self.trial.daemon.dial()).sock
        sock.settimeout(0)
        self._left[sock] = memoryview(self.text)

    def _try(self, sock: socket.socket, act: Callable[[socket.socket], bool]) -> None:
        try:
            goes_on = sock not in self._left or act(sock)
        except ConnectionError:
            goes_on = False
        if not goes_on:
            del self._left[sock]
            sock.close()

    def _send(self, sock: socket.socket) -> bool:
        count = sock.send(self._left[sock])
        self._left[sock] = self._left[sock][count:]
        self.sent += count
        return True

    def _receive(self, sock: socket.socket) -> bool:
        return sock.recv_into(self._buffer) > 0
