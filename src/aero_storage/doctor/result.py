"""The result of a check, in words."""

from __future__ import annotations

import enum

import attrs


class Severity(enum.Enum):
    """The verdict of a check."""

    PASS = "pass"  # noqa: S105 - no password
    WARNING = "warning"
    """Clients work, but something should be improved."""
    FAILURE = "failure"
    """Some clients fail, or get wrong bytes."""
    SKIPPED = "skipped"
    """The check was not made; `seen` has the reason."""


@attrs.frozen
class Result:
    """The texts of one result; texts from the server pass through `brief`."""

    severity: Severity
    seen: str
    means: str = ""
    """The consequence for clients; empty if all is well."""
    remedy: str = ""
    """The remedy; empty if all is well."""


@attrs.frozen
class CheckResult:
    """A result with the name and title of its check."""

    check: str
    title: str
    result: Result


class SkippedError(Exception):
    """A check cannot be made; the message has the reason, and names the check to look at instead."""


def good(seen: str) -> Result:
    """Return a result that passes."""
    return Result(Severity.PASS, seen)


def warning(seen: str, means: str, remedy: str) -> Result:
    """Return a warning: clients work, but something should be improved."""
    return Result(Severity.WARNING, seen, means, remedy)


def failure(seen: str, means: str, remedy: str) -> Result:
    """Return a failure: some clients do not work."""
    return Result(Severity.FAILURE, seen, means, remedy)


def skipped(why: str) -> Result:
    """Return the result of a check that was not made."""
    return Result(Severity.SKIPPED, why)
