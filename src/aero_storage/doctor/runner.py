"""Runs all checks, the most significant first."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.doctor.check import Check
from aero_storage.doctor.checks import (
    caching,
    chunked,
    content,
    cross_origin,
    images,
    lease_answers,
    leases,
    profiles,
    ranges,
    replicas,
    server,
    validators,
    versions,
)
from aero_storage.doctor.result import CheckResult, Severity, skipped
from aero_storage.doctor.session import Session

CHECKS: tuple[Check, ...] = (
    server.REACHABLE,
    *server.CHECKS,
    *images.CHECKS,
    *ranges.CHECKS,
    *content.CHECKS,
    *validators.CHECKS,
    *versions.CHECKS,
    *profiles.CHECKS,
    *caching.CHECKS,
    *cross_origin.CHECKS,
    *chunked.CHECKS,
    *leases.CHECKS,
    *lease_answers.CHECKS,
    *replicas.CHECKS,
)

_MAX_UNANSWERED = 3
"""Consecutive checks without an answer after which the rest are skipped: each would wait for its timeout."""


@attrs.frozen
class DoctorReport:
    """The results of all checks."""

    results: tuple[CheckResult, ...]

    def count(self, severity: Severity) -> int:
        """Return the number of checks with this verdict."""
        return sum(check_result.result.severity is severity for check_result in self.results)

    @property
    def is_good(self) -> bool:
        """Whether no check failed."""
        return not self.count(Severity.FAILURE)


def run_checks(session: Session, begin: Callable[[int, Check], None] = lambda _number, _check: None) -> DoctorReport:
    """Make all checks; `begin` is called with number and check before each. All faults are in the report."""
    results: list[CheckResult] = []
    stop_reason = ""
    for number, check in enumerate(CHECKS, 1):
        if stop_reason:
            results.append(CheckResult(check.name, check.title, skipped(stop_reason)))
            continue
        begin(number, check)
        results.append(check.run(session))
        stop_reason = _reason_to_stop(session, results)
    return DoctorReport(tuple(results))


def _reason_to_stop(session: Session, results: list[CheckResult]) -> str:
    if results[-1].check == server.REACHABLE.name and results[-1].result.severity is Severity.FAILURE:
        return "the server does not answer: see reachable"
    if session.client.is_overdue:
        return "the time is over; --timeout gives more"
    if session.client.unanswered_in_row >= _MAX_UNANSWERED:
        return "the server has stopped answering"
    return ""
