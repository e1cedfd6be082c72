"""Health, readiness, version and metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.policies import cors_with, policy_with

from aero_storage.delivery import operations
from aero_storage.delivery.operations import Build
from aero_storage.delivery.reply import Reply
from aero_storage.metrics import Counts

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

POLICY = policy_with()
TOKEN = "s3cret/Token+of=the~operator"


def parts(reply: Reply) -> tuple[int, str, bytes]:
    return reply.status, dict(reply.headers)["Content-Type"], reply.body


def test_liveness(ask: Ask) -> None:
    """The process answers, in JSON and as a word."""
    assert parts(operations.liveness(ask("/healthz"), POLICY)) == (200, "application/json", b'{"status":"ok"}')
    text = operations.liveness_text(ask("/health"), POLICY)
    assert parts(text) == (200, "text/plain; charset=utf-8", b"ok")


@pytest.mark.parametrize(("ready", "status", "word"), [(True, 200, "ok"), (False, 503, "error")])
def test_readiness(ask: Ask, status: int, word: str, *, ready: bool) -> None:
    """Readiness is a 200 or a 503, in the same words."""
    reply = operations.readiness(ask("/readyz"), POLICY, ready=ready)
    assert (reply.status, json.loads(reply.body)) == (status, {"status": word})
    assert dict(reply.headers)["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("build", "document"),
    [
        (Build("1.2.3"), {"version": "1.2.3", "gitSha": "dev", "builtAt": ""}),
        (
            Build("1.2.3", "abc", "2026-01-01T00:00:00Z"),
            {"version": "1.2.3", "gitSha": "abc", "builtAt": "2026-01-01T00:00:00Z"},
        ),
    ],
)
def test_version(ask: Ask, build: Build, document: dict[str, str]) -> None:
    """The version says what is known of the build."""
    reply = operations.version(ask("/version"), POLICY, build)
    assert (reply.status, json.loads(reply.body)) == (200, document)


def test_exposition(ask: Ask, bench: Bench) -> None:
    """Without a token anybody reads the metrics, in the plain text format."""
    assert operations.refusal(ask("/metrics"), POLICY, None) is None
    status, content_type, body = parts(operations.exposition(ask("/metrics"), POLICY, bench.metrics.exposition()))
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'store_errors_total{kind="meta"} 0.0' in body


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer    ", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer{TOKEN}", 401),
        (f"NotBearer {TOKEN}", 401),
        ("Bearer wrong", 403),
        (f"Bearer {TOKEN}x", 403),
        (f"Bearer {TOKEN[:-1]}", 403),
        (f"Bearer {TOKEN.upper()}", 403),
        (f"Bearer {TOKEN}, Bearer {TOKEN}", 403),
        ("Bearer \xff\xfe", 403),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN} ", 200),
    ],
)
def test_token(ask: Ask, bench: Bench, authorization: str | None, status: int) -> None:
    """With a token set: none given 401, a wrong one 403, the right one 200; the scheme's case does not matter."""
    facts = ask("/metrics", {} if authorization is None else {"Authorization": authorization})
    reply = operations.refusal(facts, POLICY, TOKEN) or operations.exposition(
        facts, POLICY, bench.metrics.exposition()
    )
    assert reply.status == status
    assert (("WWW-Authenticate", "Bearer") in reply.headers) is (status == 401)
    assert (b"store_errors_total" in reply.body) is (status == 200)
    assert TOKEN not in repr(reply.headers) + reply.body.decode("latin-1")
    assert dict(reply.headers)["Cache-Control"] == "no-store"


def test_token_that_is_no_ascii(ask: Ask) -> None:
    """A wrong token of any bytes is refused, not stumbled over."""
    reply = operations.refusal(ask("/metrics", {"Authorization": "Bearer é"}), POLICY, "tökén")
    assert reply is not None
    assert reply.status == 403


def test_exposition_of_a_total(ask: Ask, bench: Bench) -> None:
    """Where there are several workers, the total of all is shown, and not what this one has counted."""
    bench.metrics.store_failed("meta")
    total = Counts(bytes={("disk.img",): 7}, process=bench.metrics.snapshot().process)
    body = operations.exposition(ask("/metrics"), POLICY, bench.metrics.exposition(total)).body
    assert b'image_bytes_served_total{image_id="disk.img"} 7.0' in body
    assert b'store_errors_total{kind="meta"} 0.0' in body


def test_cors(ask: Ask) -> None:
    """Operators' replies carry the allow-origin headers, expose nothing, and are never kept."""
    policy = policy_with(cors=cors_with("https://a.example"))
    reply = operations.liveness(ask("/healthz", {"Origin": "https://a.example"}), policy)
    assert dict(reply.headers) == {
        "Access-Control-Allow-Origin": "https://a.example",
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
        "Cache-Control": "no-store",
        "Content-Type": "application/json",
    }
