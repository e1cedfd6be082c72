"""Keys that are rotated and leases that are revoked under load, in all workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count as counting

import attrs
from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head
from tests.blackbox.worker_processes import is_serving

from torture.leases.holders import Holders, holders
from torture.leases.issuer import ED, HS, Key
from torture.leases.trial import PRIVATE, LeasedTrial, leased_trial
from torture.outcome import Outcome, percentile

_WORKERS = 2
_HOLDERS = 3
_SEEN_SECONDS = 3.0
"""Within which a change of a file shows in all workers: one second, and grace for a busy machine."""
_READS_ON_SECONDS = 1.0 + 0.5
"""A revoked reader reads on for a second at most, and half of one for a busy machine."""
_IN_A_ROW = 8
"""Connections that must all say the same, so that no worker is left out."""
_NAMES = counting()


@attrs.define(eq=False)
class _Issuer:
    """The key that signs at the moment."""

    trial: LeasedTrial
    key: Key

    def issue(self, name: str) -> str:
        token = self.key.lease(jti=name)
        self.trial.note(token)
        return token


def rotations(count: int) -> Outcome:
    """Rotate the key that signs so many times, of both algorithms in turn: holders lose no request."""
    first = _key()
    with leased_trial(f"--workers={_WORKERS}", "--lease-failures-per-sec=0", keys=[first]) as trial:
        _wait_for_workers(trial)
        issuer, took = _Issuer(trial, first), list[float]()
        with holders(trial, _HOLDERS, issuer.issue) as watch:
            watch.wait_for(watch.requests + 100)
            before = trial.footprint()
            for _ in range(count):
                took.extend(_rotate(trial, issuer, watch))
            renewals = watch.renewals
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets()
    saw = f"holders showed {renewals} leases and lost no request; a change showed after {max(took):.2f} s at most"
    tried = f"rotations of the key that signs, of HS256 and Ed25519 in turn, {_WORKERS} workers, {_HOLDERS} holders"
    return trial.outcome("rotated keys", tried, count, saw, (before, after))


def _key() -> Key:
    number = next(_NAMES)
    return Key(f"key-{number}", (HS, ED)[number % 2])


def _wait_for_workers(trial: LeasedTrial) -> None:
    for number in range(1, _WORKERS + 1):
        until(lambda number=number: is_serving(trial.daemon, number), 20)  # type: ignore[misc]


def _rotate(trial: LeasedTrial, issuer: _Issuer, watch: Holders) -> Iterator[float]:
    """Bring the new key in, sign with it, take the old one out; how long each change took to show."""
    old, new = issuer.key, _key()
    trial.set_keys([new, old])
    yield _until_all(trial, _lease(trial, new), 206, "the new key does not verify")
    issuer.key = new
    watch.wait_for(watch.requests + 3 * 20 * _HOLDERS)  # each has renewed its lease
    trial.set_keys([new])
    yield _until_all(trial, _lease(trial, old), 401, "the old key verifies on")
    watch.wait_for(watch.requests + 20)


def _lease(trial: LeasedTrial, key: Key, **claims: str) -> str:
    """Return a lease by this key."""
    token = key.lease(**{"jti": f"probe-{next(_NAMES)}", **claims})  # type: ignore[arg-type] # only claims are in it
    trial.note(token)
    return token


def _until_all(trial: LeasedTrial, token: str, status: int, complaint: str) -> float:
    """Wait until all workers answer so; seconds that it took."""
    start = time.monotonic()
    while time.monotonic() - start < _SEEN_SECONDS:
        if all(_status(trial, token) == status for _ in range(_IN_A_ROW)):
            return time.monotonic() - start
        time.sleep(0.02)
    trial.check(holds=False, text=f"{complaint} after {_SEEN_SECONDS:g} s")
    return time.monotonic() - start


def _status(trial: LeasedTrial, token: str) -> int | None:
    with trial.daemon.dial() as conn:
        return conn.status(head("GET", PRIVATE, {"Range": "bytes=0-9", "Authorization": f"Bearer {token}"}))


# Revocation


@attrs.frozen
class _Way:
    """A way to revoke: claims of the victim, and the line that hits it."""

    name: str
    claims: Callable[[str], dict[str, str]]
    line: Callable[[str], dict[str, object]]


def _later() -> int:
    return int(time.time()) + 1


_WAYS = (
    _Way("jti", lambda name: {"jti": name}, lambda name: {"jti": name}),
    _Way("sub", lambda name: {"sub": name}, lambda name: {"sub": name, "before": _later()}),
)


def revocations(count: int) -> Outcome:
    """Revoke so many leases amid streams and requests: the revoked read on for a second at most, others for ever."""
    keys = [_key(), _key()]
    lines: list[dict[str, object]] = [{"jti": f"nobody-{number}"} for number in range(1000)]
    with leased_trial(f"--workers={_WORKERS}", "--lease-failures-per-sec=0", keys=keys) as trial:
        _wait_for_workers(trial)
        issuer, reads, streams = _Issuer(trial, keys[0]), list[float](), list[float]()
        with holders(trial, _HOLDERS, issuer.issue) as watch:
            watch.wait_for(watch.requests + 100)
            before = trial.footprint()
            for number in range(count):
                way = _WAYS[number % len(_WAYS)]
                name = f"victim-{number}"
                token = _lease(trial, keys[number % 2], **way.claims(name))
                lines.append(way.line(name))
                _revoke(trial, token, lines, reads, streams)
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets()
    for what, seconds in (("asked on", reads), ("streamed on", streams)):
        worst = max(seconds, default=0.0)
        trial.check(worst <= _READS_ON_SECONDS, f"a revoked reader {what} for {worst:.2f} s")
    saw = (
        f"the revoked asked on for {percentile(reads, 0.5):.2f} s (at most {max(reads):.2f}), their streams went on "
        f"for {percentile(streams, 0.5):.2f} s (at most {max(streams):.2f}); holders lost no request"
    )
    tried = f"leases revoked by jti and by sub amid streams, {_WORKERS} workers, {_HOLDERS} holders"
    return trial.outcome("revoked leases", tried, count, saw, (before, after))


def _revoke(
    trial: LeasedTrial, token: str, lines: list[dict[str, object]], reads: list[float], streams: list[float]
) -> None:
    """Revoke one lease amid its streams and requests; how long either went on."""
    with ExitStack() as held:
        victims = [held.enter_context(trial.daemon.dial(receive_buffer=4096)) for _ in range(2 * _WORKERS)]
        for victim in victims:
            victim.send(head("GET", PRIVATE, {"Authorization": f"Bearer {token}"}))
            trial.check(victim.reply_head().status == 200, "the victim was not served before")
        got = [victim.take(50_000) for victim in victims]
        pool = held.enter_context(ThreadPoolExecutor(1))
        trial.revoke(*lines)
        start = time.monotonic()
        last = pool.submit(_last_read, trial, token, start)
        streams.extend(_ends(victims, start))
        reads.append(last.result())
    for begun in got:
        trial.check(not trial.content.wrong_bytes(begun), "wrong bytes")


def _ends(victims: list[RawConnection], start: float) -> list[float]:
    """Sip from each stream until all are reset; when each was, infinity if that took too long."""
    ends = [math.inf] * len(victims)
    while math.inf in ends and time.monotonic() - start < 2 * _SEEN_SECONDS:
        for number, victim in enumerate(victims):
            if ends[number] == math.inf and not victim.sip(2000):
                ends[number] = time.monotonic() - start if victim.ending == "reset" else math.inf
        time.sleep(0.01)
    return ends


def _last_read(trial: LeasedTrial, token: str, start: float) -> float:
    """Ask on until all workers refuse; seconds until the last answer that was none."""
    last, in_a_row = 0.0, 0
    while in_a_row < _IN_A_ROW:
        is_refused = _status(trial, token) == 401
        in_a_row = in_a_row + 1 if is_refused else 0
        last = last if is_refused else time.monotonic() - start
        if last > 2 * _SEEN_SECONDS:
            return math.inf
    return last
