"""Limits of one lease in a process: of its requests for bytes at once, and of bytes a second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import attrs

from aero_storage.errors import LeaseOverdrawnError
from aero_storage.http.leases.verification import Lease, LeaseIdentity
from aero_storage.streaming.throttle import SharedBucket


@attrs.define(eq=False)
class LeaseUse:
    """The requests of one lease that are under way; the holder of a use releases it once."""

    _limiter: LeaseLimiter
    identity: LeaseIdentity
    bucket: SharedBucket | None
    """Limits the speed of all of them together; None: no limit."""
    requests: int = 0

    def release(self) -> None:
        """One of the requests has ended."""
        self.requests -= 1
        if not self.requests:
            self._limiter._end(self)  # noqa: SLF001 - two halves of one idea


@attrs.define(eq=False)
class LeaseLimiter:
    """Counts the requests for bytes of each lease, and has the buckets that limit their speed.

    `max_streams` is the most of one lease at once, 0 for any number; `make_bucket` is None without a limit of speed.
    Without requests a lease is forgotten, its bucket once that is full again.
    """

    _max_streams: int
    _make_bucket: Callable[[], SharedBucket] | None
    _clock: Callable[[], float]
    _refused: Callable[[], object] = attrs.field(kw_only=True, default=lambda: None)
    """Called when a lease has too many requests under way."""
    _uses: dict[LeaseIdentity, LeaseUse] = attrs.field(init=False, factory=dict)
    _unused: OrderedDict[LeaseIdentity, float] = attrs.field(init=False, factory=OrderedDict)
    """Leases without requests, and when their buckets will be full, in the order of these times."""

    def take(self, lease: Lease) -> LeaseUse:
        """Count one request more of a lease until it is released. Raises LeaseOverdrawnError."""
        self._forget_unused()
        identity = lease.identity
        use = self._uses.get(identity)
        if use is None:
            bucket = None if self._make_bucket is None else self._make_bucket()
            use = self._uses[identity] = LeaseUse(self, identity, bucket)
        elif self._max_streams and use.requests >= self._max_streams:
            self._refused()
            raise LeaseOverdrawnError("the lease has too many requests for bytes under way")
        if not use.requests:
            self._unused.pop(identity, None)
        use.requests += 1
        return use

    def _end(self, use: LeaseUse) -> None:
        if use.bucket is None:
            del self._uses[use.identity]
        else:
            self._unused[use.identity] = self._clock() + use.bucket.fill_seconds

    def _forget_unused(self) -> None:
        unused, now = self._unused, self._clock()
        while unused and next(iter(unused.values())) <= now:
            identity, _ = unused.popitem(last=False)
            del self._uses[identity]
