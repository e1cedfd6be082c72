"""The bounded memory of verified tokens: a look-up in place of a signature."""

from __future__ import annotations

import attrs

from aero_storage.http.leases.verification import Lease

MAX_REMEMBERED_BYTES = 32 << 20
"""Limit of the memory of a process, estimated: some 20,000 usual leases."""

_OVERHEAD_BYTES = 1200
"""Memory for a lease and its entry, beyond the token itself."""


@attrs.define(eq=False)
class RememberedLeases:
    """Leases by their tokens, in two generations: those not used since the younger one began are forgotten first.

    `forget` is for a change of keys, revocations or rules. Times are not judged here.
    """

    _most: int = MAX_REMEMBERED_BYTES
    _young: dict[str, Lease] = attrs.field(init=False, factory=dict, repr=False)
    _old: dict[str, Lease] = attrs.field(init=False, factory=dict, repr=False)
    _young_bytes: int = attrs.field(init=False, default=0)

    def __len__(self) -> int:
        """Number of remembered leases."""
        return len(self._young) + len(self._old)

    def find(self, token: str) -> Lease | None:
        """Return the lease of a token that was verified before, or None."""
        lease = self._young.get(token)
        if lease is not None:
            return lease
        lease = self._old.pop(token, None)
        if lease is not None:
            self.remember(token, lease)
        return lease

    def remember(self, token: str, lease: Lease) -> None:
        """Remember a verified token."""
        cost = len(token) + _OVERHEAD_BYTES
        if 2 * (self._young_bytes + cost) > self._most:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[token] = lease
        self._young_bytes += cost

    def forget(self) -> None:
        """Forget all: keys, revocations or rules are others now."""
        self._young, self._old, self._young_bytes = {}, {}, 0
