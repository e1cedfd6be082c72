"""Builds what asks for leases, from the settings."""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.settings import Settings


def access_of(
    settings: Settings,
    policy: Policy,
    leases: LeasesInForce | None,
    current_catalog: CurrentCatalog,
    clock: IReactorTime,
) -> LeaseAccess | None:
    """Return what says who may read private images; None while leases are off."""
    if leases is None:
        return None
    failures = FailureLimit(settings.lease_failures_per_sec)
    verification = TokenVerification(leases, failures, clock, time.monotonic, time.thread_time)
    return LeaseAccess(leases, verification, current_catalog, policy.trusted_proxy)
