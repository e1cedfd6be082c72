"""Floods of new tokens from many addresses, beside a holder of a lease and beside newcomers with good ones."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from tests.blackbox.harness import environment, until
from tests.blackbox.raw_http import NoReplyError, head

from torture.leases.issuer import ED_KEY
from torture.leases.trial import PRIVATE, LeasedTrial, leased_trial
from torture.live_clients import live_clients
from torture.outcome import LiveResult, Outcome, merged_results

_ADDRESSES = 20
_RATES = (200, 1000)
"""Tokens a second of all clients together: the first is about what may be verified, the second much more."""
_REQUESTS = 400
"""Of the holder, in each round."""
_MOST_TIMES = 1.5
_MOST_SECONDS = 0.010
"""By so much the p99 may be higher in any case: other work on the machine adds more than half of two milliseconds."""
_TRIES = 3
"""Other work on the machine makes times worse, never better: so often it is tried whether they stay high."""
_NEWCOMER_SECONDS = 5.0
_NEWCOMERS = 5
_IN_CROWD_SECONDS = 8.0
"""A newcomer waits for a turn of each client: of 200 for 2 seconds, and longer where other work takes the time."""
_AS_FAST_AS_CAN_BE = 1_000_000
_CROWD_CONNECTIONS = 10
_CROWD_SECONDS = 5.0
"""After which all of a crowd has come."""


@attrs.frozen
class _Flood:
    """A flood, and the limit of failures that it meets."""

    limit: int
    rate: int
    addresses: int = _ADDRESSES
    connections: int = 2
    """Of each address."""

    def __str__(self) -> str:
        return f"{self.rate} tokens a second, {f'{self.limit} failures a second' if self.limit else 'no limit'}"


def token_floods(count: int) -> Outcome:
    """Flood in so many rounds: the holder waits 1.5 times as long at most, and newcomers get in within seconds."""
    said, lives, newcomers, complaints = list[str](), list[LiveResult](), list[float](), list[str]()
    trial: LeasedTrial
    for limit in (10, 0):
        with leased_trial(f"--lease-failures-per-sec={limit}") as trial:
            before = trial.footprint()
            for rate in _RATES:
                flood = _Flood(limit, rate)
                alone, beside = _compare(trial, flood, count, newcomers)
                lives.extend(beside)
                said.append(f"{flood}: {_p99(alone) * 1000:.1f} ms alone, {_p99(beside) * 1000:.1f} beside it")
            after = trial.footprint_after(before)
            trial.check_alive()
            trial.check_secrets()
        complaints += trial.complaints
    worst, trial.complaints = max(newcomers), complaints
    trial.check(worst <= _NEWCOMER_SECONDS, f"a newcomer with a good lease waited {worst:.1f} s")
    trial.live = merged_results(lives)
    saw = (
        f"p99 of a holder, medians of {count} rounds: {'; '.join(said)}; newcomers got in after {worst:.2f} s at most"
    )
    tried = f"floods of new tokens from {_ADDRESSES} addresses, at {' and '.join(map(str, _RATES))} a second"
    return trial.outcome("floods of tokens", tried, len(said), saw, (before, after))


def crowds(count: int) -> Outcome:
    """Flood from so many addresses as fast as answers come: the daemon has no time to spare, newcomers get in yet."""
    flood = _Flood(10, _AS_FAST_AS_CAN_BE, count, _CROWD_CONNECTIONS)
    with leased_trial(f"--lease-failures-per-sec={flood.limit}", "--max-connections=8000") as trial:
        before = trial.footprint()
        with _flooding(trial, flood):
            time.sleep(_CROWD_SECONDS)
            refused, start = _refused(trial), time.monotonic()
            newcomers = [_newcomer(trial, number) for number in range(_NEWCOMERS)]
            rate = (_refused(trial) - refused) / (time.monotonic() - start)
        after = trial.footprint_after(before)
        trial.check_alive()
        trial.check_secrets()
    usual, worst = statistics.median(newcomers), max(newcomers)
    trial.check(usual <= _IN_CROWD_SECONDS, f"newcomers with good leases waited {usual:.1f} s, at most {worst:.1f}")
    saw = f"newcomers got in after {usual:.1f} s, at most {worst:.1f}; {rate:,.0f} tokens were verified in a second"
    tried = f"addresses with {_CROWD_CONNECTIONS} connections each, which show new tokens as fast as answers come"
    return trial.outcome("crowds with tokens", tried, count, saw, (before, after))


def _p99(seen: list[LiveResult]) -> float:
    return statistics.median(one.p99 for one in seen)


def _compare(
    trial: LeasedTrial, flood: _Flood, rounds: int, newcomers: list[float]
) -> tuple[list[LiveResult], list[LiveResult]]:
    """Measure in turn without the flood and beside it; again, if it is too slow."""
    for _ in range(_TRIES):
        alone, beside = list[LiveResult](), list[LiveResult]()
        for _ in range(rounds):
            alone.append(_watch(trial))
            with _flooding(trial, flood):
                beside.append(_watch(trial))
                newcomers.extend(_newcomer(trial, number) for number in range(_NEWCOMERS))
        if is_served(alone, beside):
            return alone, beside
    trial.check(holds=False, text=f"{flood}: p99 {_p99(beside):.4f} s, alone {_p99(alone):.4f} s")
    return alone, beside


def is_served(alone: list[LiveResult], beside: list[LiveResult]) -> bool:
    """Return whether a holder waits little longer beside a flood than without."""
    return _p99(beside) <= max(_MOST_TIMES * _p99(alone), _p99(alone) + _MOST_SECONDS)


def _watch(trial: LeasedTrial) -> LiveResult:
    token = ED_KEY.lease(jti="holder")
    trial.note(token)
    with live_clients(trial.daemon.port, trial.content, 1, f"{PRIVATE}?lease={token}", forgiving=False) as watch:
        watch.wait_for(watch.requests + _REQUESTS)
    result = watch.result()
    for failure in result.failures:
        trial.check(holds=False, text=f"a holder: {failure}")
    trial.check(not result.wrong_bytes, f"a holder got {result.wrong_bytes} wrong bytes")
    return result


def _newcomer(trial: LeasedTrial, number: int) -> float:
    """Come from an address of one's own with a lease that nobody has seen; seconds until the answer."""
    token = ED_KEY.lease(jti=f"newcomer-{time.monotonic_ns()}")
    trial.note(token)
    start = time.monotonic()
    try:
        with trial.daemon.dial(source=f"127.0.1.{1 + number}") as conn:
            conn.send(head("GET", PRIVATE, {"Range": "bytes=0-9", "Authorization": f"Bearer {token}"}))
            status = conn.reply(patience=2 * _NEWCOMER_SECONDS).status
    except NoReplyError:
        status = 0
    trial.check(status == 206, f"status {status} to a newcomer with a good lease")
    return time.monotonic() - start


@contextmanager
def _flooding(trial: LeasedTrial, flood: _Flood) -> Iterator[None]:
    """Flood for the length of a with block, from a process of its own."""
    refused = _refused(trial)
    numbers = (trial.daemon.port, flood.rate, flood.addresses, flood.connections)
    words = [sys.executable, "-m", "torture.leases.flooder", *map(str, numbers)]
    root = Path(__file__).parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(words, cwd=root, env=environment({"PYTHONPATH": path}))
    try:
        until(lambda: _refused(trial) > refused + _ADDRESSES, 20)
        yield
        assert process.poll() is None, "the flood has ended"
    finally:
        process.kill()
        process.wait()


def _refused(trial: LeasedTrial) -> float:
    return trial.daemon.metrics().value("aero_storage_leases_total", result="bad_signature")
