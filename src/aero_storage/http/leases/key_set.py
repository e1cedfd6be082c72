"""The keys that a daemon verifies leases with (http.md §12)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.jwk import Jwk, parse_jwk_set
from aero_storage.http.leases.signatures import Algorithm, Ed25519Key, HmacKey, VerificationKey
from aero_storage.strict_json import show


@attrs.frozen
class KeySet:
    """Keys by their names; equal sets have equal keys, in whatever order."""

    _keys: Mapping[str, VerificationKey]
    warnings: tuple[str, ...] = attrs.field(default=(), eq=False)
    """A line for each key that was skipped."""
    has_secrets: bool = attrs.field(default=False, eq=False)
    """Whether the file has secrets, so that nobody else may read it."""
    retired: Mapping[str, float] = attrs.field(factory=dict, eq=False)
    """When keys were replaced by others, by their names."""

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._keys)

    def find(self, kid: str) -> VerificationKey | None:
        """Return the key of that name, or None."""
        return self._keys.get(kid)

    def overdue(self, oldest: float) -> list[str]:
        """Return the names of the keys that were replaced before `oldest`, and still verify."""
        return [kid for kid, moment in self.retired.items() if moment < oldest]


def parse_key_set(data: bytes) -> KeySet:
    """Return the keys of a daemon's file. Raises LeaseDocumentError.

    A private Ed25519 key is refused: a daemon that only verifies must not be able to sign.
    """
    found = parse_jwk_set(data)
    if not found.keys:
        raise LeaseDocumentError("there is no usable key: none is of Ed25519 (kty OKP) or a secret (kty oct)")
    retired = {key.kid: key.retired_at for key in found.keys if key.retired_at is not None}
    return KeySet({key.kid: _verifying(key) for key in found.keys}, found.warnings, found.has_secrets, retired)


def _verifying(key: Jwk) -> VerificationKey:
    if key.algorithm is Algorithm.HS256:
        return HmacKey(key.kid, key.secret or b"")
    if key.secret is not None:
        raise LeaseDocumentError(
            f"the key {show(key.kid)} is a private one; the daemon takes what `aero-storage lease keys public` prints"
        )
    return Ed25519Key.of(key.kid, key.public)
