"""A browser with its HTTP cache reads ranges of a version, while the image is replaced.

Under an image's own URL Chromium's cache then gives a short 206 with a clean end, asks with an `If-Range` of its own
and is sent all of the image, and goes on giving old bytes for `max-age`. The example of ranges by hand meets none of
these.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen
from tests.clients.chromium import IMAGES_HOST, browser, page_server, wait_for
from tests.clients.test_browser import BY_HAND
from tests.docs.pages import blocks

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).with_name("versions_page.html")
SIZE, PATIENCE = 1 << 20, 10
OLD, NEW = (random.Random(seed).randbytes(SIZE) for seed in (13, 14))


@frozen
class Visit:
    """What the page saw, and the log lines of its requests for bytes."""

    found: dict[str, Any]
    lines: list[dict[str, Any]]

    def asked(self, version: str, part: str) -> list[int]:
        """The statuses of the requests for a range of a version that reached the daemon."""
        return [
            line["status"]
            for line in self.lines
            if line["path"].endswith(f"/versions/{version}") and line.get("range") == part
        ]


def page() -> str:
    (example,) = blocks(BY_HAND, "js")
    example = example.replace('"http://localhost:8080/v1/images/demo.img"', "image")
    example = example.partition("const superblock =")[0]
    return PAGE.read_text(encoding="utf-8").replace("/* the example of ranges by hand stands here */", example)


def put(path: Path, data: bytes) -> None:
    fresh = path.with_name(".fresh")
    fresh.write_bytes(data)
    fresh.replace(path)


def replace(path: Path, base: str) -> None:
    """Put the new image in place, and wait until the daemon says so."""

    def version() -> str:
        with urllib.request.urlopen(f"{base}/v1/images/{path.name}/meta", timeout=PATIENCE) as answer:
            told: str = json.load(answer)["version"]
        return told

    old, deadline = version(), time.monotonic() + PATIENCE
    put(path, NEW)
    while version() == old:
        assert time.monotonic() < deadline, "the daemon goes on with the old image"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def visit(
    require_tool: Callable[..., str],
    start_daemon: Callable[..., tuple[str, int, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Visit:
    """One visit, in which the image is replaced."""
    path = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    image = tmp_path_factory.mktemp("versions") / "moving.img"
    put(image, OLD)
    base, _, log = start_daemon(image.parent)
    with page_server(page(), {"/replace": lambda: replace(image, base)}) as (origin, reports):
        target = f"{base.replace('127.0.0.1', IMAGES_HOST)}/v1/images/{image.name}"
        with browser(path, f"{origin}/?image={target}", tmp_path_factory.mktemp("browser")) as (process, complaints):
            found = wait_for(reports, process, complaints)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return Visit(found, [line for line in lines if "/versions/" in line.get("path", "")])


def part(data: bytes, first: int, last: int) -> dict[str, Any]:
    body = data[first : last + 1]
    return {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def missing(first: int, last: int) -> str:
    return f"bytes {first} to {last}: status 404"


def test_no_short_206(visit: Visit) -> None:
    """A range of which the cache has a part is a 404 once the image is replaced, and no short body."""
    assert visit.found["across"] == missing(32768, 98303)


def test_no_whole_image(visit: Visit) -> None:
    """A range of a replaced image is an empty 404, though the cache sends `If-Range`: no 200 with all of it."""
    assert visit.found["beyond"] == missing(500000, 565535)
    assert visit.found["beyond_one_url"] == {"status": 404} | part(b"", 0, -1)
    assert all(line["bytes_sent"] <= 65536 for line in visit.lines)


def test_cached_bytes_are_those_of_the_version(visit: Visit) -> None:
    """What the cache gives after the change is what its version had, unasked; the new version is read at once."""
    found = visit.found
    assert found["kept"] == found["kept_still"] == part(OLD, 0, 65535)
    assert visit.asked(found["old_version"], "0-65535") == [206, 206]  # once by each URL
    assert found["old_version"] != found["new_version"]
    assert found["new_bytes"] == part(NEW, 0, 65535)
    assert found["new_across"] == part(NEW, 32768, 98303)


def test_one_url_for_several_ranges(visit: Visit) -> None:
    """Without a query the cache may still cut a body short, after a 404 for the rest: lengths have to be checked."""
    across = visit.found["across_one_url"]
    assert across["status"] in {206, 404}
    first = 32768
    assert across == {"status": across["status"]} | part(OLD, first, first + across["length"] - 1)


def test_no_preflight(visit: Visit) -> None:
    """No request for a range of a version needs a preflight."""
    assert {line["method"] for line in visit.lines} == {"GET"}
