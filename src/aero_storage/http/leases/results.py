"""How a request's leases are answered: the contract's words, with status and challenge (http.md §12)."""

from __future__ import annotations

import enum

from aero_storage.errors import AeroStorageError


class LeaseResult(enum.StrEnum):
    """The words of `aero_storage_leases_total`, in the order in which they are decided."""

    OK = "ok"
    MISSING = "missing"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    TOO_LONG = "too_long"
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET = "not_yet"
    WRONG_SCOPE = "wrong_scope"
    WRONG_IMAGE = "wrong_image"
    WRONG_VERSION = "wrong_version"

    @property
    def is_valid(self) -> bool:
        """Whether the lease itself is good, though perhaps not for what was asked for."""
        return self in _VALID

    @property
    def status(self) -> int:
        """The status of the answer (RFC 6750 §3.1); 200 stands for the one that is given without leases."""
        if self is LeaseResult.OK:
            return 200
        return 403 if self.is_valid else 401

    @property
    def challenge(self) -> str | None:
        """The value of `WWW-Authenticate` (RFC 6750 §3), None for `ok`."""
        if self is LeaseResult.OK:
            return None
        if self is LeaseResult.MISSING:
            return "Bearer"
        return f'Bearer error="{"insufficient_scope" if self.is_valid else "invalid_token"}"'


_VALID = frozenset({
    LeaseResult.OK, LeaseResult.WRONG_SCOPE, LeaseResult.WRONG_IMAGE, LeaseResult.WRONG_VERSION,
})  # fmt: skip


class LeaseRefusedError(AeroStorageError):
    """A token is no good lease; the message says why, without a byte of the token."""

    def __init__(self, result: LeaseResult, message: str) -> None:
        super().__init__(message)
        self.result = result


def malformed(message: str) -> LeaseRefusedError:
    """Return the error of a token that breaks the rules of its form."""
    return LeaseRefusedError(LeaseResult.MALFORMED, message)
