"""Revocations of leases: JSON lines, held in a table of 16 bytes for each slot (http.md §12).

A million of them take 32 MB for each process; a dictionary of texts takes 200. A look-up takes a microsecond. Names
are held by a hash of 64 bits, keyed anew in each process: a name that is not revoked counts as revoked once in 10^13
look-ups.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator

import attrs

from aero_storage import strict_json
from aero_storage.errors import JsonError, LeaseDocumentError
from aero_storage.http.leases.claims import Claims, time_of
from aero_storage.strict_json import Values

MAX_REVOCATIONS = 4_000_000
"""Limit of the revocations of one file that can still hit a lease."""

MAX_LINE_BYTES = 4096
"""Longest line."""

_EVER = float("inf")
_NEVER = float("-inf")
_FIRST_SLOTS = 1 << 10
_MASK = (1 << 64) - 1
_MAX_VALUES = 200
_PLAIN = re.compile(rb'\{ ?"(jti|kid)" ?: ?"([A-Za-z0-9._:/+=@-]++)"(?:, ?"at" ?: ?(?:0|[1-9][0-9]{0,17}))? ?\}\s*')
"""The usual line, also of `aero-storage lease revoke`; a parser takes five times as long for it."""


@attrs.frozen
class Revocation:
    """One line: `kind` is the claim or header field, `before` the time before which leases are revoked."""

    kind: str
    value: str
    before: float = _EVER


@attrs.define(eq=False)
class _Table:
    """A hash table with open addressing: names, and the time before which they are revoked; no entry is removed."""

    _names: array[int] = attrs.field(init=False, factory=lambda: array("Q", bytes(8 * _FIRST_SLOTS)))
    _times: array[float] = attrs.field(init=False, factory=lambda: array("d", bytes(8 * _FIRST_SLOTS)))
    _count: int = attrs.field(init=False, default=0)

    def __len__(self) -> int:
        return self._count

    def copy(self) -> _Table:
        """Return an equal table."""
        table = _Table()
        table._names, table._times, table._count = self._names[:], self._times[:], self._count
        return table

    def put(self, kind: str, value: str, before: float) -> None:
        if 3 * self._count >= 2 * len(self._names):
            self._grow()
        self._put(_name(kind, value), before)

    def get(self, kind: str, value: str) -> float:
        """Return the time before which that name is revoked."""
        name = _name(kind, value)
        slot = self._slot(name)
        return self._times[slot] if self._names[slot] else _NEVER

    def _put(self, name: int, before: float) -> None:
        slot = self._slot(name)
        if not self._names[slot]:
            self._names[slot], self._times[slot] = name, before
            self._count += 1
        elif before > self._times[slot]:
            self._times[slot] = before

    def _slot(self, name: int) -> int:
        """Return the slot of a name, or the free one where it would be."""
        names, last = self._names, len(self._names) - 1
        slot = name & last
        while (there := names[slot]) and there != name:
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        names, times, size = self._names, self._times, 16 * len(self._names)
        self._names, self._times, self._count = array("Q", bytes(size)), array("d", bytes(size)), 0
        for name, before in zip(names, times, strict=True):
            if name:
                self._put(name, before)


def _name(kind: str, value: str) -> int:
    return hash(f"{kind}:{value}") & _MASK or 1  # SipHash, with a key of this process; 0 is a free slot


@attrs.frozen(eq=False)
class Revocations:
    """The revocations of one file."""

    _table: _Table = attrs.field(factory=_Table)
    has_dropped: bool = False
    """Whether some were left out that could hit no lease when the file was read."""

    def __len__(self) -> int:
        """Number of revocations; several of one name count once."""
        return len(self._table)

    def revoke(self, kid: str, claims: Claims) -> bool:
        """Return whether a lease is revoked as a whole: by its key, its `jti`, or its user."""
        table = self._table
        if not table:
            return False
        names = (("kid", kid), ("jti", claims.identifier), ("sub", claims.subject))
        return any(value is not None and claims.issued_at < table.get(kind, value) for kind, value in names)

    def revoke_for(self, image_id: str, claims: Claims) -> bool:
        """Return whether a lease is revoked for one of its images."""
        return bool(self._table) and claims.issued_at < self._table.get("img", image_id)

    def images_of(self, claims: Claims) -> frozenset[str]:
        """Return those images of a lease for which it is revoked."""
        table = self._table
        if not table:
            return frozenset()
        return frozenset(image for image in claims.images if claims.issued_at < table.get("img", image))


NO_REVOCATIONS = Revocations()
"""Those of a daemon without a file of revocations."""


def read_revocations(
    lines: Iterable[bytes], oldest: float, known: Revocations = NO_REVOCATIONS, known_lines: int = 0
) -> Revocations:
    """Return the revocations of a file's lines, and of the `known_lines` lines before them, which are `known`.

    Those of leases issued before `oldest` are left out: such leases have expired. Raises LeaseDocumentError, with the
    number of the line, at the first bad one.
    """
    table, dropped = known._table.copy(), known.has_dropped  # noqa: SLF001 - of this module
    for revocation in parse_lines(lines, known_lines + 1):
        if revocation.before <= oldest:
            dropped = True
            continue
        table.put(revocation.kind, revocation.value, revocation.before)
        if len(table) > MAX_REVOCATIONS:
            raise LeaseDocumentError(f"more than {MAX_REVOCATIONS} revocations that are still in force")
    return Revocations(table, dropped)


def parse_lines(lines: Iterable[bytes], first: int = 1) -> Iterator[Revocation]:
    """Yield the revocation of each line; blank lines have none. Raises LeaseDocumentError at a bad one.

    The number of the first line is `first`.
    """
    for number, line in enumerate(lines, first):
        match = _PLAIN.fullmatch(line)
        if match is not None and len(line) <= MAX_LINE_BYTES:
            yield Revocation(match[1].decode("ascii"), match[2].decode("ascii"))
        elif line.strip(b" \t\r\n"):
            yield _parse(line, number)


def _parse(line: bytes, number: int) -> Revocation:
    if len(line) > MAX_LINE_BYTES:
        raise LeaseDocumentError(f"line {number}: longer than {MAX_LINE_BYTES} bytes")
    try:
        document = strict_json.load(line.strip(b" \t\r\n"), _MAX_VALUES)
    except JsonError as error:
        raise LeaseDocumentError(f"line {number}: {error}") from None
    if not isinstance(document, dict):
        raise LeaseDocumentError(f"line {number}: no JSON object")
    return _revocation(document, number)


def _revocation(values: Values, number: int) -> Revocation:
    kinds = [kind for kind in ("jti", "kid", "sub", "img") if kind in values]
    if len(kinds) != 1:
        raise LeaseDocumentError(f"line {number}: it must have one of jti, kid, sub and img")
    (kind,) = kinds
    value = values[kind]
    if not isinstance(value, str) or not value:
        raise LeaseDocumentError(f"line {number}: `{kind}` must be a text that is not empty")
    if kind in {"jti", "kid"}:
        return Revocation(kind, value)
    before = time_of(values.get("before"))
    if before is None:
        raise LeaseDocumentError(f"line {number}: `{kind}` needs `before`, a time in seconds since the epoch")
    return Revocation(kind, value, before)
