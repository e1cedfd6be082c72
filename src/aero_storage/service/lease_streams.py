"""Builds what ends the responses of leases, and what limits them, by the settings."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.lease_limits import LeaseLimiter
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.metrics import Metrics
from aero_storage.settings import Settings
from aero_storage.streaming.throttle import Throttle, shared_bucket, throttle
from aero_storage.web.lease_watch import LeaseWatch, Stream


def watch_leases(
    leases: LeasesInForce, streams: Collection[Stream], clock: IReactorTime, settings: Settings
) -> LeaseWatch:
    """Return what ends those of the streams whose leases have ended, or are revoked."""
    return LeaseWatch(clock, streams, leases, settings.lease_stream_grace_secs)


def lease_limiter_of(settings: Settings, clock: IReactorTime, metrics: Metrics) -> LeaseLimiter | None:
    """Return what limits the requests of one lease, None without a limit."""
    most, rate = settings.max_streams_per_lease, settings.max_bytes_per_second_per_lease
    if settings.lease_keys_file is None or not (most or rate):
        return None
    make_bucket = partial(shared_bucket, rate, clock) if rate else None
    return LeaseLimiter(most, make_bucket, clock.seconds, refused=metrics.lease_overdrawn)


def throttle_of(settings: Settings, clock: IReactorTime) -> Throttle | None:
    """Return what limits the speed of connections, None without a limit."""
    per_lease = 0 if settings.lease_keys_file is None else settings.max_bytes_per_second_per_lease
    return throttle(clock, settings.max_bytes_per_second, settings.max_total_bytes_per_second, per_lease)
