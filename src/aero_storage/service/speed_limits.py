"""Builds what limits the speed of connections, and what one lease may take, by the settings."""

from __future__ import annotations

from functools import partial

from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.lease_limits import LeaseLimiter
from aero_storage.metrics import Metrics
from aero_storage.settings import Settings
from aero_storage.streaming.throttle import Throttle, shared_bucket, throttle


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
