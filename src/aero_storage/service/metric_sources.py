"""Who knows what the metrics show of the present: asked for every exposition, so that no request pays for it."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.delivery.admission import Admission
from aero_storage.logs.json_log import EventLog, JsonLines
from aero_storage.metrics import Gauge, Metrics
from aero_storage.web.site import ImageSite

PROBE_SECONDS = 0.25
"""How often the reactor is tried: whatever holds it up for so long is seen."""


def show_state(metrics: Metrics, admission: Admission, site: ImageSite, current_catalog: CurrentCatalog) -> None:
    """Let the metrics see the queue, the connections and the catalog."""
    admission.rejected = metrics.request_rejected
    admission.waited = metrics.request_waited
    metrics.gauges.update(
        {
            Gauge.IN_FLIGHT: lambda: site.responses,
            Gauge.CONNECTIONS: lambda: len(site.connections),
            Gauge.PLACES_TAKEN: lambda: admission.taken,
            Gauge.PLACES_LIMIT: lambda: admission.max_concurrent_bytes_requests,
            Gauge.PLACES_USED: lambda: admission.used_ratio,
            Gauge.QUEUE: lambda: admission.waiting,
            Gauge.CATALOG_INVALID: lambda: current_catalog.error is not None,
        }
    )


def show_log(metrics: Metrics, log: EventLog) -> None:
    """Let the metrics see what the log drops; one that is not ours does not tell."""
    if isinstance(log, JsonLines):
        metrics.lines_dropped = lambda: log.dropped


@attrs.define(eq=False)
class DelayProbe:
    """Sets a timer again and again, and tells by how many seconds it was late: so long the reactor was held up."""

    _clock: IReactorTime
    _tell: Callable[[float], object]
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def start(self) -> None:
        """Begin."""
        due = self._clock.seconds() + PROBE_SECONDS
        self._timer = self._clock.callLater(PROBE_SECONDS, self._fire, due)

    def stop(self) -> None:
        """End; nothing if it has not begun."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _fire(self, due: float) -> None:
        self._tell(max(0.0, self._clock.seconds() - due))
        self.start()
