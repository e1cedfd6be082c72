"""The two files of leases: one becomes a key set, the other revocations."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.jwk import MAX_KEY_SET_BYTES
from aero_storage.http.leases.key_set import KeySet, parse_key_set
from aero_storage.http.leases.revocations import MAX_LINE_BYTES, Revocations, read_revocations
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.lease_documents.reader import LeaseDocumentReader

Clock = Callable[[], float]


def keys_reader(path: Path, now: Clock = time.time, steady: Clock = time.monotonic) -> LeaseDocumentReader[KeySet]:
    """Return the reader of `--lease-keys-file`."""
    return LeaseDocumentReader(path, read_keys, now, steady)


def revocations_reader(
    path: Path, rules: LeaseRules, now: Clock = time.time, steady: Clock = time.monotonic
) -> LeaseDocumentReader[Revocations]:
    """Return the reader of `--lease-revocations-file`; the rules tell which lines can hit no lease any more.

    Of a file that has grown only the new lines are parsed: a million take three seconds.
    """

    def oldest(moment: float) -> float:
        return moment - rules.longest_stream

    def parse(file: BinaryIO, _status: os.stat_result, moment: float) -> Revocations:
        return read_revocations(lines_of(file), oldest(moment))

    def extend(known: Revocations, known_lines: int, file: BinaryIO, moment: float) -> Revocations:
        return read_revocations(lines_of(file), oldest(moment), known, known_lines)

    return LeaseDocumentReader(path, parse, now, steady, extend)


def read_keys(file: BinaryIO, status: os.stat_result, _now: float) -> KeySet:
    """Return the keys of an open file. Raises LeaseDocumentError, also for secrets that everybody may read."""
    keys = parse_key_set(file.read(MAX_KEY_SET_BYTES + 1))
    if keys.has_secrets and status.st_mode & stat.S_IROTH:
        raise LeaseDocumentError("it has secrets, and every user of this machine may read it; chmod o-r")
    return keys


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; of a line that is too long, pieces that are too long as well."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
