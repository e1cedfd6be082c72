"""Builds what asks for leases, from the settings."""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.delivery.access import LeaseAccess
from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.token_verification import TokenVerification
from aero_storage.errors import LeaseDocumentError, SettingsError
from aero_storage.http.leases.failure_limit import FailureLimit
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.lease_documents.files import keys_reader, revocations_reader
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
    verification = TokenVerification(leases, failures, clock, time.monotonic)
    return LeaseAccess(leases, verification, current_catalog, policy.trusted_proxy)


def leases_at_start(settings: Settings) -> LeasesInForce | None:
    """Return the leases in force by the files of the settings; None while leases are off. Raises SettingsError."""
    if settings.lease_keys_file is None:
        return None
    rules = LeaseRules(settings.lease_audience, settings.lease_max_lifetime_secs, settings.lease_leeway_secs)
    try:
        leases = LeasesInForce.of(keys_reader(settings.lease_keys_file).read_first(), rules)
        if settings.lease_revocations_file is not None:
            leases.replace(revocations=revocations_reader(settings.lease_revocations_file, rules).read_first())
    except LeaseDocumentError as error:
        raise SettingsError(str(error)) from error
    return leases
