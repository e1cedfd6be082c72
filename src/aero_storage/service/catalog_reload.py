"""Reloads the current catalog when the one on disk changes (http.md §3)."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.defer import DeferredLock

from aero_storage.catalog.current import Change, CurrentCatalog
from aero_storage.catalog.reader import CatalogReader, Reading
from aero_storage.disk import Disk
from aero_storage.errors import CatalogDeniedError, CatalogError, CatalogUnavailableError
from aero_storage.logs.json_log import EventLog
from aero_storage.metrics import Metrics

_JUST_NOW = 0.2
"""A look that began within so many seconds is not made anew for a request that misses an object."""


@attrs.define(eq=False)
class CatalogReloader:
    """Reads the catalog when it has changed; updates the current catalog, the log and the metrics.

    `now` returns seconds since the epoch.
    """

    _reader: CatalogReader
    _current_catalog: CurrentCatalog
    _disk: Disk
    _metrics: Metrics
    _log: EventLog
    _now: Callable[[], float]
    _looked_at: float = attrs.field(init=False, default=-math.inf)
    """When the last look began that believed nothing seen before."""
    _one_at_a_time: DeferredLock = attrs.field(init=False, factory=DeferredLock)

    def load(self) -> None:
        """Read the catalog now. Waits for the disk: call it before the reactor runs."""
        self._take(self._reader.read_if_changed(force=True), asked=False)

    async def check(self, *, asked: bool = False, anew: bool = False) -> None:
        """Read the catalog if it has changed; if the operator `asked`, read it in any case and log that.

        With `anew`, or if the operator asked, nothing is believed that was seen before now.
        """
        await self._one_at_a_time.acquire()
        if anew or asked:
            self._looked_at = self._now()
        try:
            reading = partial(self._reader.read_if_changed, force=asked, anew=asked or anew)
            self._take(await self._disk.run(reading, lane="catalog"), asked=asked)
        except Exception:  # noqa: BLE001 - a defect of ours must not end the watch; the catalog in force stays
            self._log.event("critical", "reading the catalog failed", {"traceback": traceback.format_exc()})
        finally:
            self._one_at_a_time.release()

    async def look_anew(self) -> None:
        """Read the catalog if it has changed, unless that was looked at a moment ago."""
        if not 0 <= self._now() - self._looked_at <= _JUST_NOW:
            await self.check(anew=True)

    def _take(self, reading: Reading | None, *, asked: bool) -> None:
        change = self._current_catalog.take(reading) if reading is not None else Change.NONE
        if change is Change.NONE and not asked:
            return
        if self._current_catalog.error is not None:
            self._failed()
        else:
            self._metrics.catalog_loaded(self._now())
            images = len(self._current_catalog.current.images)
            self._log.event("info", "catalog loaded", {"images": images, "changed": change is Change.LOADED})

    def _failed(self) -> None:
        error = self._current_catalog.error
        self._metrics.catalog_failed()
        self._metrics.store_failed("manifest")
        serving = "the last good one" if self._current_catalog.has_catalog else "none"
        self._log.event("error", _message_of(error), {"reason": str(error), "serving": serving})


def _message_of(error: CatalogError | None) -> str:
    if isinstance(error, CatalogUnavailableError):
        return "catalog out of reach"
    return "catalog refused: access denied" if isinstance(error, CatalogDeniedError) else "catalog invalid"
