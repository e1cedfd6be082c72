"""The bounded memory of verified tokens: a look-up in place of a signature."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.http.leases.verification import Lease

MAX_REMEMBERED_BYTES = 32 << 20
"""Limit of the memory of a process, estimated: some 20,000 usual leases."""

_OVERHEAD_BYTES = 1200
"""Memory for a lease and its entry, beyond the token itself."""

_Entry = tuple[int, Lease]
"""A lease, and the number of the revocations by which it was judged."""

Judge = Callable[[Lease], Lease | None]
"""Returns a verified lease as it is by the revocations in force; None if it is revoked."""


@attrs.define(eq=False)
class RememberedLeases:
    """Leases by their tokens, in two generations: those not used since the younger one began are forgotten first.

    `forget` is for a change of keys or rules, `revise` for one of revocations. Times are not judged here.
    """

    _most: int = MAX_REMEMBERED_BYTES
    _young: dict[str, _Entry] = attrs.field(init=False, factory=dict, repr=False)
    _old: dict[str, _Entry] = attrs.field(init=False, factory=dict, repr=False)
    _young_bytes: int = attrs.field(init=False, default=0)
    _edition: int = attrs.field(init=False, default=0)
    """Number of the revocations in force."""
    _judge: Judge = attrs.field(init=False, default=lambda lease: lease)
    """Judges leases by these revocations."""

    def __len__(self) -> int:
        """Number of remembered leases."""
        return len(self._young) + len(self._old)

    def find(self, token: str) -> Lease | None:
        """Return the lease of a token that was verified before, or None."""
        entry = self._young.get(token)
        if entry is None:
            entry = self._old.pop(token, None)
            if entry is None:
                return None
            self._put(token, entry)
        edition, lease = entry
        return lease if edition == self._edition else self._judged(token, lease)

    def remember(self, token: str, lease: Lease) -> None:
        """Remember a verified token."""
        self._put(token, (self._edition, lease))

    def revise(self, judge: Judge) -> None:
        """Other revocations are in force: have `judge` look at each lease before it is used again."""
        self._edition, self._judge = self._edition + 1, judge

    def forget(self) -> None:
        """Forget all: keys or rules are others now."""
        self._young, self._old, self._young_bytes = {}, {}, 0

    def _put(self, token: str, entry: _Entry) -> None:
        cost = len(token) + _OVERHEAD_BYTES
        if 2 * (self._young_bytes + cost) > self._most:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[token] = entry
        self._young_bytes += cost

    def _judged(self, token: str, lease: Lease) -> Lease | None:
        """Judge a remembered lease once by the revocations in force; a revoked one stays, as it may be lifted."""
        judged = self._judge(lease)
        if judged is not None:
            self._young[token] = self._edition, judged
        return judged
