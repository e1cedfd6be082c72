"""Faults of clients: heads that drip, readers that stand still, resets at random bytes."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from bench.soak_content import differing
from tests.blackbox.harness import until
from tests.blackbox.wire import NoReplyError, Wire, head

from torture.outcome import MIB, Footprint, Outcome
from torture.stage import CAP, IMAGE, Stage, stage

_HEADER_SECONDS, _STALL_SECONDS = 4, 8
_BACKLOG = 100
"""Connections opened at a stretch, so that the backlog of the port holds them."""
_STALLED_LENGTH = 8 * MIB


def slowloris(count: int) -> Outcome:
    """Drip a byte of a head on each of many connections: each gets a 408 in time, live clients notice nothing."""
    flags = f"--header-timeout-secs={_HEADER_SECONDS}"
    with stage(flags) as scene, ExitStack() as held:
        before = scene.footprint(places=True)
        with scene.watched():
            wires = [held.enter_context(wire) for wire in _dial(scene, count)]
            sent, refused, slowest = _drip(wires)
        scene.check(refused == count, f"{count - refused} of {count} dripping clients got no 408 and end")
        scene.check(slowest < _HEADER_SECONDS + 6, f"the last was let drip for {slowest:.1f} s")
        after = _end(scene, held, before)
    saw = (
        f"{refused} got 408 and were closed, the last after {slowest:.1f} s (--header-timeout-secs {_HEADER_SECONDS})"
    )
    return _outcome(scene, "slowloris", f"heads that drip, {sent:,} bytes in all", count, saw, before, after)


def _dial(scene: Stage, count: int, receive_buffer: int | None = None) -> Iterator[Wire]:
    for number in range(count):
        if number % _BACKLOG == _BACKLOG - 1:
            scene.daemon.ask("/healthz")
        yield scene.daemon.dial(receive_buffer=receive_buffer)


def _drip(wires: list[Wire]) -> tuple[int, int, float]:
    """Drip until all are closed or it takes far too long: bytes sent, how many got a 408, and when the last."""
    text, start, sent, refused, slowest = head("GET", IMAGE, {"X-Drip": "d" * 2000}), time.monotonic(), 0, 0, 0.0
    left = {wire.sock: wire for wire in wires}
    for byte in text:
        if not left or time.monotonic() - start > _HEADER_SECONDS + 15:
            break
        for wire in left.values():
            wire.send(bytes([byte]))
        sent += len(left)
        for sock in _ready(left):
            refused += _is_408(left.pop(sock))
            slowest = time.monotonic() - start
    return sent, refused, slowest


def _ready(socks: Iterable[socket.socket]) -> list[socket.socket]:
    """Wait 0.2 s at most for something to be read."""
    poll, known = select.poll(), {sock.fileno(): sock for sock in socks}
    for number in known:
        poll.register(number, select.POLLIN)
    return [known[number] for number, _ in poll.poll(200)]


def _is_408(wire: Wire) -> bool:
    try:
        return wire.reply().status == 408
    except NoReplyError:
        return False


def stalled(count: int) -> Outcome:
    """Let many readers stand still: they lose their places to live clients, then their connections."""
    with stage(f"--stall-timeout-secs={_STALL_SECONDS}") as scene, ExitStack() as held:
        before, start = scene.footprint(places=True), time.monotonic()
        for wire in _dial(scene, count, 4096):
            held.enter_context(wire)
            wire.send(head("GET", IMAGE))
        with scene.watched(forgiving=True) as early:
            until(lambda: early.requests > 0, 30)
        served, refused = time.monotonic() - start, early.lost
        with scene.watched():
            time.sleep(_STALL_SECONDS)  # what live clients see meanwhile is the point
        metrics, full = scene.daemon.metrics(), scene.footprint()
        taken = metrics.value("aero_storage_places_taken_back_total")
        broken = metrics.value("aero_storage_streams_stalled_total")
        after = _end(scene, held, before)
    scene.check(taken, "no place was taken back")
    scene.check(broken, "no stalled stream was broken off")
    first = f"live clients were served {served:.1f} s after the first stalled, after {refused} tries, then always"
    saw = f"{first}; {taken:,.0f} places taken back, {broken:,.0f} streams broken off, {full.resident / MIB:.0f} MiB"
    tried = f"clients that ask for {scene.content.size // MIB} MiB and read nothing, at {CAP} places"
    return _outcome(scene, "stalled readers", tried, count, saw, before, after)


def _end(scene: Stage, held: ExitStack, before: Footprint) -> Footprint:
    held.close()
    after = scene.settled(before)
    scene.sound()
    return after


def resets(count: int, seed: str = "resets") -> Outcome:
    """Reset connections after random bytes, in heads too: what came before is right, nothing stays behind."""
    chance, compared = random.Random(seed), 0
    with stage() as scene:
        before = scene.footprint(places=True)
        with scene.watched():
            for _ in range(count):
                compared += _reset_one(scene, chance)
        after = scene.settled(before)
        scene.sound()
    saw = f"{compared / MIB:,.0f} MiB compared before the resets"
    return _outcome(
        scene, "resets", f"resets at a random byte of a head or body (seed {seed})", count, saw, before, after
    )


def _reset_one(scene: Stage, chance: random.Random) -> int:
    offset = chance.randrange(scene.content.size - _STALLED_LENGTH)
    length = chance.choice((1, 4096, 65_536, _STALLED_LENGTH))
    text = head("GET", IMAGE, {"Range": f"bytes={offset}-{offset + length - 1}"})
    with scene.daemon.dial() as wire:
        if chance.random() < 0.3:
            wire.send(text[: chance.randrange(len(text))])
            wire.reset()
            return 0
        wire.send(text * chance.choice((1, 1, 3)))
        got = b""
        if chance.random() < 0.8:
            wire.reply_head()
            got = wire.take(chance.randrange(length))[:length]
        wire.reset()
    wrong = differing(got, scene.content.part(offset, len(got)))
    scene.check(not wrong, f"{wrong} wrong bytes before a reset, in {length} from {offset}")
    return len(got)


def _outcome(
    scene: Stage, fault: str, tried: str, count: int, saw: str, before: Footprint, after: Footprint
) -> Outcome:
    return Outcome(fault, tried, count, saw, scene.healthy, before, after, tuple(scene.complaints))
