"""The instruments of http.md §9 and the daemon's own, on a registry that is passed in.

Events are counted in plain dictionaries, on the reactor's thread only, and converted to Prometheus' families on each
exposition: the library's own counters, made for many threads, would take a tenth of the time of a small range. Gauges
are callbacks, evaluated on each exposition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from aero_storage.http.leases.results import LeaseResult
from aero_storage.metrics.counts import OTHER, Counts, Gauge, Labels, Tally, descriptors_used, empty_row, observe
from aero_storage.metrics.families import Families, Registry, generate_latest, process_samples

Mode = Literal["range", "full", "chunk", "virtual_chunk"]
LeaseDocument = Literal["keys", "revocations"]
_PARTIAL = 206
_OPENED = (LeaseResult.OK.value,)
Gauges = Mapping[Gauge, Callable[[], float]]


@attrs.define
class _BoundedLabel:
    """A label with bounded cardinality: the first `limit` values are kept, all others become OTHER."""

    limit: int
    _seen: dict[str, Labels] = attrs.field(init=False, factory=dict)

    def of(self, value: str) -> Labels:
        labels = self._seen.get(value)
        if labels is None:
            if len(self._seen) >= self.limit:
                return (OTHER,)
            labels = self._seen[value] = (value,)
        return labels


@attrs.define(eq=False)
class RangeTally:
    """Counts ranges of one image that were sent: two sums, and the times."""

    request: Labels
    """The labels of the request counter."""
    image: Labels
    """Those of the byte counter."""
    _row: list[float]
    _number: int = attrs.field(init=False, default=0)
    _bytes: int = attrs.field(init=False, default=0)

    def add(self, size: int, seconds: float) -> None:
        """Count a range of `size` bytes."""
        self._number += 1
        self._bytes += size
        observe(self._row, seconds)

    def take(self) -> tuple[int, int]:
        """Return how many there were since the last call, and their bytes."""
        taken = self._number, self._bytes
        self._number = self._bytes = 0
        return taken


class Metrics:
    """All counters of the daemon; its methods are named after the counted events.

    `gauges` are evaluated on each exposition; `lines_dropped` returns how many lines the log has dropped so far;
    `collect` puts in what is counted elsewhere, in threads.
    """

    def __init__(  # noqa: PLR0913 - the composition root has one call
        self,
        registry: Registry,
        version: str,
        max_image_ids: int,
        gauges: Gauges = MappingProxyType({}),
        lines_dropped: Callable[[], int] = lambda: 0,
        *,
        collect: Callable[[Counts], object] = lambda _counts: None,
    ) -> None:
        self.counts = Counts()
        self._gauges = gauges
        self._lines_dropped = lines_dropped
        self._collect = collect
        self._registry = registry
        self._version = version
        self._image_label = _BoundedLabel(max_image_ids)
        self._shown: Counts | None = None
        self._tallies: dict[tuple[Labels, Labels], RangeTally] = {}
        registry.register(Families(lambda: self.shown, version))

    @property
    def version(self) -> str:
        """The version of the daemon."""
        return self._version

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered, completely or not."""
        requests, durations = self.counts.requests, self.counts.durations
        key, timed = (route, method, str(status)), (route, method)
        requests[key] = requests.get(key, 0) + 1
        row = durations.get(timed)
        if row is None:
            row = durations[timed] = empty_row()
        observe(row, seconds)

    def tally_of_ranges(self, route: str, method: str, image_id: str) -> RangeTally:
        """Return what counts ranges of one image; they join the other counts with the next `snapshot`."""
        request, image = (route, method, str(_PARTIAL)), self._image_label.of(image_id)
        tally = self._tallies.get((request, image))
        if tally is None:
            row = self.counts.durations.setdefault((route, method), empty_row())
            tally = self._tallies[request, image] = RangeTally(request, image, row)
        return tally

    def _fold(self) -> None:
        """Add what was counted apart."""
        counts = self.counts
        for tally in self._tallies.values():
            number, size = tally.take()
            if number:
                _count(counts.requests, tally.request, number)
                _count(counts.bytes, tally.image, size)
                self.delivered("range", size)
                _count(counts.ranges, ("valid",), number)

    def broken_off(self, outcome: str) -> None:
        """A response was cut short, by the daemon (`aborted`, `lease_expired`, `lease_revoked`) or its client."""
        _count(self.counts.broken_off, (outcome,))

    def bytes_sent(self, image_id: str, count: int) -> None:
        """`count` body bytes of an image or chunk were sent."""
        if count:
            _count(self.counts.bytes, self._image_label.of(image_id), count)

    def delivered(self, mode: Mode, count: int) -> None:
        """The same `count` bytes, by the mode of the request."""
        self.counts.delivered[mode,] += count

    def range_answered(self, *, valid: bool) -> None:
        """A range request got its 206 (`valid`), or one of 412, 413, 416."""
        _count(self.counts.ranges, ("valid" if valid else "invalid",))

    def lease_answered(self, result: LeaseResult) -> None:
        """A request got the answer that hung on a lease, or on the want of one."""
        self.counts.leases[_OPENED if result is LeaseResult.OK else (result.value,)] += 1

    def store_failed(self, kind: str) -> None:
        """A disk or catalog failure of one of the kinds `meta`, `open_range`, `manifest`."""
        _count(self.counts.store_errors, (kind,))

    def extents_looked_for(self, result: str) -> None:
        """The extents of an image were looked for and `made`, or they are `unknown`, or that `failed`."""
        _count(self.counts.extents, (result,))

    def catalog_loaded(self, now: float) -> None:
        """A valid catalog was read; `now` in seconds since the epoch."""
        _count(self.counts.reloads, ("success",))
        self.counts.reloaded_at = now

    def catalog_failed(self) -> None:
        """The catalog on disk is invalid."""
        _count(self.counts.reloads, ("failure",))

    def certificate_loaded(self) -> None:
        """The files of an `ssl:` endpoint were read again, and found good."""
        _count(self.counts.certificate_reloads, ("success",))

    def certificate_failed(self) -> None:
        """The files of an `ssl:` endpoint were read again, and cannot be used."""
        _count(self.counts.certificate_reloads, ("failure",))

    def lease_document_loaded(self, document: LeaseDocument) -> None:
        """A good file of leases was read."""
        _count(self.counts.lease_reloads, (document, "success"))
        self.counts.lease_reloads.setdefault((document, "failure"), 0)

    def lease_document_failed(self, document: LeaseDocument) -> None:
        """A file of leases is broken."""
        _count(self.counts.lease_reloads, (document, "failure"))

    def profile_warmed(self, size: int) -> None:
        """Bytes that a boot profile names were brought into memory, or into the block cache."""
        _count(self.counts.profiles_warmed, (), size)

    def stream_stalled(self) -> None:
        """A response was reset, as its client had stalled."""
        _count(self.counts.slow, ("stalled",))

    def place_taken_back(self) -> None:
        """A stream gave its place up to a request that waits."""
        _count(self.counts.slow, ("place_taken_back",))

    def waiting_body_closed(self) -> None:
        """A response was reset to make room in memory for other bodies that wait."""
        _count(self.counts.slow, ("waiting_body",))

    def connection_refused(self, reason: str, times: int = 1) -> None:
        """A connection was refused, for one of the reasons `total`, `client`, `descriptors`."""
        _count(self.counts.refusals, (reason,), times)

    def request_rejected(self, reason: str) -> None:
        """A byte request got no place: `queue_full` (also without a queue), or `timed_out` in the queue."""
        _count(self.counts.rejections, (reason,))

    def lease_overdrawn(self) -> None:
        """A byte request was rejected, as too many of its lease are under way."""
        self.request_rejected("lease_share")

    def request_waited(self, seconds: float) -> None:
        """A byte request got a place after `seconds` in the queue."""
        observe(self.counts.queue_waits[()], seconds)

    def reactor_delayed(self, seconds: float) -> None:
        """A timer of the delay probe fired `seconds` late."""
        observe(self.counts.reactor_delays[()], seconds)

    def snapshot(self) -> Counts:
        """Return the counts of this process, with gauges and process samples."""
        self._fold()
        counts = self.counts
        counts.lines_dropped[()] = self._lines_dropped()
        self._collect(counts)
        counts.process = process_samples()
        counts.gauges = {gauge.value: read() for gauge, read in self._gauges.items()}
        counts.gauges[Gauge.DESCRIPTORS_USED.value] = descriptors_used(counts.process)
        return counts

    def exposition(self, total: Counts | None = None) -> bytes:
        """Return all metrics in the text format 0.0.4: of this process, or of a total that includes it."""
        self._shown = total
        try:
            return generate_latest(self._registry)
        finally:
            self._shown = None

    @property
    def shown(self) -> Counts:
        """Return the counts of the present exposition."""
        return self.snapshot() if self._shown is None else self._shown


def _count(tally: Tally, labels: Labels, count: float = 1) -> None:
    tally[labels] = tally.get(labels, 0) + count
