"""Resets responses whose leases have ended, or are revoked (http.md §12).

A lease is judged at the head of its request. A response that is under way for long goes on after its lease has ended,
for a time of grace, and not after its lease is revoked. Times of leases are wall-clock times: the rest of a lease's
time is read from that clock once, when the head of the response goes out, and measured by the steady clock then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from math import inf
from typing import Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.http.leases.revocations import Revocations
from aero_storage.http.leases.verification import Lease

LOOK_SECONDS = 0.25
"""Shortest interval of the looks for leases that have ended: so late may a reset be."""

SLICE_LOOKS = 256
"""Responses that are looked at in one turn of the reactor: within a millisecond."""

RESET_LOOKS = 16
"""A reset takes as long as so many looks."""


class Response(Protocol):
    """A response that is under way, or, before its head, a request that waits."""

    lease_until: float
    """When it is reset, on the steady clock; infinite before its head."""

    @property
    def lease(self) -> Lease | None:
        """The lease that opened it; None if it needed none."""
        ...

    @property
    def image_id(self) -> str | None:
        """The image that it is read from."""
        ...

    def end_lease(self, ending: Ending) -> None:
        """Reset the connection."""
        ...


class Stream(Protocol):
    """A response under way, or the rest of one that a client has not taken yet."""

    @property
    def response(self) -> Response | None:
        """The response that is under way; None if it is complete."""
        ...


Judge = Callable[[Response, Lease], Ending | None]
"""Says how a response is to end now; None if it goes on."""


@attrs.define(eq=False)
class _Round:
    """Looks at each stream once, in slices, and resets those that `judge` says are to end; then calls `done`.

    A round that is asked for while one is under way begins after it.
    """

    _clock: IReactorTime
    _streams: Collection[Stream]
    _judge: Judge
    _done: Callable[[], object] = lambda: None
    _left: deque[Stream] = attrs.field(init=False, factory=deque)
    _again: bool = attrs.field(init=False, default=False)
    _turn: IDelayedCall | None = attrs.field(init=False, default=None)

    @property
    def is_under_way(self) -> bool:
        return self._turn is not None

    def start(self) -> None:
        if self._turn is None:
            self._left.extend(self._streams)
            self._slice()
        else:
            self._again = True

    def stop(self) -> None:
        self._left.clear()
        self._again = False
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _slice(self) -> None:
        self._turn = None
        looks = SLICE_LOOKS
        try:
            while self._left and looks > 0:
                looks -= RESET_LOOKS if self._look_at(self._left.popleft()) else 1
        finally:  # a defect of one connection keeps no other one open
            self._go_on()

    def _go_on(self) -> None:
        if not self._left and self._again:
            self._again = False
            self._left.extend(self._streams)
        if self._left:
            self._turn = self._clock.callLater(0, self._slice)
        else:
            self._done()

    def _look_at(self, stream: Stream) -> bool:
        """Reset a stream if it is to end; return whether it was."""
        response = stream.response
        if response is None or (lease := response.lease) is None:
            return False
        ending = self._judge(response, lease)
        if ending is None:
            return False
        response.end_lease(ending)
        return True


@attrs.define(eq=False)
class LeaseWatch:
    """Watches `streams`, a collection that others fill, for leases that have ended or are revoked.

    A response goes on for the time of grace after its lease has ended, or after its head if that is later. One timer
    is set to the time at which the next response is due. `now` returns seconds since the epoch.
    """

    _clock: IReactorTime
    _streams: Collection[Stream]
    _leases: LeasesInForce
    _now: Callable[[], float] = time.time
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)
    _next: float = attrs.field(init=False, default=inf)
    """When the first of the responses is due that the round under way has left."""
    _revocations: Revocations = attrs.field(init=False)
    """Those by which all streams have been judged, or are being judged."""
    _expiry: _Round = attrs.field(init=False)
    _revoking: _Round = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._revocations = self._leases.verifier.revocations
        self._expiry = _Round(self._clock, self._streams, self._judge_time, self._wait)
        self._revoking = _Round(self._clock, self._streams, self._judge_revocation)
        self._leases.on_change.append(self._changed)

    def end_if_revoked(self, response: Response) -> bool:
        """Reset a request if its lease was revoked while it waited; return whether it was.

        Where a request has several tokens, it may have waited before it was known which of them is its lease.
        """
        lease = response.lease
        ending = None if lease is None else self._judge_revocation(response, lease)
        if ending is not None:
            response.end_lease(ending)
        return ending is not None

    def begin(self, response: Response, lease: Lease) -> None:
        """The head of a response has gone out, and it is under way."""
        remaining = max(0.0, lease.claims.expires_at - self._now())
        response.lease_until = self._clock.seconds() + remaining + self._leases.rules.stream_grace
        self._next = min(self._next, response.lease_until)
        if not self._expiry.is_under_way:
            self._wait()

    def stop(self) -> None:
        """No stream is left."""
        self._expiry.stop()
        self._revoking.stop()
        self._next = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        """Set the timer to the response that is due next."""
        if self._next == inf:
            return
        now, timer = self._clock.seconds(), self._timer
        due = max(self._next, now + LOOK_SECONDS)
        if timer is None:
            self._timer = self._clock.callLater(due - now, self._look)
        elif timer.getTime() > due:
            timer.reset(due - now)

    def _look(self) -> None:
        self._timer, self._next = None, inf
        self._expiry.start()

    def _judge_time(self, response: Response, _lease: Lease) -> Ending | None:
        if response.lease_until <= self._clock.seconds():
            return Ending.LEASE_EXPIRED
        self._next = min(self._next, response.lease_until)
        return None

    def _changed(self) -> None:
        """Look at all streams if there are other revocations; a key that is gone stops new requests only."""
        revocations = self._leases.verifier.revocations
        if revocations is not self._revocations:
            self._revocations = revocations
            self._revoking.start()

    def _judge_revocation(self, response: Response, lease: Lease) -> Ending | None:
        revocations, claims = self._revocations, lease.claims
        if revocations.revoke(lease.kid, claims) or revocations.revoke_for(response.image_id or "", claims):
            return Ending.LEASE_REVOKED
        return None
