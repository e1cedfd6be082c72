"""Runs all checks, the most significant first."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.doctor.check import Check
from aero_storage.doctor.checks import caching, chunked, cross_origin, images, ranges, server, validators
from aero_storage.doctor.result import CheckResult, Severity, skipped
from aero_storage.doctor.session import Session

CHECKS: tuple[Check, ...] = (
    server.REACHABLE,
    *server.CHECKS,
    *images.CHECKS,
    *ranges.CHECKS,
    *validators.CHECKS,
    *caching.CHECKS,
    *cross_origin.CHECKS,
    *chunked.CHECKS,
)

_PATIENCE = 3
"""Consecutive checks without an answer after which the rest are skipped: each would wait for its timeout."""


@attrs.frozen
class DoctorReport:
    """The results of all checks."""

    findings: tuple[CheckResult, ...]

    def count(self, verdict: Severity) -> int:
        """Return the number of checks with this verdict."""
        return sum(finding.outcome.verdict is verdict for finding in self.findings)

    @property
    def is_good(self) -> bool:
        """Whether no check failed."""
        return not self.count(Severity.FAILURE)


def run_checks(visit: Session, begin: Callable[[int, Check], None] = lambda _number, _check: None) -> DoctorReport:
    """Make all checks; `begin` is called with number and check before each. All faults are in the report."""
    findings: list[CheckResult] = []
    given_up = ""
    for number, check in enumerate(CHECKS, 1):
        if given_up:
            findings.append(CheckResult(check.name, check.title, skipped(given_up)))
            continue
        begin(number, check)
        findings.append(check.run(visit))
        given_up = _reason_to_stop(visit, findings)
    return DoctorReport(tuple(findings))


def _reason_to_stop(visit: Session, findings: list[CheckResult]) -> str:
    if findings[-1].check == server.REACHABLE.name and findings[-1].outcome.verdict is Severity.FAILURE:
        return "nobody answers: see reachable"
    if visit.client.silences >= _PATIENCE:
        return "the server has stopped answering"
    return ""
