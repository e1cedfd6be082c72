"""Verifies tokens that were not seen before, within a share of the reactor's time (http.md §12).

A signature of Ed25519 takes 0.1 to 0.4 ms. New tokens have 50 ms of each second; beyond that they wait, and clients
take turns. Tokens that were verified before are found in a memory, and never wait.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.delivery.hearing import Standing
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.errors import LeaseLimitError
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.results import LeaseRefusedError
from aero_storage.http.leases.verification import Lease
from aero_storage.http.leases.verification_lanes import SUSPECT_SECONDS, VerificationLanes
from aero_storage.http.leases.verification_queue import VerificationBudget

WAIT_SECONDS = 10.0
"""For this time a token waits for its verification; then its request gets a 429."""

TURN_SECONDS = 0.005
"""The time of verifications in one turn of the reactor."""


@attrs.define(eq=False)
class _Waiting:
    """A token whose turn has not come."""

    client: str
    token: str = attrs.field(repr=False)
    done: Deferred[Standing]
    timeout: IDelayedCall | None = None


@attrs.define(eq=False)
class TokenVerification:
    """Verifies the tokens of all clients.

    `steady` is a clock in seconds that is never set, `busy` one of the seconds that this thread has worked: on a busy
    machine a verification takes longer than it costs.
    """

    _leases: LeasesInForce
    _failures: FailureLimit
    _clock: IReactorTime
    _steady: Callable[[], float]
    _busy: Callable[[], float]
    _budget: VerificationBudget = attrs.field(init=False, factory=VerificationBudget)
    _queue: VerificationLanes[_Waiting] = attrs.field(init=False, factory=VerificationLanes)
    _next_turn: IDelayedCall | None = attrs.field(init=False, default=None)

    @property
    def waiting(self) -> int:
        """Number of tokens that wait."""
        return len(self._queue)

    def has_failed_too_often(self, client: str) -> bool:
        """Whether a client has shown as many bad tokens in the last second as it may."""
        return self._failures.is_reached(client, self._steady())

    def remembered(self, token: str) -> Lease | None:
        """Return the lease of a token that was verified before, or None."""
        return self._leases.remembered.find(token)

    def verify_now(self, client: str, token: str) -> Standing | None:
        """Return what a token is, if nothing has to be waited for.

        None if others wait, if the time of this second is used up, or if the client has failed too often.
        """
        lease = self.remembered(token)
        if lease is not None:
            return lease
        now = self._steady()
        if self._failures.is_reached(client, now):
            return None
        try:
            self._leases.verifier.begin(token)
        except LeaseRefusedError as error:
            self._failures.failed(client, now)
            return error.result
        return None if len(self._queue) or self._budget.wait(now) else self._verify(client, token)

    def verify(self, client: str, token: str) -> Deferred[Standing]:
        """Return a Deferred of what a token is, once its turn has come; it can be cancelled.

        Fails with LeaseLimitError if that takes too long, if too many wait, or if the client has failed too often.
        """
        work = _Waiting(client, token, Deferred(lambda _: self._leave(work)))
        is_suspect = self._failures.has_failed_within(client, SUSPECT_SECONDS, self._steady())
        refused = self._queue.add(client, work, suspect=is_suspect)
        if refused is not work:
            work.timeout = self._clock.callLater(WAIT_SECONDS, self._time_out, work)
        if refused is not None:
            self._refuse(refused, "too many tokens wait for their verification")
        self._schedule()
        return work.done

    def _verify(self, client: str, token: str) -> Standing:
        leases, began = self._leases, self._busy()
        standing: Standing
        try:
            standing = leases.verifier.verify(token)
            leases.remembered.remember(token, standing)
        except LeaseRefusedError as error:
            standing = error.result
            self._failures.failed(client, self._steady())
        self._budget.spend(self._busy() - began, self._steady())
        return standing

    def _schedule(self) -> None:
        if self._next_turn is None and len(self._queue):
            self._next_turn = self._clock.callLater(self._budget.wait(self._steady()), self._take_turn)
        elif self._next_turn is not None and not len(self._queue):
            self._next_turn.cancel()
            self._next_turn = None

    def _take_turn(self) -> None:
        """Verify tokens for some milliseconds: others wait for this turn of the reactor too.

        One token a turn would be too few: in a flood, a turn takes a hundred milliseconds.
        """
        self._next_turn = None
        ends = self._steady() + TURN_SECONDS
        try:
            while (now := self._steady()) < ends and not self._budget.wait(now) and (work := self._queue.next()):
                self._decide(work)
        finally:
            self._schedule()

    def _decide(self, work: _Waiting) -> None:
        lease = self.remembered(work.token)
        if lease is None and self.has_failed_too_often(work.client):
            self._refuse(work, "the client has shown too many bad tokens")
            return
        standing = self._verify(work.client, work.token) if lease is None else lease
        _stop(work)
        work.done.callback(standing)

    def _time_out(self, work: _Waiting) -> None:
        work.timeout = None
        self._leave(work)
        self._refuse(work, "the token could not be verified in time")

    def _leave(self, work: _Waiting) -> None:
        self._queue.remove(work.client, work)
        _stop(work)
        self._schedule()

    def _refuse(self, work: _Waiting, message: str) -> None:
        _stop(work)
        work.done.errback(LeaseLimitError(message))


def _stop(work: _Waiting) -> None:
    timeout, work.timeout = work.timeout, None
    if timeout is not None:
        timeout.cancel()
