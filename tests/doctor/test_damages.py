"""What goes wrong between a sound daemon and its clients is found, and the words say how to mend it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.doctor.damages import CASES, Case

from aero_storage.doctor.examination import Report
from aero_storage.doctor.finding import Verdict


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_damage_is_found(case: Case, examined: Callable[..., Report]) -> None:
    """Just the checks that the damage concerns complain, and the one that names it says how to mend it."""
    report = examined(case.damage)
    complaints = {finding.check: finding.outcome for finding in report.findings if finding.outcome.means}
    assert set(complaints) == set(case.found)
    told = complaints[case.found[0]]
    assert case.mend in told.mend
    assert told.verdict is (Verdict.FAILURE if case.is_failure else Verdict.WARNING)
    assert report.is_good is not case.is_failure
