"""Checks of the answers that a lease has opened, and of refusals: time, route, caching, CORS, list (http.md §12)."""

from __future__ import annotations

import re

from aero_storage.chunks.verify.remote import brief
from aero_storage.doctor import advice
from aero_storage.doctor.check import Check
from aero_storage.doctor.lease import CHALLENGE, HIDDEN_LEASE
from aero_storage.doctor.private_image import opened, read_with, refused, shown_lease
from aero_storage.doctor.response import Response
from aero_storage.doctor.result import Result, SkippedError, failure, good, warning
from aero_storage.doctor.session import MOST_JSON, Session, entries
from aero_storage.doctor.target import images_path

_NO_CONTENT = 204
_REMAINING = "Aero-Lease-Remaining"
_EXPOSE = "Access-Control-Expose-Headers"
_CREDENTIALS = {"authorization", "cookie"}
_SKEW_SECONDS = 60
"""Two clocks that differ by more are told of."""
_COOKIE = re.compile(rf"(__Secure-)?aero-lease={re.escape(HIDDEN_LEASE)}(;.*)?", re.IGNORECASE)


def _remaining(session: Session) -> Result:
    answer, claims = opened(session), session.claims
    text = answer.get(_REMAINING) or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 12):  # noqa: PLR2004 - of seconds
        return failure(
            f"{answer.request}: {answer.show(_REMAINING)}",
            "pages do not know when to ask for another lease, and break off when it ends",
            advice.KEEP_HEADERS,
        )
    left = claims.remaining(session.wall()) if claims is not None else int(text)
    if abs(left - int(text)) > _SKEW_SECONDS:
        return warning(
            f"{_REMAINING}: {text}, but by this machine's clock {left} seconds are left",
            "leases end before their time, or after it",
            "set the clock of this machine, or of the daemon's; let caches keep nothing of private images",
        )
    return good(f"{text} seconds are left")


def _route(session: Session) -> Result:
    opened(session)
    for method in ("GET", "HEAD"):
        answer = session.fetch(method, images_path(session.image, "/lease"))
        if answer.status != _NO_CONTENT:
            return failure(
                f"{answer.request}: status {answer.status}, not 204",
                "proxies that ask there, and pages that want a cookie, take the lease for none",
                advice.ROUTE,
            )
        if "no-store" not in answer.words("Cache-Control"):
            return failure(
                f"{answer.request}: {answer.show('Cache-Control')}, not no-store",
                "a cache says yes to a lease that has ended",
                advice.KEEP_HEADERS,
            )
    return _cookie(session)


def _cookie(session: Session) -> Result:
    answer = session.fetch("GET", images_path(session.image, "/lease?cookie=1"))
    match = next(filter(None, map(_COOKIE.fullmatch, answer.all("Set-Cookie"))), None)
    if match is None:
        return failure(
            f"{answer.request}: no Set-Cookie with the lease",
            "pages cannot exchange a URL for a cookie, and their URLs change with each lease",
            advice.KEEP_HEADERS,
        )
    words = {word.strip().lower() for word in (match[2] or "").split(";")}
    if "httponly" not in words:
        return failure("the cookie has no HttpOnly", "scripts of the page read the lease", advice.KEEP_HEADERS)
    if session.client.target.scheme == "https" and (match[1] is None or "secure" not in words):
        return warning(
            "over TLS the cookie is neither Secure nor named __Secure-aero-lease",
            "browsers send it over plain HTTP too, and not at all to pages of other sites",
            "let the proxy say X-Forwarded-Proto: https, and name it with --trusted-proxy",
        )
    return good("204, and a cookie for those who ask for one")


def _caching(session: Session) -> Result:
    answers = [opened(session), refused(session), session.fetch("GET", images_path(session.image, "/lease"))]
    for answer in answers:
        words = set(answer.words("Cache-Control"))
        if "no-store" not in words or "public" in words:
            return failure(
                f"{answer.request}: {answer.show('Cache-Control')}, not no-store",
                "a cache on the way keeps it, and gives it to those without a lease",
                f"{advice.KEEP_HEADERS}; no expires either",
            )
        if not (set(answer.words("Vary")) >= _CREDENTIALS or "*" in answer.words("Vary")):
            return failure(
                f"{answer.request}: {answer.show('Vary')}, not Authorization, Cookie",
                "a cache that keeps it all the same gives it to those without a lease",
                advice.KEEP_HEADERS,
            )
    return good("no-store, and Vary: Authorization, Cookie; refusals too")


def _cors(session: Session) -> Result:
    refused(session)
    origin = {"Origin": session.origin}
    allowed = session.range("bytes=0-0", origin).all("Access-Control-Allow-Origin")
    if allowed not in (("*",), (session.origin,)):
        raise SkippedError(f"{brief(session.origin)} may not read: see cors")
    without = read_with(session, None, origin)
    if without.all("Access-Control-Allow-Origin") != allowed:
        return failure(
            f"{without.request}: status {without.status} with {without.show('Access-Control-Allow-Origin')}",
            "a page cannot tell that its lease has ended from a broken network",
            f"in nginx: add_header … always, or rather none; no error_page; {advice.KEEP_HEADERS}",
        )
    for answer, name in ((without, CHALLENGE), (read_with(session, shown_lease(session), origin), _REMAINING)):
        if not {name.lower(), "*"} & set(answer.words(_EXPOSE)):
            return failure(
                f"{answer.request}: {answer.show(_EXPOSE)}, without {name}",
                "scripts cannot read it",
                advice.KEEP_HEADERS,
            )
    return _preflight(session)


def _preflight(session: Session) -> Result:
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization, range"}
    answer = session.fetch_with(None, "OPTIONS", session.path, {"Origin": session.origin, **asks})
    if answer.status not in range(200, 300) or "authorization" not in answer.words("Access-Control-Allow-Headers"):
        return failure(
            f"{answer.request}: status {answer.status}, {answer.show('Access-Control-Allow-Headers')}",
            "browsers refuse to send a lease as a bearer",
            f"let the proxy pass OPTIONS on to the daemon, and ask for no lease there; {advice.KEEP_HEADERS}",
        )
    return good("pages read refusals and what is left of a lease, and may send it as a bearer")


def _list(session: Session) -> Result:
    refused(session)
    with_lease, without = session.listing(), session.fetch_with(None, "GET", images_path(), most=MOST_JSON)
    if entries(with_lease) is None or entries(without) is None:
        raise SkippedError("no list to go by: see image-list")
    if session.image not in _ids(with_lease):
        return failure(
            "the list with the lease lacks the image", "pages do not offer it", f"{advice.PASS_ON}; {advice.KEEP_OUT}"
        )
    if session.image in _ids(without):
        return failure("the list without a lease has the image", "its id is known to everybody", advice.KEEP_OUT)
    for answer in (with_lease, without):
        if not {"authorization", "*"} & set(answer.words("Vary")):
            return failure(
                f"{answer.request}: {answer.show('Vary')}, not Authorization, Cookie",
                "a cache gives the list for one reader to others",
                advice.KEEP_HEADERS,
            )
    return good("the image is in the list for those with a lease alone")


def _ids(listing: Response) -> set[object]:
    return {one.get("id") for one in entries(listing) or []}


CHECKS = (
    Check("lease-remaining", "The time that is left is told", _remaining),
    Check("lease-route", "Proxies and pages may ask about the lease", _route),
    Check("lease-caching", "Caches keep nothing of it", _caching),
    Check("lease-cors", "Pages may show a lease", _cors),
    Check("lease-list", "The list shows it to those with a lease", _list),
)
