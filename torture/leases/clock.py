"""Steps of the wall clock beside holders of leases: leases are judged by it, responses under way are not."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs
from tests.blackbox.harness import until
from tests.blackbox.raw_http import RawConnection, head

from torture.faults.clock import NO_LIBRARY, faked_clock, faketime_library, step_clock
from torture.leases.issuer import ED_KEY, HS_KEY
from torture.leases.trial import PRIVATE, LeasedTrial, leased_trial
from torture.outcome import MIB, Outcome

_HOUR, _DAY = 3600, 86_400
_SOON = 10.0


@attrs.frozen
class _Step:
    """A step, and what leases from now on say at that time."""

    to: str
    seconds: int
    short: int
    """The status of a lease for a quarter of an hour."""
    long: int
    """The status of a lease for a day, the longest."""


_STEPS = (
    _Step("+20m", 20 * 60, 401, 206),
    _Step("-20m", -20 * 60, 401, 401),
    _Step("+4h", 4 * _HOUR, 401, 206),
    _Step("-4h", -4 * _HOUR, 401, 401),
    _Step("+2d", 2 * _DAY, 401, 401),
    _Step("-365d", -365 * _DAY, 401, 401),
    _Step("+365d", 365 * _DAY, 401, 401),
)


def lease_clock_steps(count: int) -> Outcome:
    """Step the clock forth and back: leases end and begin with it, streams go on, and all is as before afterwards."""
    fault, tried = (
        "clock steps beside leases",
        f"steps of the wall clock, {', '.join(one.to for one in _STEPS)} in turn",
    )
    library = faketime_library()
    if library is None:
        return Outcome(fault, tried, skipped=NO_LIBRARY)
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        offset = Path(name) / "offset"
        offset.write_text("+0", encoding="ascii")
        with leased_trial("--lease-failures-per-sec=0", size=6 * MIB, env=_clock(library, offset)) as trial:
            before = trial.footprint()
            with trial.with_live_clients(1, "/v1/images/open"):
                for number in range(count):
                    _step(trial, offset, _STEPS[number % len(_STEPS)], ("bearer", "query", "cookie")[number % 3])
            after = trial.footprint_after(before)
            trial.check_alive()
            trial.check_secrets()
    saw = "leases were expired or not yet good at once, and good again; streams under way went on to their end"
    return trial.outcome(fault, tried, count, saw, (before, after))


def _clock(library: str, offset: Path) -> dict[str, str]:
    """Return the variables of a clock that is looked at once a second: threads wait for each other less."""
    kept = {name: value for name, value in faked_clock(library, offset).items() if name != "FAKETIME_NO_CACHE"}
    return {**kept, "FAKETIME_CACHE_DURATION": "1"}


def _step(trial: LeasedTrial, offset: Path, step: _Step, carrier: str) -> None:
    key = ED_KEY if carrier == "bearer" else HS_KEY
    known, fresh, long = key.lease(jti="known"), key.lease(jti="fresh"), key.lease(jti="long", lifetime=_DAY)
    for token in (known, fresh, long):
        trial.note(token)
    with ExitStack() as held:
        stream, idle = (
            held.enter_context(trial.daemon.dial(receive_buffer=4096)),
            held.enter_context(trial.daemon.dial()),
        )
        stream.send(head("GET", *_carried(known, carrier)))
        trial.check(stream.reply_head().status == 200, f"no answer before {step.to}")
        got = stream.take(100_000)
        trial.check(_status(idle, known, carrier) == 206, f"no range before {step.to}")
        step_clock(offset, step.to)
        trial.check(_clock_is(trial, step.seconds), f"{step.to}: the clock was not stepped")
        for name, token, status in (
            ("known", known, step.short),
            ("new", fresh, step.short),
            ("long", long, step.long),
        ):
            seen = _status(idle, token, carrier)
            trial.check(seen == status, f"{step.to}: {seen} to a {name} lease by {carrier}, not {status}")
        step_clock(offset, "+0")
        trial.check(_clock_is(trial, 0), "the clock was not put right")
        for name, token in (("known", known), ("new", fresh), ("long", long)):
            seen = _status(idle, token, carrier)
            trial.check(seen == 206, f"after {step.to}: {seen} to a {name} lease by {carrier}")
        got += stream.take(trial.content.size - len(got))
        trial.check(len(got) == trial.content.size, f"{step.to}: a stream was cut after {len(got)} bytes")
        trial.check(not trial.content.wrong_bytes(got), f"{step.to}: wrong bytes")


def _carried(token: str, carrier: str) -> tuple[str, Mapping[str, str]]:
    if carrier == "query":
        return f"{PRIVATE}?lease={token}", {}
    field = ("Authorization", f"Bearer {token}") if carrier == "bearer" else ("Cookie", f"aero-lease={token}")
    return PRIVATE, dict([field])


def _status(conn: RawConnection, token: str, carrier: str) -> int:
    target, fields = _carried(token, carrier)
    return conn.ask("GET", target, {**fields, "Range": "bytes=0-9"}).status


def _clock_is(trial: LeasedTrial, offset: float) -> bool:
    """Wait until the daemon's clock is off by so much, as its `Date` says."""

    def is_there() -> bool:
        date = trial.daemon.ask("/healthz")["Date"]
        seen = time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
        return abs(seen - time.time() - offset) < 30

    try:
        return until(is_there, _SOON)
    except AssertionError:
        return False
