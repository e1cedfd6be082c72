"""Has the listing that stands in for a catalog made anew before a request that finds it old (http.md §11).

A bucket that nobody asks for is not listed. The first request after a while waits for the listing; those that follow
keep it as new as it has to be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from typing_extensions import override

from aero_storage.delivery.missing import Renewal
from aero_storage.storage.objects.polled_documents import PolledDocuments
from aero_storage.storage.objects.shared_look import LATE_SECONDS, Flight


@attrs.define(eq=False)
class ListingOnDemand(Renewal):
    """Used on the reactor's thread; `check` reads the catalog if it has changed, and does not fail."""

    _documents: PolledDocuments
    _check: Callable[[], Awaitable[object]]
    _clock: IReactorTime
    _flight: Flight[None] | None = attrs.field(init=False, default=None)
    _is_away: bool = attrs.field(init=False, default=False)
    """Whether the last listing failed, or is late: nobody waits then, until there is one."""

    @override
    def is_due(self) -> bool:
        self._documents.is_asked = True
        if not self._documents.is_old():
            self._is_away = False
        elif not self._is_away:
            return True
        return False

    @override
    async def done(self) -> None:
        flight = self._flight or self._begin()
        waiter = flight.join()
        if not waiter.called:
            waiter.addTimeout(LATE_SECONDS, self._clock, onTimeoutCancel=self._late)
        await waiter

    def _begin(self) -> Flight[None]:
        flight = self._flight = Flight(self._clock.seconds())
        Deferred.fromCoroutine(_await(self._check)).addBoth(lambda _: self._ended(flight))
        return flight

    def _ended(self, flight: Flight[None]) -> None:
        self._flight = None
        self._is_away = self._documents.is_old()
        flight.end(None)

    def _late(self, _result: object, _seconds: float) -> None:
        self._is_away = True


async def _await(check: Callable[[], Awaitable[object]]) -> None:
    await check()
