"""Replies for operators and monitoring: liveness, readiness, version, metrics (http.md §2 and §9)."""

from __future__ import annotations

import hmac

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, json_body, plane_headers
from aero_storage.http import caching
from aero_storage.metrics import CONTENT_TYPE

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


@attrs.frozen
class Build:
    """The build: package version, commit (`dev` if unknown) and build time (empty if unknown)."""

    version: str
    git_sha: str = "dev"
    built_at: str = ""


def liveness(facts: Facts, policy: Policy) -> Reply:
    """Return 200: the process answers."""
    return _plain(facts, policy, 200, _JSON, json_body({"status": "ok"}))


def liveness_text(facts: Facts, policy: Policy) -> Reply:
    """Return the same as text, for probes that search for a word."""
    return _plain(facts, policy, 200, _TEXT, b"ok")


def readiness(facts: Facts, policy: Policy, *, ready: bool) -> Reply:
    """Return 200 if load balancers may send requests, else 503."""
    status, word = (200, "ok") if ready else (503, "error")
    return _plain(facts, policy, status, _JSON, json_body({"status": word}))


def version(facts: Facts, policy: Policy, build: Build) -> Reply:
    """Return the build as JSON."""
    document = {"version": build.version, "gitSha": build.git_sha, "builtAt": build.built_at}
    return _plain(facts, policy, 200, _JSON, json_body(document))


def refusal(facts: Facts, policy: Policy, token: str | None) -> Reply | None:
    """Return 401 or 403 if `token` is set and the request does not bear it (RFC 6750 §2.1), else None."""
    if token is None:
        return None
    scheme, _, given = (facts.authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return error(facts, policy, 401, ("WWW-Authenticate", "Bearer"), reason=None)
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        return error(facts, policy, 403, reason=None)
    return None


def exposition(facts: Facts, policy: Policy, body: bytes) -> Reply:
    """All metrics, as text."""
    return _plain(facts, policy, 200, CONTENT_TYPE, body)


def _plain(facts: Facts, policy: Policy, status: int, content_type: str, body: bytes) -> Reply:
    headers = (
        *plane_headers(facts, policy),
        ("Cache-Control", caching.NO_STORE),
        ("Content-Type", content_type),
    )
    return Reply(status, headers, body)
