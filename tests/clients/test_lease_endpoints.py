"""The applications of docs/how-to/private-images.md, which hand out leases, and their page, in a browser."""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError

import attrs
import pytest
from tests.clients.chromium import browser, page_server, wait_for
from tests.clients.lease_application import running
from tests.clients.lease_examples import write_examples
from tests.clients.nginx_proxy import PATIENCE, free_port

EXPRESS = Path(sys.executable).parents[1] / "express" / "node_modules"
PAGE = Path(__file__).with_name("lease_page.html")


@attrs.frozen
class Application:
    """A running application: its URL, and the daemon's."""

    url: str
    daemon: str


@pytest.fixture(scope="module")
def daemon(private_image: Path, start_daemon: Callable[..., tuple[str, int, Path]]) -> str:
    """Serve that image to holders of leases."""
    url, _, _ = start_daemon(private_image, "--lease-keys-file", str(private_image.with_name("keys.json")))
    return url


@pytest.fixture(scope="module", params=["klein", "express"])
def application(
    request: pytest.FixtureRequest,
    daemon: str,
    private_image: Path,
    require_tool: Callable[..., str],
    lacking: Callable[[str], NoReturn],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Application]:
    """Run the application of a framework as it is shown, with the test's page beside the example's script."""
    place, port = tmp_path_factory.mktemp(request.param), free_port()
    write_examples(place, daemon, port)
    (place / "page" / "index.html").write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    (place / "issuer.json").symlink_to(private_image.with_name("issuer.json"))
    words = [sys.executable, "app_klein.py"]
    if request.param == "express":
        if not EXPRESS.is_dir():
            lacking("Express is not installed (make express)")
        (place / "node_modules").symlink_to(EXPRESS)
        words = [require_tool("node", package="nodejs"), "app_express.mjs"]
    with running(words, place, port):
        yield Application(f"http://localhost:{port}", daemon)


def asked(url: str, method: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_answer(application: Application) -> None:
    """The endpoint gives a URL that the daemon serves, and the time of its end; no cache keeps it."""
    status, headers, body = asked(f"{application.url}/leases/win98", "POST")
    answer = json.loads(body)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert sorted(answer) == ["expiresAt", "url"]
    assert answer["url"].startswith(f"{application.daemon}/v1/images/win98?lease=")
    left = datetime.fromisoformat(answer["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    assert asked(answer["url"], "HEAD")[0] == 200
    assert asked(answer["url"].partition("?")[0], "HEAD")[0] == 401


def test_others_get_nothing(application: Application) -> None:
    """The endpoint signs nothing for an image that its user may not read, and nothing to a GET."""
    status, _, body = asked(f"{application.url}/leases/win95", "POST")
    assert (status, body) == (403, b"")
    status, _, body = asked(f"{application.url}/leases/win98", "GET")
    assert status in {404, 405}
    assert b"lease=" not in body


@pytest.fixture(scope="module")
def visit(
    application: Application, require_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """One visit to the page: what it read, and how often it asked for a lease."""
    path = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    with page_server("") as (collector, reports):
        address = f"{application.url}/?report={collector}/report"
        with browser(path, address, tmp_path_factory.mktemp("browser")) as (process, complaints):
            return wait_for(reports, process, complaints)


def test_page(visit: dict[str, Any], demo_bytes: bytes) -> None:
    """Reads share one request for a lease, made in the last minute; without the endpoint the old lease goes on."""
    good = hashlib.sha256(demo_bytes[: 4 * 65536]).hexdigest()
    assert visit["asked_at_first"] == 1
    assert visit["fresh"] == visit["before_the_last_minute"] == {"sha256": good, "asked": 0}
    assert visit["last_minute"] == {"sha256": good, "asked": 1}
    assert visit["endpoint_away"]["sha256"] == good
    assert visit["endpoint_away"]["asked"] >= 1
    assert visit["lease_over"]["sha256"] == "the endpoint is away"
    assert visit["endpoint_back"] == {"sha256": good, "asked": 1}
    assert visit["lease_refused"] == {"sha256": good, "asked": 2}, "a 401 costs one request for another lease"
