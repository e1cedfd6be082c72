"""Whether a test passes with an outcome of a fault."""

from __future__ import annotations

import os

import pytest
from torture.outcome import Outcome


def assert_passed(outcome: Outcome) -> Outcome:
    """Skip what cannot be tried here, unless this is CI; fail with all that was wrong."""
    if outcome.skipped and not os.environ.get("CI"):
        pytest.skip(outcome.skipped)
    assert not outcome.skipped
    assert not outcome.complaints, "\n".join(outcome.complaints)
    return outcome
