"""What a check has found, in words."""

from __future__ import annotations

import enum

import attrs


class Verdict(enum.Enum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105 - no password
    WARNING = "warning"
    """Clients get on, but something is worse than it need be."""
    FAILURE = "failure"
    """Some client fails, or gets wrong bytes."""
    SKIPPED = "skipped"
    """Nothing was found out; `seen` says why."""


@attrs.frozen
class Outcome:
    """The words of one check; texts from the server are in them only through `brief`."""

    verdict: Verdict
    seen: str
    means: str = ""
    """What that means to a client; empty unless something is wrong."""
    mend: str = ""
    """How to mend it; empty unless something is wrong."""


@attrs.frozen
class Finding:
    """An outcome and the check that it is of."""

    check: str
    title: str
    outcome: Outcome


class SkippedError(Exception):
    """A check cannot be made; the message says why, and what to look at instead."""


def good(seen: str) -> Outcome:
    """All is well."""
    return Outcome(Verdict.PASS, seen)


def warning(seen: str, means: str, mend: str) -> Outcome:
    """Clients get on, but."""
    return Outcome(Verdict.WARNING, seen, means, mend)


def failure(seen: str, means: str, mend: str) -> Outcome:
    """Some client does not get on."""
    return Outcome(Verdict.FAILURE, seen, means, mend)


def skipped(why: str) -> Outcome:
    """It was not looked at."""
    return Outcome(Verdict.SKIPPED, why)
