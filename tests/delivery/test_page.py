"""The page and its parts, as the daemon serves them (http.md §17)."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest
from tests.policies import cors_with, policy_with

from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.page import Page

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.handler import RequestHandler
    from aero_storage.delivery.reply import Reply

SCRIPT = b'import { b } from "./b.js";\nawait import("./absent.js");\n' + b"// long enough to be compressed\n" * 20
FILES = {
    "index.html": b'<link href="./page.css"><script type="module" src="./a.js"></script>' + b" " * 200,
    "page.css": b"body { background: url(./icon.svg) }",
    "a.js": SCRIPT,
    "b.js": b"export const b = './a.js';",
    "icon.svg": b"<svg/>",
    "code.wasm": b'\0asm "./a.js"',
}


def handler_of(bench: Bench, files: dict[str, bytes]) -> RequestHandler:
    return bench.handler(policy_with(cors=cors_with()), package_parts=PackageParts(page=Page.of(files)))


@pytest.fixture
def handler(bench: Bench) -> RequestHandler:
    return handler_of(bench, FILES)


@pytest.fixture
def urls(bench: Bench, ask: Ask, handler: RequestHandler) -> dict[str, str]:
    """The addresses of the parts, by their names."""
    digest = digest_of(bench.answer(ask("/"), handler=handler))
    return {name: f"/ui/{digest}-{name}" for name in FILES}


def digest_of(reply: Reply) -> str:
    found: list[str] = re.findall(r"/ui/([0-9a-f]{16})-a\.js", reply.body.decode())
    return found[0]


def fields(reply: Reply) -> dict[str, str]:
    return dict(reply.headers)


def test_document(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """The document is asked for anew each time, may load from its own server alone, and is isolated."""
    reply = bench.answer(ask("/"), handler=handler)
    found = fields(reply)
    assert reply.status == 200
    assert found.pop("ETag").startswith('"')
    assert found.pop("Access-Control-Expose-Headers")
    assert found == {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
        "worker-src 'self' blob:; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        "Content-Type": "text/html; charset=utf-8",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }


def test_parts_are_kept(bench: Bench, ask: Ask, handler: RequestHandler, urls: dict[str, str]) -> None:
    """A part is kept for good, whoever asks, and a worker of it obeys the policies of the document."""
    found = fields(bench.answer(ask(urls["a.js"], {"Cookie": "a=b"}), handler=handler))
    assert found["Cache-Control"] == "public, max-age=31536000, immutable, no-transform"
    assert found["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert found["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_references(bench: Bench, ask: Ask, handler: RequestHandler, urls: dict[str, str]) -> None:
    """Files refer to each other by the addresses that they are served at; other text, and code, stays as it is."""
    bodies = {name: bench.answer(ask(urls[name]), handler=handler).body for name in FILES if name != "index.html"}
    assert bodies["a.js"] == SCRIPT.replace(b"./b.js", urls["b.js"].encode())
    assert bodies["b.js"] == f"export const b = '{urls['a.js']}';".encode()
    assert bodies["page.css"] == f"body {{ background: url({urls['icon.svg']}) }}".encode()
    assert bodies["code.wasm"] == FILES["code.wasm"]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("code.wasm", "application/wasm"),
    ],
)
def test_types(
    bench: Bench, ask: Ask, handler: RequestHandler, urls: dict[str, str], name: str, content_type: str
) -> None:
    """Each part has its type, which browsers do not guess again."""
    found = fields(bench.answer(ask(urls[name]), handler=handler))
    assert (found["Content-Type"], found["X-Content-Type-Options"]) == (content_type, "nosniff")


@pytest.mark.parametrize("changed", [name for name in FILES if name != "index.html"])
def test_one_digest(bench: Bench, ask: Ask, urls: dict[str, str], changed: str) -> None:
    """If one part changes, all have other addresses, and the old ones are gone."""
    other = handler_of(bench, FILES | {changed: FILES[changed] + b"\n"})
    assert digest_of(bench.answer(ask("/"), handler=other)) not in urls["a.js"]
    assert bench.answer(ask(urls["b.js"]), handler=other).status == 404


def test_compressed(bench: Bench, ask: Ask, handler: RequestHandler, urls: dict[str, str]) -> None:
    """Gzip goes to those who accept it, under a tag of its own, and caches are told; it never makes a part longer."""
    plain = bench.answer(ask(urls["a.js"]), handler=handler)
    packed = bench.answer(ask(urls["a.js"], {"Accept-Encoding": "br, gzip"}), handler=handler)
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert (fields(packed)["Content-Encoding"], fields(packed)["Vary"]) == ("gzip", "Accept-Encoding")
    assert ("Content-Encoding" in fields(plain), fields(plain)["Vary"]) == (False, "Accept-Encoding")
    assert fields(packed)["ETag"] != fields(plain)["ETag"]
    short = fields(bench.answer(ask(urls["icon.svg"], {"Accept-Encoding": "gzip"}), handler=handler))
    assert not {"Content-Encoding", "Vary"} & short.keys()


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_not_modified(bench: Bench, ask: Ask, handler: RequestHandler, accepted: str) -> None:
    """A document that is still the same is a 304 with its policies, in the coding that it was had in."""
    wanted = {"Accept-Encoding": accepted}
    tag = fields(bench.answer(ask("/", wanted), handler=handler))["ETag"]
    same = bench.answer(ask("/", wanted | {"If-None-Match": tag}), handler=handler)
    assert (same.status, same.body, fields(same)["ETag"]) == (304, b"", tag)
    assert fields(same)["Content-Security-Policy"]
    other = {"Accept-Encoding": "gzip" if accepted == "identity" else "identity", "If-None-Match": tag}
    assert bench.answer(ask("/", other), handler=handler).status == 200


@pytest.mark.parametrize(
    "name", ["index.html", "a.js", "0123456789abcdef-a.js", "..", "%2e%2e%2fa.js", "", "a" * 200]
)
def test_no_other_part(bench: Bench, ask: Ask, handler: RequestHandler, name: str) -> None:
    """What is no part is a 404 in JSON: the document, and a name without its digest, too."""
    reply = bench.answer(ask(f"/ui/{name}"), handler=handler)
    assert (reply.status, reply.body) == (404, b'{"error":"not found"}')


def test_needs_no_catalog(bench: Bench, ask: Ask, handler: RequestHandler, urls: dict[str, str]) -> None:
    """A catalog that cannot be read keeps nobody from the page, which says so."""
    bench.break_catalog()
    assert [bench.answer(ask(url), handler=handler).status for url in ("/", urls["a.js"])] == [200, 200]


@pytest.mark.parametrize("path", ["/", "/ui/x.js"])
def test_other_methods(bench: Bench, ask: Ask, handler: RequestHandler, path: str) -> None:
    """Nothing can be sent to the page."""
    reply = bench.answer(ask(path, method="POST"), handler=handler)
    assert (reply.status, fields(reply)["Allow"]) == (405, "GET, HEAD, OPTIONS")
