"""The bounds of what tokens cost: remembered leases, the budget of new ones, turns, and failures."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lease_tokens import KEYS, token_of, with_claims

from aero_storage.http.leases.failure_limit import MAX_CLIENTS, FailureLimit
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.remembered import RememberedLeases
from aero_storage.http.leases.verification import Lease, LeaseVerifier
from aero_storage.http.leases.verification_queue import VerificationBudget, VerificationQueue

LEASE = LeaseVerifier(parse_key_set(KEYS)).verify(token_of())


def test_remembered() -> None:
    """A token is found until all are forgotten, by nothing but its very text."""
    memory = RememberedLeases()
    memory.remember("a.b.c", LEASE)
    assert memory.find("a.b.c") is LEASE
    assert memory.find("a.b.C") is None
    assert "a.b.c" not in repr(memory)
    memory.forget()
    assert memory.find("a.b.c") is None
    assert len(memory) == 0


def test_memory_is_bounded() -> None:
    """However many tokens come, the memory holds no more than its limit; the newest are there."""
    memory = RememberedLeases(100_000)
    for number in range(1000):
        memory.remember(f"{number:0>500}", LEASE)
        assert len(memory) * 1700 <= 100_000
    assert memory.find(f"{999:0>500}") is LEASE
    assert memory.find(f"{0:0>500}") is None


def test_used_ones_stay() -> None:
    """A token that is used goes on being known, whatever others come and go."""
    memory = RememberedLeases(100_000)
    memory.remember("used", LEASE)
    for number in range(1000):
        memory.remember(f"{number:0>500}", LEASE)
        assert memory.find("used") is LEASE


def test_estimate() -> None:
    """The estimate of a usual lease's memory is no less than what it takes."""

    def size(value: object) -> int:
        parts = [getattr(value, name) for name in getattr(type(value), "__slots__", ()) if name != "__weakref__"]
        inner = [*value] if isinstance(value, (tuple, frozenset)) else parts
        return sys.getsizeof(value) + sum(map(size, inner))

    verifier = LeaseVerifier(parse_key_set(KEYS))
    usual = verifier.verify(with_claims(img=["win98", "debian-12"], jti="0123456789abcdef", ver="v-" + "0" * 32))
    assert isinstance(usual, Lease)
    assert size(usual) + 150 < 1.5 * 1200


def test_budget() -> None:
    """Verifications begin until 50 ms of the last second are spent, and again as that time passes by."""
    budget, began = VerificationBudget(), []
    for step in range(30_000):
        now = step / 10_000
        if budget.wait(now) == 0:
            began.append(now)
            budget.spend(0.0004, now)
    for moment in (0.0, 0.5, 1.0, 1.7, 1.999):
        assert sum(0.0004 for one in began if moment <= one < moment + 1) <= 0.05
    assert sum(0.0004 for one in began if 1 <= one < 2) > 0.045


def test_wait_of_the_budget() -> None:
    """The wait that is told ends when a verification may begin, not a moment early."""
    budget = VerificationBudget()
    budget.spend(0.02, 10.0)
    assert budget.wait(10.0) == 0
    budget.spend(0.02, 10.3)
    wait = budget.wait(10.4)
    assert wait == pytest.approx(0.61)
    assert budget.wait(10.4 + wait - 0.001) > 0
    assert budget.wait(10.4 + wait + 0.001) == 0


def test_one_verification_is_always_possible() -> None:
    """A machine on which one verification takes more than the budget does one in a second."""
    budget = VerificationBudget()
    budget.spend(0.2, 1.0)
    assert budget.wait(1.5) == pytest.approx(0.51)
    assert budget.wait(2.1) == 0


@given(costs=st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.3)), max_size=60))
def test_any_budget(costs: list[tuple[float, float]]) -> None:
    """Whatever was spent, a wait is never negative, nor longer than until the last slice is a second old."""
    budget, now = VerificationBudget(), 0.0
    for cost, pause in costs:
        now += pause
        assert 0 <= budget.wait(now) <= 1.0101
        if not budget.wait(now):
            now += cost
            budget.spend(cost, now)
    assert budget.wait(now + 1.02) == 0


def all_of(queue: VerificationQueue[str]) -> list[str]:
    found = []
    while (work := queue.next()) is not None:
        found.append(work)
    return found


def test_turns() -> None:
    """Clients take turns; the work of one client goes in order."""
    queue: VerificationQueue[str] = VerificationQueue()
    for client, work in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")]:
        assert queue.add(client, work) is None
    assert len(queue) == 6
    assert all_of(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(queue) == 0


def test_newcomer_is_next() -> None:
    """A client with one token waits for one turn of each other client, however much they have waiting."""
    queue: VerificationQueue[str] = VerificationQueue()
    for number in range(40):
        queue.add(f"guesser-{number % 4}", f"guess-{number}")
    queue.add("newcomer", "honest")
    assert all_of(queue).index("honest") <= 4


def test_one_client_has_a_limit() -> None:
    """Of one client no more wait than its limit; the next is refused."""
    queue: VerificationQueue[str] = VerificationQueue(100, 2)
    assert [queue.add("a", work) for work in ("a1", "a2", "a3")] == [None, None, "a3"]
    queue.next()
    assert queue.add("a", "a4") is None


def test_full_queue() -> None:
    """Where all places are taken, the client with the most loses its last to one with clearly less."""
    queue: VerificationQueue[str] = VerificationQueue(4, 3)
    for work in ("a1", "a2", "a3", "b1"):
        queue.add(work[0], work)
    assert queue.add("c", "c1") == "a3"
    assert queue.add("d", "d1") == "a2", "two of a, one of b, one of c"
    assert queue.add("e", "e1") == "e1", "one of each"
    assert queue.add("a", "a4") == "a4"
    assert all_of(queue) == ["a1", "b1", "c1", "d1"]


def test_removal() -> None:
    """Work of which nobody wants the result any more takes no turn."""
    queue: VerificationQueue[str] = VerificationQueue()
    for work in ("a1", "a2", "b1"):
        queue.add(work[0], work)
    assert queue.remove("a", "a1")
    assert not queue.remove("a", "a1")
    assert not queue.remove("c", "c1")
    assert queue.remove("b", "b1")
    assert all_of(queue) == ["a2"]


@given(steps=st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["add", "next", "remove"])), max_size=80))
def test_any_order(steps: list[tuple[str, str]]) -> None:
    """Whatever is added and taken, nothing is lost or doubled, and both limits hold."""
    queue: VerificationQueue[tuple[str, int]] = VerificationQueue(6, 3)
    waiting: list[tuple[str, int]] = []
    for number, (client, step) in enumerate(steps):
        if step == "add":
            work = (client, number)
            waiting.append(work)
            refused = queue.add(client, work)
            if refused is not None:
                waiting.remove(refused)
        elif step == "next":
            taken = queue.next()
            assert (taken is None) == (not waiting)
            if taken is not None:
                waiting.remove(taken)
        else:
            mine = next((one for one in waiting if one[0] == client), (client, -1))
            assert queue.remove(client, mine) == (mine in waiting)
            waiting = [one for one in waiting if one != mine]
        assert len(queue) == len(waiting) <= 6
        assert all(sum(one[0] == name for one in waiting) <= 3 for name in "abcde")


def test_failures() -> None:
    """A client that has failed so often within a second is told; others are not, nor is it a second later."""
    limit = FailureLimit(3)
    for now in (0.0, 0.1, 0.5):
        assert not limit.is_reached("a", now)
        limit.failed("a", now)
    assert limit.is_reached("a", 0.5)
    assert not limit.is_reached("b", 0.5)
    assert limit.is_reached("a", 0.999)
    assert not limit.is_reached("a", 1.0)
    limit.failed("a", 1.05)
    assert limit.is_reached("a", 1.05)
    assert not limit.is_reached("a", 1.1)


def test_no_limit_of_failures() -> None:
    """With 0 there is no limit; who has failed is remembered all the same."""
    limit = FailureLimit(0)
    for _ in range(100):
        limit.failed("a", 0.0)
    assert not limit.is_reached("a", 0.0)
    assert not limit.is_reached("a", 0.0)


def test_clients_that_fail_are_bounded() -> None:
    """Of a flood from everywhere only so many clients are remembered; one that goes on failing stays."""
    limit = FailureLimit(1)
    limit.failed("often", 0.0)
    for number in range(MAX_CLIENTS - 1):
        limit.failed(str(number), 0.0)
    limit.failed("often", 0.0)
    limit.failed("one more", 0.0)
    assert limit.is_reached("often", 0.0)
    assert not limit.is_reached("0", 0.0)
    assert len(limit._failures) == MAX_CLIENTS  # noqa: SLF001 - what it holds is the point
