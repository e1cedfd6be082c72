"""Gauge callbacks, evaluated on scrape, and the probe of the reactor's delay."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.delivery.admission import Admission
from aero_storage.logs.json_log import EventLog, JsonLines
from aero_storage.metrics import Gauge, Gauges
from aero_storage.streaming.waiting_bodies import WaitingBodies
from aero_storage.web.site import ImageSite

PROBE_SECONDS = 0.25
"""Interval of the probe: anything that blocks the reactor for longer is seen."""


def gauges_of(
    admission: Callable[[], Admission],
    site: Callable[[], ImageSite],
    bodies: Callable[[], WaitingBodies],
    current_catalog: CurrentCatalog,
) -> Gauges:
    """Return the gauges of the queue, the connections, the bodies that wait, and the catalog.

    The functions are called on scrape, as what they give is made later than the metrics.
    """
    return {
        Gauge.IN_FLIGHT: lambda: site().responses,
        Gauge.CONNECTIONS: lambda: len(site().connections),
        Gauge.PLACES_TAKEN: lambda: admission().taken,
        Gauge.PLACES_LIMIT: lambda: admission().max_concurrent_bytes_requests,
        Gauge.PLACES_USED: lambda: admission().used_ratio,
        Gauge.QUEUE: lambda: admission().waiting,
        Gauge.WAITING_BODIES: lambda: bodies().held,
        Gauge.WITHOUT_PLACE: lambda: admission().without_place,
        Gauge.CATALOG_INVALID: lambda: current_catalog.is_invalid,
    }


def lines_dropped_by(log: EventLog) -> Callable[[], int]:
    """Return what counts the lines that the log has dropped; only JsonLines drops any."""
    return lambda: log.dropped if isinstance(log, JsonLines) else 0


@attrs.define(eq=False)
class DelayProbe:
    """Sets a timer again and again and reports its lateness in seconds: for so long the reactor was blocked."""

    _clock: IReactorTime
    _report: Callable[[float], object]
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Set the timer."""
        due = self._clock.seconds() + PROBE_SECONDS
        self._timer = self._clock.callLater(PROBE_SECONDS, self._fire, due)

    def stop(self) -> None:
        """Cancel the timer, if it is set."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _fire(self, due: float) -> None:
        self._report(max(0.0, self._clock.seconds() - due))
        self.start()
