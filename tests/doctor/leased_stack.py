"""A daemon in memory that asks for leases, and the tokens for it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
from tests.doctor.faulty_proxy import Stack
from tests.lease_tokens import CLAIMS, KEYS, token_of

from aero_storage.http.leases.carriers import Presented, presented
from aero_storage.http.leases.judgement import Verdict, Wanted, choose, judge
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.verification import LeaseVerifier

PRIVATE = "secret"
_VARY = "Authorization, Cookie"


def lease_for(image: str = PRIVATE, **changed: object) -> str:
    """Make a lease that is good for a quarter of an hour from now; ... leaves a claim out."""
    now = int(time.time())
    claims = CLAIMS | {"img": image, "iat": now - 60, "exp": now + 840} | changed
    return token_of({name: value for name, value in claims.items() if value is not ...}, "ed")


def write_catalog(root: Path) -> None:
    """Write a catalog with one image that is private and one that is not, over the same file."""
    entries = [
        {"id": PRIVATE, "file": "disk.img", "name": "Private", "public": False},
        {"id": "open", "file": "disk.img", "name": "Public"},
    ]
    root.mkdir(exist_ok=True)
    (root / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")


@attrs.frozen
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@attrs.frozen
class LeasedStack:
    """Asks for leases in front of a daemon that does not (http.md §12)."""

    stack: Stack
    verifier: LeaseVerifier = LeaseVerifier(parse_key_set(KEYS))

    def ask(self, target: str, *headers: tuple[str, str], method: str = "GET") -> Any:
        path, query, fields = urlsplit(target).path, urlsplit(target).query, dict(headers)
        reply = self.stack.ask(path, *headers, method=method)
        parts = path.split("/")
        if method == "OPTIONS" or parts[:3] != ["", "v1", "images"]:
            return reply
        shown = presented(fields.get("authorization"), (query,), fields.get("cookie"))
        if len(parts) == 3:
            return self._listed(reply, shown)
        verdict = choose(self._judge(one, parts[3]) for one in shown)
        if parts[3] == "open":
            return reply
        if verdict.result is not LeaseResult.OK:
            return self._refused(verdict, headers, method)
        if parts[4:] == ["lease"]:
            return _lease_route(verdict, query)
        return _Answer(reply.status, _with(reply.headers, verdict), reply.body)

    def _judge(self, shown: Presented, image: str) -> Verdict:
        try:
            lease = self.verifier.verify(shown.token)
        except LeaseRefusedError as error:
            return Verdict(error.result, shown)
        return Verdict(judge(lease, Wanted(image), time.time(), 30, in_url=shown.in_url), shown, lease)

    def _listed(self, reply: Any, shown: tuple[Presented, ...]) -> _Answer:
        opened = [one for one in shown if self._judge(one, PRIVATE).result is LeaseResult.OK]
        entries = [one for one in json.loads(reply.body or b"[]") if one["id"] == "open" or opened]
        body = json.dumps(entries).encode() if reply.body else b""
        kept = [(name, value) for name, value in reply.headers if name.lower() not in ("content-length", "vary")]
        return _Answer(reply.status, [*kept, ("Content-Length", str(len(body))), ("Vary", _VARY)], body)

    def _refused(self, verdict: Verdict, headers: tuple[tuple[str, str], ...], method: str) -> _Answer:
        reply = self.stack.ask("/v1/images/nobody", *headers, method=method)
        fields = [*_exposing(reply.headers, "WWW-Authenticate"), ("WWW-Authenticate", verdict.result.challenge or "")]
        return _Answer(verdict.result.status, [*fields, ("Vary", _VARY)], reply.body)


def _lease_route(verdict: Verdict, query: str) -> _Answer:
    fields = [("Cache-Control", "no-store"), ("Vary", _VARY)]
    if "cookie=1" in query and verdict.presented is not None:
        path = f"Path=/v1/images/{PRIVATE}; HttpOnly; Max-Age=800; SameSite=Lax"
        fields.append(("Set-Cookie", f"aero-lease={verdict.presented.token}; {path}"))
    return _Answer(204, fields, b"")


def _with(headers: list[tuple[str, str]], verdict: Verdict) -> list[tuple[str, str]]:
    assert verdict.lease is not None
    left = verdict.lease.claims.remaining(time.time())
    return [*_exposing(headers, "Aero-Lease-Remaining"), ("Aero-Lease-Remaining", str(left)), ("Vary", _VARY)]


def _exposing(headers: list[tuple[str, str]], more: str) -> list[tuple[str, str]]:
    return [
        (name, f"{value}, {more}" if name.lower() == "access-control-expose-headers" else value)
        for name, value in headers
    ]
