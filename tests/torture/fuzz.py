"""Hostile requests, pipelined on many connections: never a 5xx, a traceback, or an answer to what was smuggled."""

from __future__ import annotations

import multiprocessing
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import attrs
from tests.torture.mutations import SHAPES, SMUGGLED, mutated
from tests.torture.outcome import Outcome
from tests.torture.stage import stage

_STATUS = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2}) ")
"""Of a final response."""
_PIPELINED = 40
_READ_SECONDS = 15.0
_IMAGE_BYTES = 4096
"""Small, so that ranges that are ignored cost little."""


@attrs.frozen
class Batch:
    """What came of one share of the requests."""

    sent: int
    connections: int
    statuses: Counter[int]
    complaints: list[str]


def hammer(port: int, seed: str, wanted: int) -> Batch:
    """Send mutated heads until so many answers have come; complain about what must not come."""
    chance, sent, connections = random.Random(seed), 0, 0
    statuses: Counter[int] = Counter()
    complaints: list[str] = []
    while statuses.total() < wanted and len(complaints) < 5:
        if connections > wanted:  # most answer several
            complaints.append(f"{connections} connections got only {statuses.total()} answers")
            break
        heads = _heads(chance)
        answer, whole = exchange(port, b"".join(heads))
        found = Counter(int(status) for status in _STATUS.findall(answer))
        statuses, sent, connections = statuses + found, sent + len(heads), connections + 1
        if not whole:
            complaints.append(f"no end of the connection within {_READ_SECONDS:g} s after {heads!r}"[:2000])
        if any(status >= 500 for status in found):
            complaints.append(f"{sorted(found)} among the answers to {heads!r}"[:4000])
        if b"smuggled" in answer:
            complaints.append(f"a smuggled request was answered: {heads[-1]!r}")
    return Batch(sent, connections, statuses, complaints)


def _heads(chance: random.Random) -> list[bytes]:
    if chance.random() < 0.1:
        return [chance.choice(SHAPES), b"0\r\n\r\n" * chance.randint(0, 1) + SMUGGLED]
    return [mutated(chance) for _ in range(chance.randint(1, _PIPELINED))]


def exchange(port: int, data: bytes) -> tuple[bytes, bool]:
    """Send all of it and half-close; return what came back, and whether the server closed too."""
    with socket.create_connection(("127.0.0.1", port), _READ_SECONDS) as peer:
        answer = bytearray()
        try:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(1 << 18):
                answer += part
        except TimeoutError:
            return bytes(answer), False
        except OSError:
            pass  # a reset is an answer too: what came before it counts
        return bytes(answer), True


def fuzz(wanted: int, seconds: float, tell: Callable[[str], None], seed: str = "torture") -> Outcome:
    """Fuzz until so many requests were answered, or so many seconds have passed."""
    with stage("--virtual-chunks", size=_IMAGE_BYTES) as scene:
        before, start = scene.footprint(), time.monotonic()
        with scene.watched(1):
            batches = _shares(scene.daemon.port, wanted, start + seconds, tell, seed)
        took = time.monotonic() - start
        after = scene.settled(before)
        scene.sound()
    statuses = sum((batch.statuses for batch in batches), Counter[int]())
    scene.complaints += [text for batch in batches for text in batch.complaints][:20]
    kinds = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    connections, sent = sum(batch.connections for batch in batches), sum(batch.sent for batch in batches)
    tried = f"{sent:,} heads, one in four mutated, and smuggling shapes, up to {_PIPELINED} on each of"
    return Outcome(
        "hostile requests",
        f"{tried} {connections:,} connections, {statuses.total() / took:,.0f} answers a second (seed {seed})",
        statuses.total(),
        kinds,
        scene.healthy,
        before,
        after,
        tuple(scene.complaints),
        seconds=took,
    )


def _shares(port: int, wanted: int, deadline: float, tell: Callable[[str], None], seed: str) -> list[Batch]:
    """Give shares to two processes, as one core each is what a client needs to keep the daemon busy."""
    share = min(5000, -(-wanted // 2))
    batches: list[Batch] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        number, under_way = 2, {pool.submit(hammer, port, f"{seed} {one}", share) for one in range(2)}
        while under_way:
            done = next(as_completed(under_way))
            under_way.remove(done)
            batches.append(done.result())
            answered = sum(batch.statuses.total() for batch in batches)
            tell(f"{answered:,} of {wanted:,} answered")
            if answered + share * len(under_way) < wanted and time.monotonic() < deadline:
                under_way.add(pool.submit(hammer, port, f"{seed} {number}", share))
                number += 1
    return batches
