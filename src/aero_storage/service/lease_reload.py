"""Puts other keys and revocations in force when their files change (http.md §12)."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial

import attrs
from twisted.internet.defer import DeferredLock

from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.disk import Disk
from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.revocations import Revocations
from aero_storage.lease_documents.current import DocumentChange
from aero_storage.lease_documents.reader import D
from aero_storage.logs.json_log import EventLog
from aero_storage.metrics import Metrics
from aero_storage.service.lease_documents import LeaseDocuments, WatchedDocument

POLL_SECONDS = 0.5
"""Interval of the looks at the files: a change must take effect within one second."""

_LANE = "leases"


@attrs.define(eq=False)
class LeaseReloader:
    """Reads the files when they have changed; updates the documents in force, the log and the metrics.

    `now` returns seconds since the epoch.
    """

    _documents: LeaseDocuments
    _disk: Disk
    _metrics: Metrics
    _log: EventLog
    _now: Callable[[], float]
    _skipped: tuple[str, ...] = attrs.field(init=False, default=())
    _has_looked: bool = attrs.field(init=False, default=False)
    _one_at_a_time: DeferredLock = attrs.field(init=False, factory=DeferredLock)

    @property
    def in_force(self) -> LeasesInForce:
        """The verifier in force, and the leases that it has verified."""
        return self._documents.in_force

    def tell_first(self) -> None:
        """Tell log and metrics of the documents that were read at the start."""
        keys, revocations = self._documents.keys, self._documents.revocations
        self._loaded(keys, is_changed=True)
        self._warn_of_skipped(keys.current.document)
        if revocations is not None:
            self._loaded(revocations, is_changed=True)

    async def check(self, *, asked: bool = False) -> None:
        """Read the files that have changed; if the operator `asked`, read them in any case and log that.

        The first look reads them, too: since the start the process may have changed its user.
        """
        await self._one_at_a_time.acquire()
        try:
            forced = asked or not self._has_looked
            self._has_looked = True
            await self._check_keys(self._documents.keys, asked=asked, forced=forced)
            if self._documents.revocations is not None:
                await self._check_revocations(self._documents.revocations, asked=asked, forced=forced)
        except Exception:  # noqa: BLE001 - a defect of ours must not end the watch; the documents in force stay
            self._log.event("critical", "reading lease files failed", {"traceback": traceback.format_exc()})
        finally:
            self._one_at_a_time.release()

    async def _check_keys(self, watched: WatchedDocument[KeySet], *, asked: bool, forced: bool) -> None:
        is_replaced = await self._is_replaced(watched, asked=asked, forced=forced)
        self._warn_of_skipped(watched.current.document)
        if is_replaced:
            self.in_force.replace(keys=watched.current.document)

    async def _check_revocations(self, watched: WatchedDocument[Revocations], *, asked: bool, forced: bool) -> None:
        if await self._is_replaced(watched, asked=asked, forced=forced):
            self.in_force.replace(revocations=watched.current.document)

    async def _is_replaced(self, watched: WatchedDocument[D], *, asked: bool, forced: bool) -> bool:
        """Read a file if it has changed, tell the effect, and return whether it holds another document now."""
        looking = partial(watched.reader.read_if_changed, force=forced)
        reading = await self._disk.run(looking, lane=_LANE)
        if reading is None:
            return False
        change = watched.current.take(reading)
        if change is DocumentChange.NONE and not asked:
            return False
        if watched.current.error is not None:
            self._failed(watched)
        else:
            self._loaded(watched, is_changed=change is DocumentChange.LOADED)
        return change is DocumentChange.LOADED

    def _loaded(self, watched: WatchedDocument[D], *, is_changed: bool) -> None:
        watched.read_at = self._now()
        self._metrics.lease_document_loaded(watched.name)
        number = len(watched.current.document)
        self._log.event("info", f"lease {watched.name} loaded", {watched.name: number, "changed": is_changed})

    def _failed(self, watched: WatchedDocument[D]) -> None:
        self._metrics.lease_document_failed(watched.name)
        fields = {"reason": str(watched.current.error), "in_force": "the last good one"}
        self._log.event("error", f"lease {watched.name} invalid", fields)

    def _warn_of_skipped(self, keys: KeySet) -> None:
        """Tell which keys are of no use, once for each change of them."""
        if keys.warnings != self._skipped:
            self._skipped = keys.warnings
            for warning in keys.warnings:
                self._log.event("warn", "lease key skipped", {"reason": warning})
