"""http.md §17: the client for browsers, from the daemon itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.blackbox.harness import running

if TYPE_CHECKING:
    from tests.blackbox.harness import Daemon

BROWSER = Path(__file__).parents[2] / "browser"
IMPORTED = re.compile(rb'(?:from|import|import\(|new URL\()\s*"\./([a-z0-9-]+\.js)"')


def test_whole_client(store: Daemon) -> None:
    """From aero-disk.js every import leads to another script that is there, and is the one of browser/."""
    left, seen = ["aero-disk.js"], dict[str, bytes]()
    while left:
        name = left.pop()
        if name not in seen:
            reply, line = store.traced(f"/client/{name}")
            assert (reply.status, line["route"]) == (200, "/client/:part"), name
            assert reply["Content-Type"] == "text/javascript; charset=utf-8"
            seen[name] = reply.body
            left += [found.decode() for found in IMPORTED.findall(reply.body)]
    assert seen == {path.name: path.read_bytes() for path in BROWSER.glob("*.js")}


def test_head_and_304(store: Daemon) -> None:
    """HEAD has the headers of GET, and a tag that is known brings no body."""
    got, headed = store.ask("/client/aero-disk.js"), store.ask("/client/aero-disk.js", "HEAD")
    assert (headed.status, headed.body, headed["Content-Length"]) == (200, b"", str(len(got.body)))
    known = store.ask("/client/aero-disk.js", "GET", {"If-None-Match": got["ETag"]})
    assert (known.status, known.body) == (304, b"")


def test_without_page(tmp_path: Path) -> None:
    """With --no-page there is no such route."""
    (tmp_path / "images").mkdir()
    with running(tmp_path, "--no-page") as daemon:
        reply, line = daemon.traced("/client/aero-disk.js")
        assert (reply.status, line["route"]) == (404, "<unknown>")
