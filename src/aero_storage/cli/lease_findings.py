"""Findings about leases for `catalog check`: private images without keys, broken files, keys whose time is over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from aero_storage.catalog.model import Image
from aero_storage.cli.lease_files import format_time
from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.lease_documents.files import keys_reader, revocations_reader
from aero_storage.lease_documents.reader import D, LeaseDocumentReader
from aero_storage.settings import Settings
from aero_storage.strict_json import show

LEASE_SETTINGS = ("lease_keys_file", "lease_revocations_file", "lease_max_lifetime_secs", "lease_leeway_secs")
"""The settings that the findings depend on."""

Finding = tuple[str, str]
"""The id of an image, or the name of a file, and what was found."""


@attrs.frozen
class LeaseFindings:
    """Problems would end the start of a daemon."""

    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def find_in_leases(images: Sequence[Image], settings: Settings) -> LeaseFindings:
    """Look at the files of leases as a daemon with these settings does, and for images that need them."""
    if settings.lease_keys_file is None:
        return LeaseFindings(warnings=tuple(_open_to_all(images)))
    rules = LeaseRules(max_lifetime=settings.lease_max_lifetime_secs, leeway=settings.lease_leeway_secs)
    found = _of_keys(settings.lease_keys_file, rules)
    if settings.lease_revocations_file is None:
        return found
    path = settings.lease_revocations_file
    revoked = _read(path, revocations_reader(path, rules))
    if not isinstance(revoked, LeaseFindings):
        return found
    return LeaseFindings(found.problems + revoked.problems, found.warnings + revoked.warnings)


def _open_to_all(images: Sequence[Image]) -> Iterator[Finding]:
    text = "it is private, and without --lease-keys-file it is open to everybody: public says only who may cache it"
    return ((image.id, text) for image in images if not image.public)


def _of_keys(path: Path, rules: LeaseRules) -> LeaseFindings:
    keys = _read(path, keys_reader(path))
    if isinstance(keys, LeaseFindings):
        return keys
    warnings = (*keys.warnings, *_overdue(keys, rules))
    return LeaseFindings(warnings=tuple((str(path), warning) for warning in warnings))


def _overdue(keys: KeySet, rules: LeaseRules) -> Iterator[str]:
    for kid in keys.overdue(time.time() - rules.longest_use):
        yield (
            f"the key {show(kid)} was replaced at {format_time(keys.retired[kid])}, so no good lease is of it, and "
            "it still verifies: take it out, as the next `aero-storage lease keys rotate` does"
        )


def _read(path: Path, reader: LeaseDocumentReader[D]) -> D | LeaseFindings:
    """Return the document of a file, or what is wrong with it; a file of another user is no problem of the daemon."""
    try:
        return reader.read_first()
    except LeaseDocumentError as error:
        finding = (str(path), str(error).removeprefix(f"{path}: "))
        if isinstance(error.__cause__, PermissionError):
            return LeaseFindings(warnings=(finding,))
        return LeaseFindings(problems=(finding,))
