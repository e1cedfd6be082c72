"""The cookie for which a token is exchanged: good for hours under a fixed URL (http.md §12; RFC 6265)."""

from __future__ import annotations

from urllib.parse import urlsplit

from aero_storage.delivery.facts import Facts, LeaseQuestion
from aero_storage.http.cors import CorsPolicy, Headers
from aero_storage.http.leases.carriers import COOKIES
from aero_storage.http.leases.judgement import Verdict

_SECURE_NAME, _PLAIN_NAME = COOKIES
_CROSS_SITE = "cross-site"


def lease_cookie(  # noqa: PLR0913 - what the cookie hangs on
    facts: Facts, cors: CorsPolicy, verdict: Verdict, now: float, *, is_secure: bool, is_trusted: bool
) -> Headers:
    """Return the `Set-Cookie` for the token that has won, nothing for a page of another site that is not on the list.

    `is_secure` where the request came over TLS, `is_trusted` where it came from a trusted proxy.
    """
    question = facts.lease_question or LeaseQuestion()
    if verdict.presented is None or verdict.lease is None:
        return ()
    if question.fetch_site == _CROSS_SITE and not cors.lists(facts.origin):
        return ()
    secure = is_secure or (is_trusted and _says_https(question.forwarded_proto))
    parts = (
        f"{_SECURE_NAME if secure else _PLAIN_NAME}={verdict.presented.token}",
        f"Path=/v1/images/{facts.names.image_id}",
        "HttpOnly",
        f"Max-Age={verdict.lease.claims.remaining(now)}",
        *_scope(secure=secure, elsewhere=_is_from_another_site(facts, question)),
    )
    return (("Set-Cookie", "; ".join(parts)),)


def _scope(*, secure: bool, elsewhere: bool) -> tuple[str, ...]:
    """Name who may send it: a page of another site only if the cookie is `Secure`, and then in a jar of its own."""
    if not secure:
        return ("SameSite=Lax",)
    return ("Secure", "SameSite=None", "Partitioned") if elsewhere else ("Secure", "SameSite=Lax")


def _says_https(proto: str | None) -> bool:
    return proto is not None and proto.partition(",")[0].strip().lower() == "https"


def _is_from_another_site(facts: Facts, question: LeaseQuestion) -> bool:
    if question.fetch_site is not None:
        return question.fetch_site == _CROSS_SITE
    return facts.origin is not None and _host(facts.origin) != _host(f"//{question.host or ''}")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
