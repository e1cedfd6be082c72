"""What operators and their tools ask: health, readiness, version, metrics (http.md §2 and §9)."""

from __future__ import annotations

import hmac

import attrs

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply, error, json_body, plane_headers
from aero_storage.http import caching
from aero_storage.metrics import CONTENT_TYPE, Counts, Metrics

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


@attrs.frozen
class Build:
    """Which build this is: package version, commit (`dev` if unknown) and build time (empty if unknown)."""

    version: str
    git_sha: str = "dev"
    built_at: str = ""


def liveness(facts: Facts, policy: Policy) -> Reply:
    """The process answers."""
    return _plain(facts, policy, 200, _JSON, json_body({"status": "ok"}))


def liveness_text(facts: Facts, policy: Policy) -> Reply:
    """The same for probes that look for a word."""
    return _plain(facts, policy, 200, _TEXT, b"ok")


def readiness(facts: Facts, policy: Policy, *, ready: bool) -> Reply:
    """Whether a balancer may send requests here."""
    status, word = (200, "ok") if ready else (503, "error")
    return _plain(facts, policy, status, _JSON, json_body({"status": word}))


def version(facts: Facts, policy: Policy, build: Build) -> Reply:
    """Which build this is."""
    document = {"version": build.version, "gitSha": build.git_sha, "builtAt": build.built_at}
    return _plain(facts, policy, 200, _JSON, json_body(document))


def refusal(facts: Facts, policy: Policy, token: str | None) -> Reply | None:
    """The reply to those who may not read the metrics: with `token` set, all who do not bear it (RFC 6750 §2.1)."""
    if token is None:
        return None
    scheme, _, given = (facts.authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return error(facts, policy, 401, ("WWW-Authenticate", "Bearer"))
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        return error(facts, policy, 403)
    return None


def exposition(facts: Facts, policy: Policy, metrics: Metrics, total: Counts | None = None) -> Reply:
    """All metrics: of this process, or the total of all workers."""
    return _plain(facts, policy, 200, CONTENT_TYPE, metrics.exposition(total))


def _plain(facts: Facts, policy: Policy, status: int, content_type: str, body: bytes) -> Reply:
    headers = (
        *plane_headers(facts, policy),
        ("Cache-Control", caching.NO_STORE),
        ("Content-Type", content_type),
    )
    return Reply(status, headers, body)
