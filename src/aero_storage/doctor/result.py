"""What a check has found, in words."""

from __future__ import annotations

import enum

import attrs


class Severity(enum.Enum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105 - no password
    WARNING = "warning"
    """Clients get on, but something is worse than it need be."""
    FAILURE = "failure"
    """Some client fails, or gets wrong bytes."""
    SKIPPED = "skipped"
    """Nothing was found out; `seen` says why."""


@attrs.frozen
class Result:
    """The words of one check; texts from the server are in them only through `brief`."""

    verdict: Severity
    seen: str
    means: str = ""
    """What that means to a client; empty unless something is wrong."""
    mend: str = ""
    """How to mend it; empty unless something is wrong."""


@attrs.frozen
class CheckResult:
    """An outcome and the check that it is of."""

    check: str
    title: str
    outcome: Result


class SkippedError(Exception):
    """A check cannot be made; the message says why, and what to look at instead."""


def good(seen: str) -> Result:
    """All is well."""
    return Result(Severity.PASS, seen)


def warning(seen: str, means: str, mend: str) -> Result:
    """Clients get on, but."""
    return Result(Severity.WARNING, seen, means, mend)


def failure(seen: str, means: str, mend: str) -> Result:
    """Some client does not get on."""
    return Result(Severity.FAILURE, seen, means, mend)


def skipped(why: str) -> Result:
    """It was not looked at."""
    return Result(Severity.SKIPPED, why)
