"""The private image with the lease, and without it: the common beginning of several checks."""

from __future__ import annotations

from aero_storage.doctor.response import Response
from aero_storage.doctor.result import SkippedError
from aero_storage.doctor.session import Session
from aero_storage.http.leases.carriers import Presented

FIRST = {"Range": "bytes=0-511"}
OPENED = (200, 206)
"""Statuses of an answer with bytes."""

_UNAUTHORIZED = 401


def shown_lease(session: Session) -> Presented:
    """Return the lease. Raises SkippedError if there is none, or if it changes nothing for the image."""
    if session.client.lease is None:
        raise SkippedError("no lease to show: --lease-file FILE")
    if session.metadata().get("public") is True:
        raise SkippedError("the image is public, so that no lease is asked for; name a private one with --image")
    return session.client.lease


def read_with(session: Session, lease: Presented | None, headers: dict[str, str] | None = None) -> Response:
    """Return the answer to a GET of the first bytes, with this lease or none."""
    return session.fetch_with(lease, "GET", session.path, {**FIRST, **(headers or {})})


def opened(session: Session) -> Response:
    """Return what the lease opens. Raises SkippedError if it opens nothing."""
    answer = read_with(session, shown_lease(session))
    if answer.status not in OPENED:
        raise SkippedError("the lease opens nothing: see lease-carriers")
    return answer


def refused(session: Session) -> Response:
    """Return the answer without a lease. Raises SkippedError if it is none of the daemon's to such a request."""
    shown_lease(session)
    answer = read_with(session, None)
    if answer.status != _UNAUTHORIZED:
        raise SkippedError("the image is read without a lease: see lease-required")
    return answer
