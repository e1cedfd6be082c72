"""Clients that have shown a bad token wait behind those that have not."""

from __future__ import annotations

from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.verification_lanes import SUSPECT_SECONDS, VerificationLanes
from aero_storage.http.leases.verification_queue import MAX_WAITING


def test_a_crowd_of_suspects() -> None:
    """They fill their own queue: a newcomer finds a place, and its turn comes at once."""
    lanes = VerificationLanes[str]()
    for number in range(MAX_WAITING):
        assert lanes.add(f"guesser {number}", f"guess {number}", suspect=True) is None
    assert lanes.add("one more", "guess", suspect=True) == "guess"
    assert lanes.add("newcomer", "good", suspect=False) is None
    assert len(lanes) == MAX_WAITING + 1
    assert lanes.next() == "good"


def test_suspects_come_to_their_turn() -> None:
    """One turn of four is theirs, and all turns if nobody else waits."""
    lanes = VerificationLanes[str]()
    for number in range(4):
        lanes.add("suspect", f"s{number}", suspect=True)
    for number in range(6):
        lanes.add("other", f"o{number}", suspect=False)
    order = [lanes.next() for _ in range(11)]
    assert order == ["o0", "o1", "o2", "s0", "o3", "o4", "o5", "s1", "s2", "s3", None]


def test_work_that_nobody_wants() -> None:
    """It is taken out of either queue."""
    lanes = VerificationLanes[str]()
    lanes.add("a", "x", suspect=True)
    lanes.add("a", "y", suspect=False)
    assert [lanes.remove("a", work) for work in ("x", "y", "x")] == [True, True, False]
    assert len(lanes) == 0


def test_who_is_a_suspect() -> None:
    """A client that has failed of late, whatever the limit is."""
    for limit in (0, 10):
        failures = FailureLimit(limit)
        failures.failed("a", 100.0)
        assert failures.has_failed_within("a", SUSPECT_SECONDS, 100.0 + SUSPECT_SECONDS - 1)
        assert not failures.has_failed_within("a", SUSPECT_SECONDS, 100.0 + SUSPECT_SECONDS)
        assert not failures.has_failed_within("b", SUSPECT_SECONDS, 100.0)
