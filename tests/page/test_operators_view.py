"""The operators' corner in Chromium: for callers who may read the metrics, and for no one else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.blackbox.harness import Daemon
    from tests.page.visit import Visit

LINKS = "[...document.querySelectorAll('#views a')].map(one => one.textContent).join()"
PLOTS = "[...document.querySelectorAll('canvas')].map(one => one.getAttribute('aria-label') ?? '')"
CLEAN = "JSON.stringify([violations, failures])"
NOTHING = "[[],[]]"


@pytest.fixture(scope="module")
def open_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("open")
    write(home / "images" / "disk.img", b"d" * 100_000)
    with running(home) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def closed_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("closed")
    write(home / "images" / "disk.img", b"d" * 100_000)
    with running(home, env={"AERO_STORAGE_METRICS_AUTH_TOKEN": "of-nobody-here"}) as daemon:
        yield daemon


def opened(visit: Visit, daemon: Daemon, target: str) -> None:
    visit.look()
    visit.open(f"http://127.0.0.1:{daemon.port}/{target}")
    visit.until("Boolean(document.querySelector('.view h1'))")


def test_link_where_the_metrics_are_open(visit: Visit, open_daemon: Daemon) -> None:
    """A caller who may read the metrics is led to the view."""
    opened(visit, open_daemon, "")
    visit.until(f"{LINKS} === 'Images,Server'")


def test_no_link_where_they_are_closed(visit: Visit, closed_daemon: Daemon) -> None:
    """A caller who may not is not led there, is not asked for, and is told so at the address itself."""
    opened(visit, closed_daemon, "")
    assert visit.evaluate("document.body.dataset.metrics") == "closed"
    assert visit.evaluate(LINKS) == "Images"
    opened(visit, closed_daemon, "#/server")
    visit.until(
        "document.querySelector('.notice')?.textContent.startsWith('The metrics of this server are not open')"
    )


def test_plots_follow_what_happens(visit: Visit, open_daemon: Daemon) -> None:
    """Bytes that are read show in the figures of the plots within seconds."""
    opened(visit, open_daemon, "#/server")
    visit.until("document.querySelectorAll('canvas').length === 5")
    visit.evaluate("globalThis.load = setInterval(() => fetch('/v1/images/disk.img'), 100)")
    visit.until(f"{PLOTS}.some(text => /kB\\/s/.test(text))")
    visit.evaluate("clearInterval(load)")
    assert visit.evaluate("document.querySelector('.facts').textContent").count("64") == 1
    assert visit.evaluate(CLEAN) == NOTHING


@pytest.mark.parametrize(("width", "dark"), [(320, False), (1280, True)])
def test_accessible(visit: Visit, open_daemon: Daemon, axe: str, width: int, *, dark: bool) -> None:
    """Axe finds nothing, and nothing is cut off at the side."""
    opened(visit, open_daemon, "#/server")
    visit.look(width=width, dark=dark)
    visit.until("document.querySelectorAll('canvas').length === 5")
    assert visit.axe(axe) == []
    assert visit.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_server_that_goes_away(visit: Visit, open_daemon: Daemon) -> None:
    """While the server does not answer the view says so, and goes on when it does."""
    opened(visit, open_daemon, "#/server")
    visit.until("document.querySelectorAll('canvas').length === 5")
    trouble = "document.querySelector('.trouble').textContent"
    visit.go_offline(is_offline=True)
    try:
        visit.until(f"{trouble} === 'The server does not answer; asking again.'")
    finally:
        visit.go_offline(is_offline=False)
    visit.until(f"{trouble} === ''")
