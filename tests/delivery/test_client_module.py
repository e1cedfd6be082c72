"""The scripts of the client, as the daemon serves them (http.md §17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.policies import cors_with, policy_with

from aero_storage.delivery.client_module import ClientModule
from aero_storage.delivery.package_parts import PackageParts

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.handler import RequestHandler
    from aero_storage.delivery.reply import Reply

BODY = b"export const answer = 42;\n"
URL = "/client/aero-disk.js"


@pytest.fixture
def handler(bench: Bench) -> RequestHandler:
    policy = policy_with(cors=cors_with("https://pages.example"))
    return bench.handler(policy, package_parts=PackageParts(ClientModule.of({"aero-disk.js": BODY})))


def fields(reply: Reply) -> dict[str, str]:
    return dict(reply.headers)


def test_script(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """A page of an origin that is not on the allowlist may load a script, and is told how to keep it."""
    reply = bench.answer(ask(URL, {"Origin": "https://elsewhere.example"}), handler=handler)
    assert (reply.status, reply.body) == (200, BODY)
    found = fields(reply)
    assert found.pop("ETag").startswith('"')
    assert found.pop("Access-Control-Expose-Headers")
    assert found == {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        "Content-Type": "text/javascript; charset=utf-8",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }


def test_tag_is_that_of_the_body(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """A script that is still the same is a 304 for any origin; another body has another tag."""
    tag = fields(bench.answer(ask(URL), handler=handler))["ETag"]
    same = bench.answer(ask(URL, {"If-None-Match": tag}), handler=handler)
    assert (same.status, same.body, fields(same)["Access-Control-Allow-Origin"]) == (304, b"", "*")
    changed = bench.handler(package_parts=PackageParts(ClientModule.of({"aero-disk.js": BODY + b"\n"})))
    assert bench.answer(ask(URL, {"If-None-Match": tag}), handler=changed).status == 200


@pytest.mark.parametrize("name", ["other.js", "aero-disk.d.ts", "..", "%2e%2e%2faero-disk.js", "AERO-DISK.JS", ""])
def test_no_other_file(bench: Bench, ask: Ask, handler: RequestHandler, name: str) -> None:
    """What is no script of the client is a 404 in JSON."""
    reply = bench.answer(ask(f"/client/{name}"), handler=handler)
    assert (reply.status, reply.body) == (404, b'{"error":"not found"}')


def test_needs_no_catalog(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """A catalog that cannot be read keeps nobody from the client."""
    bench.break_catalog()
    assert bench.answer(ask(URL), handler=handler).status == 200
