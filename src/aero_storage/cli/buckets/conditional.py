"""Finds out whether a store has conditional writes, by trying; nothing of it stays.

A store that does not know the conditions ignores them, and an answer of 200 says nothing. So a write that has to be
refused is tried too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import attrs

from aero_storage.cli.buckets.keys import OURS, new_token
from aero_storage.errors import (
    AeroStorageError,
    OperatorError,
    PreconditionFailedError,
    PreconditionUnsupportedError,
)
from aero_storage.storage.objects.origin import Origin, Pin

PROBES = f"{OURS}/probe"
"""The directory of keys of the writes that try the store."""

_LONG_NS = 3600 * 10**9
_OTHER = Pin('"00000000000000000000000000000000"')


@attrs.frozen
class Tried:
    """Facts of a store that writes to it have shown."""

    is_conditional: bool
    now_ns: int
    """The time by the clock of the store, in nanoseconds since the epoch; 0 if it tells none."""


def try_store(origin: Origin) -> Tried:
    """Write an object of our own under conditions that hold, and that do not hold; remove it again."""
    key = f"{PROBES}/{new_token()}"
    try:
        is_conditional = _obeys(origin, key)
        now_ns = origin.head(key).modified_ns
        origin.delete(_left_by_killed_commands(origin, now_ns))
        return Tried(is_conditional, now_ns)
    finally:
        with suppress(AeroStorageError):
            origin.delete([key])


def _left_by_killed_commands(origin: Origin, now_ns: int) -> Iterator[str]:
    for listed in origin.list(PROBES, delimiter=False):
        if listed.status is not None and now_ns - listed.status.modified_ns > _LONG_NS:
            yield listed.key


def _obeys(origin: Origin, key: str) -> bool:
    try:
        pin = origin.put_if(key, b"1", None)
        if not (_is_refused(origin, key, b"2", None) and _is_refused(origin, key, b"3", _OTHER)):
            return False
        origin.put_if(key, b"4", pin)
    except PreconditionUnsupportedError:
        origin.put(key, b"1")
        return False
    return True


def _is_refused(origin: Origin, key: str, data: bytes, expected: Pin | None) -> bool:
    try:
        origin.put_if(key, data, expected)
    except PreconditionFailedError:
        return True
    return False


def require_conditional(origin: Origin, *, single_writer: bool) -> Tried:
    """Try the store. Raises OperatorError if it has no conditional writes, unless nobody else writes."""
    tried = try_store(origin)
    if not tried.is_conditional and not single_writer:
        raise OperatorError(
            f"{origin.name}: the store has no conditional writes, so two commands at once may undo each other's "
            "work; say --single-writer if nobody else writes there meanwhile"
        )
    return tried
