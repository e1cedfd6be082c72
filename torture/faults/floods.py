"""Floods: 1,400 pipelined requests in one packet, for each route, known heads and new ones, beside a live client."""

from __future__ import annotations

import itertools
import re
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
from tests.blackbox.raw_http import head

from aero_storage.delivery.routes import ROUTES
from torture.live_clients import live_clients
from torture.outcome import LiveResult, Outcome, merged_results
from torture.trial import IMAGE, Trial, run_trial

PACKET = 1400
"""Requests that a flooding connection sends at once."""
CONNECTIONS = 4
_MOST_WAIT = 0.025
"""Seconds that the p99 of a live client may be above its own without a flood."""
_TRIES = 3
"""Other work on the machine makes a p99 worse, never better: so often it is tried whether one stays high."""
_LEAST_ALONE = 100
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
        before, alone = trial.footprint(places=True), _watch(trial, max(count, _LEAST_ALONE))
        most = alone.p99 + _MOST_WAIT
        seen = {flood.name: _beside(trial, flood, count, most) for flood in floods(_names(trial))}
        after = trial.footprint_after(before)
        trial.check_alive()
    for name, result in seen.items():
        trial.check(result.p99 <= most, f"{name}: p99 {_ms(result.p99)}, without a flood {_ms(alone.p99)}")
    trial.live = merged_results(tuple(seen.values()))
    worst = max(seen, key=lambda name: seen[name].p99)
    saw = f"p99 of a live client: {_ms(alone.p99)} alone, {_ms(seen[worst].p99)} beside the worst flood ({worst})"
    tried = f"{PACKET:,} pipelined requests in one packet, on {CONNECTIONS} connections: {len(seen)} floods"
    return trial.outcome("pipelined floods", tried, len(seen), saw, (before, after))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _names(trial: Trial) -> dict[str, str]:
    version = trial.daemon.ask(f"{IMAGE}/chunked/manifest.json").json()["version"]
    return {"image_id": "disk", "version": version, "chunk_name": "00000000.bin"}


def _watch(trial: Trial, count: int) -> LiveResult:
    """Let a live client ask so many times."""
    with live_clients(trial.daemon.port, trial.content, _LIVE, IMAGE, forgiving=False) as watch:
        watch.wait_for(count)
    result = watch.result()
    for failure in result.failures:
        trial.check(holds=False, text=f"a live client: {failure}")
    trial.check(not result.wrong_bytes, f"a live client got {result.wrong_bytes} wrong bytes")
    return result


def _beside(trial: Trial, flood: Flood, count: int, most: float) -> LiveResult:
    tries: list[LiveResult] = []
    while len(tries) < _TRIES and all(result.p99 > most for result in tries):
        with _flooding(trial, flood) as sent:
            tries.append(_watch(trial, count))
        trial.check(sum(sent), f"{flood.name}: no packet was sent")
    return min(tries, key=lambda result: result.p99)


@contextmanager
def _flooding(trial: Trial, flood: Flood) -> Iterator[list[int]]:
    """Flood for the length of a with block; packets sent, by connection."""
    over, sent = threading.Event(), [0] * CONNECTIONS

    def run(number: int) -> None:
        while not over.is_set():
            sent[number] += _send_packet(trial, flood.text, over)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _send_packet(trial: Trial, text: bytes, over: threading.Event) -> bool:
    """Send all on one connection, and throw away what comes, until the daemon closes or nothing comes any more."""
    left, buffer = memoryview(text), bytearray(1 << 20)
    with trial.daemon.dial() as conn:
        conn.sock.settimeout(0)
        while not over.is_set():
            readable, writable, _ = select.select([conn.sock], [conn.sock] if left else [], [], 0.1)
            if not (readable or writable):
                break
            try:
                if writable:
                    left = left[conn.sock.send(left) :]
                if readable and not conn.sock.recv_into(buffer):
                    break
            except ConnectionError:
                break
    return len(left) < len(text)
