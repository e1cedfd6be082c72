"""Faults of clients: heads that drip, readers that stand still, bodies nobody reads, resets at random bytes."""

from __future__ import annotations

import json
import random
import select
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head

from torture.outcome import MIB, Footprint, Outcome
from torture.trial import CAP, IMAGE, Trial, run_trial

_HEADER_SECONDS, _STALL_SECONDS = 4, 8
_BACKLOG = 100
"""Connections opened at a stretch, so that the backlog of the port holds them."""
_STALLED_LENGTH = 8 * MIB
_LISTED = 3000
"""Images in the list that nobody reads: some 600 kB."""
_MADE = (
    "/v1/images",
    "/metrics",
    "/v1/images",
    f"{IMAGE}/chunked/manifest.json",
    "/v1/images",
    f"{IMAGE}/meta",
    "/no",
)
_MOST_MADE = 40 * MIB
"""More than so many connections take, and far less than a list for each third of them."""


def slowloris(count: int) -> Outcome:
    """Drip a byte of a head on each of many connections: each gets a 408 in time, live clients notice nothing."""
    flags = f"--header-timeout-secs={_HEADER_SECONDS}"
    with run_trial(flags) as trial, ExitStack() as held:
        before = trial.footprint(places=True)
        with trial.with_live_clients():
            conns = [held.enter_context(conn) for conn in _dial(trial, count)]
            sent, refused, slowest = _drip(conns)
        trial.check(refused == count, f"{count - refused} of {count} dripping clients got no 408 and end")
        trial.check(slowest < _HEADER_SECONDS + 6, f"the last was let drip for {slowest:.1f} s")
        after = _end(trial, held, before)
    saw = (
        f"{refused} got 408 and were closed, the last after {slowest:.1f} s (--header-timeout-secs {_HEADER_SECONDS})"
    )
    return trial.outcome("slowloris", f"heads that drip, {sent:,} bytes in all", count, saw, (before, after))


def _dial(trial: Trial, count: int, receive_buffer: int | None = None) -> Iterator[RawConnection]:
    for number in range(count):
        if number % _BACKLOG == _BACKLOG - 1:
            trial.daemon.ask("/healthz")
        yield trial.daemon.dial(receive_buffer=receive_buffer)


def _drip(conns: list[RawConnection]) -> tuple[int, int, float]:
    """Drip until all are closed or it takes far too long: bytes sent, how many got a 408, and when the last."""
    text, start, sent, refused, slowest = head("GET", IMAGE, {"X-Drip": "d" * 2000}), time.monotonic(), 0, 0, 0.0
    left = {conn.sock: conn for conn in conns}
    for byte in text:
        if not left or time.monotonic() - start > _HEADER_SECONDS + 15:
            break
        for conn in left.values():
            conn.send(bytes([byte]))
        sent += len(left)
        for sock in _ready(left):
            refused += left.pop(sock).status() == 408
            slowest = time.monotonic() - start
    return sent, refused, slowest


def _ready(socks: Iterable[socket.socket]) -> list[socket.socket]:
    """Wait 0.2 s at most for something to be read."""
    poll, known = select.poll(), {sock.fileno(): sock for sock in socks}
    for number in known:
        poll.register(number, select.POLLIN)
    return [known[number] for number, _ in poll.poll(200)]


def stalled(count: int) -> Outcome:
    """Let many readers stand still: they lose their places to live clients, then their connections."""
    with run_trial(f"--stall-timeout-secs={_STALL_SECONDS}") as trial, ExitStack() as held:
        before, start = trial.footprint(places=True), time.monotonic()
        for conn in _dial(trial, count, 4096):
            held.enter_context(conn)
            conn.send(head("GET", IMAGE))
        with trial.with_live_clients(forgiving=True) as early:
            until(lambda: early.requests > 0, 30)
        served, refused = time.monotonic() - start, early.lost
        with trial.with_live_clients():
            time.sleep(_STALL_SECONDS)  # what live clients see meanwhile is the point
        metrics, full = trial.daemon.metrics(), trial.footprint()
        taken = metrics.value("aero_storage_places_taken_back_total")
        broken = metrics.value("aero_storage_streams_stalled_total")
        after = _end(trial, held, before)
    trial.check(taken, "no place was taken back")
    trial.check(broken, "no stalled stream was broken off")
    first = f"live clients were served {served:.1f} s after the first stalled, after {refused} tries, then always"
    saw = f"{first}; {taken:,.0f} places taken back, {broken:,.0f} streams broken off, {full.resident / MIB:.0f} MiB"
    tried = f"clients that ask for {trial.content.size // MIB} MiB and read nothing, at {CAP} places"
    return trial.outcome("stalled readers", tried, count, saw, (before, after))


def made_bodies_nobody_reads(count: int) -> Outcome:
    """Ask for lists, metrics, manifests and errors, and read nothing: all clients together hold one copy of each."""
    manifest = json.dumps([_entry("disk"), *(_entry(f"image-{number}") for number in range(_LISTED))]).encode()
    with run_trial("--virtual-chunks", manifest=manifest) as trial, ExitStack() as held:
        listed = trial.daemon.ask("/v1/images").length
        before = trial.footprint(places=True)
        with trial.with_live_clients():
            for number, conn in enumerate(_dial(trial, count, 4096)):
                held.enter_context(conn)
                conn.send(head("GET", _MADE[number % len(_MADE)]) * 20)
            until(lambda: trial.daemon.metrics().value("aero_storage_requests_in_flight") >= count // 2, 30)
        full, waiting = trial.footprint(), trial.daemon.metrics().value("aero_storage_waiting_body_bytes")
        after = _end(trial, held, before)
        trial.check(not trial.daemon.metrics().value("aero_storage_waiting_body_bytes"), "bodies are still counted")
    growth = full.resident - before.resident
    trial.check(growth <= _MOST_MADE, f"memory grew by {growth / MIB:.0f} MiB for {count} clients that read nothing")
    saw = f"{growth / MIB:.0f} MiB more for all of them, {waiting / MIB:.1f} MiB of it bodies"
    tried = f"clients that ask for made bodies, among them a list of {listed / 1000:,.0f} kB, and read nothing"
    return trial.outcome("made bodies", tried, count, saw, (before, after))


def _entry(image_id: str) -> dict[str, str]:
    return {"id": image_id, "file": "disk", "name": f"Image {image_id}"}


def _end(trial: Trial, held: ExitStack, before: Footprint) -> Footprint:
    held.close()
    after = trial.footprint_after(before)
    trial.check_alive()
    return after


def resets(count: int, seed: str = "resets") -> Outcome:
    """Reset connections after random bytes, in heads too: what came before is right, nothing stays behind."""
    rng, compared = random.Random(seed), 0
    with run_trial() as trial:
        before = trial.footprint(places=True)
        with trial.with_live_clients():
            for _ in range(count):
                compared += _reset_one(trial, rng)
        after = trial.footprint_after(before)
        trial.check_alive()
    saw = f"{compared / MIB:,.0f} MiB compared before the resets"
    return trial.outcome(
        "resets", f"resets at a random byte of a head or body (seed {seed})", count, saw, (before, after)
    )


def _reset_one(trial: Trial, rng: random.Random) -> int:
    offset = rng.randrange(trial.content.size - _STALLED_LENGTH)
    length = rng.choice((1, 4096, 65_536, _STALLED_LENGTH))
    text = head("GET", IMAGE, {"Range": f"bytes={offset}-{offset + length - 1}"})
    with trial.daemon.dial() as conn:
        if rng.random() < 0.3:
            conn.send(text[: rng.randrange(len(text))])
            conn.reset()
            return 0
        conn.send(text * rng.choice((1, 1, 3)))
        got = b""
        if rng.random() < 0.8:
            conn.reply_head()
            got = conn.take(rng.randrange(length))[:length]
        conn.reset()
    wrong = trial.content.wrong_bytes(got, offset)
    trial.check(not wrong, f"{wrong} wrong bytes before a reset, in {length} from {offset}")
    return len(got)
