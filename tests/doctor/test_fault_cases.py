"""What goes wrong between a sound daemon and its clients is found, and the words say how to mend it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from tests.doctor.fault_cases import CASES, FaultCase
from tests.doctor.faulty_proxy import Answer, FaultyProxy, ProxyFault, Request

from aero_storage.doctor.checks.replicas import PAUSE_SECONDS
from aero_storage.doctor.result import Severity
from aero_storage.doctor.runner import DoctorReport


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_damage_is_found(case: FaultCase, examined: Callable[..., DoctorReport]) -> None:
    """Just the checks that the fault concerns complain, and the one that names it says how to mend it."""
    report = examined(case.fault)
    complaints = {finding.check: finding.result for finding in report.results if finding.result.means}
    assert set(complaints) == set(case.found)
    told = complaints[case.found[0]]
    assert case.remedy in told.remedy
    assert told.severity is (Severity.FAILURE if case.is_failure else Severity.WARNING)
    assert report.is_good is not case.is_failure


@pytest.mark.parametrize("path", ["/v1/images/disk.img", "/v1/images/disk.img/chunked/manifest.json"])
def test_replicas_that_follow(path: str, proxy: FaultyProxy, examined: Callable[..., DoctorReport]) -> None:
    """Replicas that differ while a change reaches them are asked again, and are no fault once they agree."""
    turns, waited = itertools.cycle("ab"), proxy.clock + PAUSE_SECONDS
    heads = 0

    def differ(request: Request, answer: Answer) -> Answer:
        nonlocal heads
        heads += request.target == path and request.method == "HEAD"
        is_asked = request.target == path and heads > (0 if "chunked" in path else 2)
        return answer.put(ETag=f'"{next(turns)}"') if is_asked and proxy.clock < waited else answer

    report = examined(ProxyFault(after=differ))
    complaints = {one.check for one in report.results if one.result.means}
    assert proxy.clock >= waited
    assert not complaints & {"replica-tags", "replica-versions"}


@pytest.mark.parametrize(("times", "severity"), [(0, Severity.PASS), (1, Severity.PASS), (9, Severity.WARNING)])
def test_answers_that_are_gathered(
    times: int, severity: Severity, proxy: FaultyProxy, examined: Callable[..., DoctorReport]
) -> None:
    """Who takes in large answers before they are passed on is found by the time; one slow answer is an accident."""
    left = [times]

    def gather(_request: Request, answer: Answer) -> Answer:
        if answer.status == 206 and len(answer.body) > 1 << 19 and left[0]:
            left[0] -= 1
            proxy.clock += 3
        return answer

    (found,) = [one for one in examined(ProxyFault(after=gather)).results if one.check == "streaming"]
    assert found.result.severity is severity
    assert ("proxy_buffering off" in found.result.remedy) is (severity is Severity.WARNING)
