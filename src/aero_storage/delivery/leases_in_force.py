"""The keys, revocations and rules of leases that are in force, and the leases that they verified (http.md §12)."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.remembered import RememberedLeases
from aero_storage.http.leases.revocations import NO_REVOCATIONS, Revocations
from aero_storage.http.leases.verification import LeaseRules, LeaseVerifier


@attrs.define(eq=False)
class LeasesInForce:
    """Holds the verifier in force, another one after each change, and the leases that this one has verified."""

    verifier: LeaseVerifier
    remembered: RememberedLeases = attrs.field(factory=RememberedLeases)
    on_change: list[Callable[[], object]] = attrs.field(init=False, factory=list)
    """Called after each change, on the reactor's thread."""

    @classmethod
    def of(cls, keys: KeySet, rules: LeaseRules, revocations: Revocations = NO_REVOCATIONS) -> LeasesInForce:
        """Return these keys, rules and revocations in force."""
        return cls(LeaseVerifier(keys, revocations, rules))

    @property
    def rules(self) -> LeaseRules:
        """The operator's rules, which never change."""
        return self.verifier.rules

    def replace(self, *, keys: KeySet | None = None, revocations: Revocations | None = None) -> None:
        """Put other keys or revocations in force.

        Other keys have all leases forgotten. Other revocations have each lease judged by them before it is used
        again: signatures stay good, and thousands need not be verified at once.
        """
        before = self.verifier
        keys = before.keys if keys is None else keys
        revocations = before.revocations if revocations is None else revocations
        self.verifier = LeaseVerifier(keys, revocations, before.rules)
        if keys is before.keys:
            self.remembered.revise(self.verifier.revised)
        else:
            self.remembered.forget()
        for tell in self.on_change:
            tell()
