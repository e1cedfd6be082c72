"""New tokens are verified within their share of time, clients by turns; those that were seen before never wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from tests.lease_tokens import KEYS, NOW, with_claims
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.token_verification import WAIT_SECONDS, TokenVerification
from aero_storage.errors import LeaseLimitError
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.revocations import read_revocations
from aero_storage.http.leases.verification import Lease, LeaseRules
from aero_storage.http.leases.verification_queue import MAX_WAITING, MAX_WAITING_OF_CLIENT

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

BAD = with_claims()[:-4] + "AAAA"


@attrs.define(eq=False)
class House:
    """A verification with clocks that stand still: each verification takes `cost` seconds."""

    cost: float = 0.0
    limit: int = 0
    clock: Clock = attrs.field(factory=Clock)
    leases: LeasesInForce = attrs.field(factory=lambda: LeasesInForce.of(parse_key_set(KEYS), LeaseRules()))
    verification: TokenVerification = attrs.field(init=False)
    looks: int = 0

    def __attrs_post_init__(self) -> None:
        self.verification = TokenVerification(
            self.leases, FailureLimit(self.limit), self.clock, self.steady, self.steady
        )

    def steady(self) -> float:
        """Every look at the clock takes a part of the cost, as verification looks at it before and behind."""
        self.looks += 1
        return self.clock.seconds() + self.looks * self.cost

    def use_up(self) -> None:
        """Spend the time of this second."""
        self.verification._budget.spend(1.0, self.steady())  # noqa: SLF001

    def wait(self, client: str, token: str) -> list[object]:
        """Let a token wait, and return the list in which its result will be."""
        results: list[object] = []
        self.waiting(client, token).addBoth(results.append)
        return results

    def waiting(self, client: str, token: str) -> Deferred[object]:
        return self.verification.verify(client, token)  # type: ignore[return-value]

    def advance(self, seconds: float, step: float = 0.01) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)


def token(name: str) -> str:
    return with_claims(jti=name)


def test_good_and_bad() -> None:
    """Within its time a token is verified at once: a good one is remembered, a bad one is not."""
    house = House()
    lease = house.verification.verify_now("a", token("x"))
    assert isinstance(lease, Lease)
    assert house.verification.verify_now("a", token("x")) is lease
    assert house.verification.verify_now("a", BAD) is LeaseResult.BAD_SIGNATURE
    assert house.verification.verify_now("a", "junk") is LeaseResult.MALFORMED
    assert len(house.leases.remembered) == 1


def test_the_time_is_used_up() -> None:
    """When the time of a second is used up, new tokens wait for the next; remembered ones do not."""
    house = House()
    lease = house.verification.verify_now("a", token("seen"))
    house.use_up()
    assert house.verification.verify_now("a", token("new")) is None
    assert house.verification.verify_now("a", token("seen")) is lease
    results = house.wait("a", token("new"))
    house.advance(0.9)
    assert results == []
    house.advance(0.2)
    assert isinstance(results[0], Lease)
    assert not house.clock.getDelayedCalls()


def test_nobody_overtakes() -> None:
    """While tokens wait, a newcomer waits behind them even if there is time."""
    house = House()
    house.use_up()
    at_once: list[object] = []

    def come(result: object) -> object:
        at_once.append(house.verification.verify_now("b", token("newcomer")))
        return result

    house.waiting("a", token("1")).addBoth(come)
    house.waiting("a", token("2")).addBoth(come)
    house.advance(1.2)
    assert at_once[0] is None
    assert isinstance(at_once[1], Lease)


def test_clients_take_turns() -> None:
    """A client with one token does not wait for all tokens of another."""
    house = House()
    house.use_up()
    order: list[object] = []
    for number in range(5):
        house.waiting("flood", token(f"f{number}")).addBoth(order.append)
    house.waiting("honest", token("h")).addBoth(order.append)
    house.advance(1.2)
    names = [one.name if isinstance(one, Lease) else "" for one in order]
    assert names == ["f0", "h", "f1", "f2", "f3", "f4"]


def test_equal_tokens_are_verified_once() -> None:
    """Of equal tokens that wait only the first takes time; all get the same lease."""
    house = House()
    house.use_up()
    results = [house.wait("a", token("same")) for _ in range(3)]
    house.advance(1.2)
    assert results[0][0] is results[1][0] is results[2][0]


def test_the_verifier_in_force() -> None:
    """A token that has waited is verified by the keys and revocations that are in force at its turn."""
    house = House()
    house.use_up()
    results = house.wait("a", token("gone"))
    house.leases.replace(revocations=read_revocations([b'{"jti": "gone"}'], NOW - 100_000))
    house.advance(1.2)
    assert results == [LeaseResult.REVOKED]


def test_a_wait_has_an_end() -> None:
    """A token that does not get its turn in time is refused, and nothing of it is left."""
    house = House()
    house.use_up()
    results = house.wait("a", token("late"))
    for _ in range(round(WAIT_SECONDS) + 1):
        house.use_up()
        house.clock.advance(1.0)
        house.use_up()
    assert isinstance(results[0], Failure)
    assert results[0].check(LeaseLimitError)
    assert house.verification.waiting == 0


def test_too_many_of_one_client() -> None:
    """A client that lets too many tokens wait is refused at once."""
    house = House()
    house.use_up()
    results = [house.wait("a", token(str(number))) for number in range(MAX_WAITING_OF_CLIENT + 1)]
    assert [len(one) for one in results] == [0] * MAX_WAITING_OF_CLIENT + [1]
    assert house.wait("b", token("b")) == []


def test_the_client_goes() -> None:
    """A token whose client has gone waits no more, and no timer is left."""
    house = House()
    house.use_up()
    results: list[object] = []
    waiting = house.waiting("a", token("x"))
    waiting.addBoth(results.append)
    waiting.cancel()
    assert isinstance(results[0], Failure)
    assert results[0].check(CancelledError)
    assert house.verification.waiting == 0
    assert not house.clock.getDelayedCalls()


@pytest.mark.parametrize("bad", ["junk", BAD])
def test_failures_are_limited(bad: str) -> None:
    """After so many bad tokens in a second none is verified of that client, but for those that were seen before."""
    house = House(limit=2)
    lease = house.verification.verify_now("a", token("seen"))
    assert [isinstance(house.verification.verify_now("a", bad), LeaseResult) for _ in range(3)] == [True, True, False]
    assert house.verification.has_failed_too_often("a")
    assert house.verification.verify_now("a", token("new")) is None
    assert house.verification.verify_now("a", token("seen")) is lease
    assert isinstance(house.verification.verify_now("b", token("new")), Lease)
    house.clock.advance(1.0)
    assert isinstance(house.verification.verify_now("a", token("newer")), Lease)


def test_failures_at_the_turn() -> None:
    """A client that has failed too often while its tokens waited is refused at their turns."""
    house = House(limit=1)
    house.use_up()
    results = [house.wait("a", one) for one in (BAD, token("x"), token("y"))]
    house.advance(1.1)
    assert results[0] == [LeaseResult.BAD_SIGNATURE]
    for one in results[1:]:
        assert isinstance(one[0], Failure)
        assert one[0].check(LeaseLimitError)


def test_what_verifying_takes() -> None:
    """Together new tokens take no more than 50 ms of a second, however many there are."""
    house = House(cost=0.001)
    verified = sum(house.verification.verify_now("a", token(str(number))) is not None for number in range(200))
    assert 20 <= verified <= 51


def turn(house: House) -> None:
    """Do what is due, as one turn of a reactor does: what comes due thereby is for the next."""
    for call in [one for one in house.clock.calls if one.getTime() <= house.clock.seconds()]:
        house.clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)


def test_several_in_one_turn() -> None:
    """In a flood a turn of the reactor takes long: as many tokens are verified in each as some milliseconds allow."""
    house = House()
    results = [house.wait(f"client {number}", token(f"t{number}")) for number in range(9)]
    turn(house)
    assert [len(result) for result in results] == [1] * 9
    assert not house.clock.getDelayedCalls()


def test_a_turn_has_an_end() -> None:
    """A turn ends after some milliseconds of verification, as others wait for it too; the next one goes on."""
    house = House(cost=0.0004)
    results = [house.wait(f"client {number}", token(f"t{number}")) for number in range(9)]
    turn(house)
    assert 1 < sum(map(len, results)) < 9
    turn(house)
    assert 4 < sum(map(len, results)) <= 9


def test_a_crowd_that_guesses() -> None:
    """More addresses than places show bad tokens again and again: a newcomer is not refused, and goes first."""
    house = House()
    crowd = [f"guesser {number}" for number in range(MAX_WAITING + 500)]
    for guesser in crowd:
        house.verification.verify_now(guesser, "junk")
    house.use_up()
    for guesser in crowd:
        house.wait(guesser, BAD)
    results = house.wait("newcomer", token("good"))
    house.advance(1.2)
    assert isinstance(results[0], Lease)
