"""Reads keys and revocations at the start, and puts them in force; a broken file ends the start (http.md §12)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic

import attrs

from aero_storage.delivery.leases_in_force import LeasesInForce
from aero_storage.errors import LeaseDocumentError, SettingsError
from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.revocations import NO_REVOCATIONS, Revocations
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.lease_documents.current import CurrentDocument
from aero_storage.lease_documents.files import Clock, keys_reader, revocations_reader
from aero_storage.lease_documents.reader import D, LeaseDocumentReader
from aero_storage.metrics import Gauge, Gauges, LeaseDocument
from aero_storage.settings import Settings

_NO_ORIGINS: Mapping[str, str] = MappingProxyType({})

_REMEDIES: Mapping[LeaseDocument, str] = {
    "keys": "the daemon takes what `aero-storage lease keys public --out FILE` writes",
    "revocations": "each line is a JSON object, as `aero-storage lease revoke` writes it",
}
_REMEDIES_WITHOUT_FILE: Mapping[LeaseDocument, str] = {
    "keys": "name the right one, or write it: aero-storage lease keys public --out FILE",
    "revocations": "name the right one, or create it: it may be empty",
}


@attrs.define(eq=False)
class WatchedDocument(Generic[D]):
    """One of the files, with the document of it that is in force."""

    name: LeaseDocument
    """Its name in log and metrics."""
    reader: LeaseDocumentReader[D]
    current: CurrentDocument[D]
    read_at: float = 0.0
    """When it was last read and found good, in seconds since the epoch."""


@attrs.frozen(eq=False)
class LeaseDocuments:
    """The documents of a daemon that asks for leases."""

    in_force: LeasesInForce
    keys: WatchedDocument[KeySet]
    revocations: WatchedDocument[Revocations] | None


def rules_of(settings: Settings) -> LeaseRules:
    """The part of the settings that leases are verified by."""
    return LeaseRules(
        settings.lease_audience,
        settings.lease_max_lifetime_secs,
        settings.lease_leeway_secs,
        settings.lease_stream_grace_secs,
    )


def read_lease_documents(
    settings: Settings,
    origins: Mapping[str, str] = _NO_ORIGINS,
    now: Clock = time.time,
    steady: Clock = time.monotonic,
) -> LeaseDocuments | None:
    """Read the files that the settings name; None without a file of keys, as leases are off then.

    Waits for the disk. Raises SettingsError with one line if a file cannot be used; `origins` say where its name came
    from. `now` returns seconds since the epoch, `steady` those of a clock that is never set.
    """
    if settings.lease_keys_file is None:
        return None
    rules = rules_of(settings)
    keys = _read_first("keys", keys_reader(settings.lease_keys_file, now, steady), origins)
    revocations = None
    if settings.lease_revocations_file is not None:
        reader = revocations_reader(settings.lease_revocations_file, rules, now, steady)
        revocations = _read_first("revocations", reader, origins)
    revoked = NO_REVOCATIONS if revocations is None else revocations.current.document
    return LeaseDocuments(LeasesInForce.of(keys.current.document, rules, revoked), keys, revocations)


def _read_first(
    name: LeaseDocument, reader: LeaseDocumentReader[D], origins: Mapping[str, str]
) -> WatchedDocument[D]:
    try:
        document = reader.read_first()
    except LeaseDocumentError as error:
        where = origins.get(f"lease_{name}_file", f"setting lease_{name}_file")
        raise SettingsError(f"{where}: {error}{_remedy(name, error.__cause__)}") from error
    return WatchedDocument(name, reader, CurrentDocument(document))


def _remedy(name: LeaseDocument, cause: BaseException | None) -> str:
    if isinstance(cause, FileNotFoundError):
        return f"; {_REMEDIES_WITHOUT_FILE[name]}"
    if isinstance(cause, PermissionError):
        return "; let the user of the daemon read it"
    is_told = isinstance(cause, OSError) or "aero-storage" in str(cause)
    return "" if is_told else f"; {_REMEDIES[name]}"


def gauges_of_leases(documents: LeaseDocuments | None, now: Clock) -> Gauges:
    """Return the gauges of the documents; `now` returns seconds since the epoch."""
    if documents is None:
        return {}
    keys, revocations, rules = documents.keys, documents.revocations, documents.in_force.rules
    gauges: dict[Gauge, Callable[[], float]] = {
        Gauge.LEASE_KEYS: lambda: len(keys.current.document),
        Gauge.LEASE_KEYS_OVERDUE: lambda: len(keys.current.document.overdue(now() - rules.longest_use)),
        Gauge.LEASE_KEYS_INVALID: lambda: keys.current.error is not None,
        Gauge.LEASE_KEYS_READ_AT: lambda: keys.read_at,
    }
    if revocations is not None:
        gauges |= {
            Gauge.LEASE_REVOCATIONS: lambda: len(revocations.current.document),
            Gauge.LEASE_REVOCATIONS_INVALID: lambda: revocations.current.error is not None,
            Gauge.LEASE_REVOCATIONS_READ_AT: lambda: revocations.read_at,
        }
    return gauges
