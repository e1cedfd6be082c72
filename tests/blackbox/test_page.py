"""http.md §17: the page for browsers, from the daemon itself."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.blackbox.harness import Daemon

PAGE = Path(__file__).parents[2] / "browser" / "page"
REFERENCE = re.compile(r"""(?<=["'(])/(?:ui|client)/[a-z0-9.-]+(?=["')])""")
LOCAL = re.compile(r"""(?<=["'(])\./[a-z0-9.-]+(?=["')])""")
INLINE = re.compile(r"""<style|<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=|javascript:""")
ELSEWHERE = re.compile(r"""(?<=["'(`])(?:https?:)?//[a-z]""")


def whole(store: Daemon) -> dict[str, str]:
    """The document and all parts that it leads to, by their paths."""
    left, seen = ["/"], dict[str, str]()
    while left:
        path = left.pop()
        if path not in seen:
            reply = store.ask(path)
            assert reply.status == 200, path
            seen[path] = reply.body.decode()
            left += [found for found in REFERENCE.findall(seen[path]) if found.startswith("/ui/")]
    return seen


def names(paths: Iterable[str]) -> set[str]:
    return {re.sub(r"^/ui/[0-9a-f]{16}-", "", path) for path in paths}


def test_whole_page(store: Daemon) -> None:
    """The document leads to every part, and each refers to what is there."""
    seen = whole(store)
    made = {"/", "/ui/emulator.json"}
    assert names(seen) == {path.name for path in PAGE.iterdir() if path.name != "index.html"} | made
    assert [path for path, text in seen.items() if LOCAL.search(text)] == []
    client = {found for text in seen.values() for found in REFERENCE.findall(text) if found.startswith("/client/")}
    assert [path for path in client if store.ask(path).status != 200] == []


def test_nothing_that_the_policy_forbids(store: Daemon) -> None:
    """No part has scripts or styles in line, or names another host."""
    seen = whole(store)
    assert INLINE.findall(seen["/"]) == []
    found = {path: ELSEWHERE.findall(text.replace("http://www.w3.org/2000/svg", "")) for path, text in seen.items()}
    assert {path: hosts for path, hosts in found.items() if hosts} == {}


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_label(store: Daemon, path: str) -> None:
    """The document and a part are logged and counted by their routes, as metadata, and take no place."""
    part = next(found for found in whole(store) if found.startswith("/ui/"))
    target, label = (path, "/") if path == "/" else (part, "/ui/:part")
    before = store.metrics()
    reply, line = store.traced(target)
    assert (reply.status, line["route"], line["status"], line["path"]) == (200, label, 200, target)
    store.rises(before, 1, "http_requests_total", route=label, method="GET", status="200")


def test_head_and_304(store: Daemon) -> None:
    """HEAD has the headers of GET, and a tag that is known brings no body."""
    got, headed = store.ask("/"), store.ask("/", "HEAD")
    assert (headed.status, headed.body, headed["Content-Length"]) == (200, b"", str(len(got.body)))
    assert headed["Content-Security-Policy"] == got["Content-Security-Policy"]
    known = store.ask("/", "GET", {"If-None-Match": got["ETag"]})
    assert (known.status, known.body) == (304, b"")


def test_compressed(store: Daemon) -> None:
    """The same URL gives gzip and plain text by turns, as asked for, whatever was asked before."""
    plain = store.ask("/")
    packed = store.ask("/", "GET", {"Accept-Encoding": "gzip"})
    assert (packed["Content-Encoding"], packed["Content-Length"]) == ("gzip", str(len(packed.body)))
    assert gzip.decompress(packed.body) == plain.body == store.ask("/").body


def test_other_methods(store: Daemon) -> None:
    """Nothing can be sent to the page."""
    reply = store.ask("/", "POST")
    assert (reply.status, reply["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_without_page(tmp_path: Path) -> None:
    """With --no-page there are no such routes."""
    (tmp_path / "images").mkdir()
    with running(tmp_path, "--no-page") as daemon:
        for path in ("/", "/ui/x.js"):
            reply, line = daemon.traced(path)
            assert (reply.status, line["route"]) == (404, "<unknown>")
