"""The lease that the doctor shows, as it travels. Pure."""

from __future__ import annotations

import re

from aero_storage.doctor.response import Response
from aero_storage.errors import OperatorError
from aero_storage.http.leases.carriers import Carrier, Presented
from aero_storage.http.leases.claims import Claims, parse_claims
from aero_storage.http.leases.results import LeaseRefusedError
from aero_storage.http.leases.tokens import parse_token

CHALLENGE = "WWW-Authenticate"
HIDDEN_LEASE = "<lease>"
"""Stands in answers for the lease, wherever the server has repeated it."""

_BEARER = re.compile(r"bearer(?: .*)?", re.IGNORECASE)
_REFUSALS = (401, 403)


def read_claims(token: str) -> Claims:
    """Return what a lease claims, whoever has signed it. Raises OperatorError, without a byte of the token."""
    try:
        return parse_claims(parse_token(token).payload)
    except LeaseRefusedError as error:
        raise OperatorError(f"this is no lease: {error}") from None


def by(carrier: Carrier, lease: Presented) -> Presented:
    """Return the same lease, carried otherwise."""
    return Presented(carrier, lease.token)


def forged(lease: Presented) -> Presented:
    """Return the lease with another signature of the same form."""
    start, signature = lease.token[: lease.token.rindex(".") + 1], lease.token.rpartition(".")[2]
    return Presented(lease.carrier, start + ("B" if signature[0] == "A" else "A") + signature[1:])


def is_refusal(answer: Response) -> bool:
    """Return whether an answer is that of the daemon to a request without a good lease."""
    return answer.status in _REFUSALS and _BEARER.fullmatch(answer.get(CHALLENGE) or "") is not None


def hide(lease: Presented | None, text: str) -> str:
    """Return a text of the server without the lease: the server may repeat what it was sent."""
    return text if lease is None else text.replace(lease.token, HIDDEN_LEASE)


def hide_in_body(lease: Presented | None, body: bytes) -> bytes:
    """Return a body without the lease."""
    return body if lease is None else body.replace(lease.token.encode("ascii"), HIDDEN_LEASE.encode("ascii"))
