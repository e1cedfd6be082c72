"""The page in figures: when each view shows, whether it moves, and what the console has of it."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import entry, put_catalog, write
from tests.page.looked_at import HUGE, TIB, fill_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.page.visit import Visit

VIEWS = {
    "catalog": ("#/", "/^Chunks(yes|no)$/.test(document.querySelectorAll('.image dl > div')[2]?.textContent)"),
    "image": ("#/image/plain", "document.querySelector('.bytes table')"),
    "boot": ("#/boot/plain", "document.querySelector('.boot-form, .notice')"),
    "server": ("#/server", "document.querySelectorAll('canvas').length === 5"),
}
WIDTHS = (320, 1280)
MOST_SHIFT = 0.01
MOST_PAINT_MS = 2500  # good, by the measures that search engines use; the machine of a test may be busy
MOST_TASK_MS = 200
VISITS = 12  # at most: the time of a task has the pauses of a busy machine in it
LEAST_TARGET = 24
MANY = 10_000
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
PAINT = """new Promise(done => new PerformanceObserver(list => done(list.getEntries().at(-1).startTime))
  .observe({ type: "largest-contentful-paint", buffered: true }))"""
LONGEST = """new Promise(done => {
  const seen = [];
  const observer = new PerformanceObserver(list => seen.push(...list.getEntries().map(({ duration }) => duration)));
  observer.observe({ type: "longtask", buffered: true });
  setTimeout(() => done(Math.max(0, ...seen)), 100);
})"""
# WCAG 2.2, 2.5.8: a smaller target is fine in a line of text, or where the circle around it touches no other one.
SMALL = f"""[...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary")]
  .filter(one => one.checkVisibility() && !one.disabled)
  .map(one => [one, one.getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && (box.width < {LEAST_TARGET} || box.height < {LEAST_TARGET}))
  .filter(([one]) => !one.closest("p, dd, .hint"))
  .map(([one, box]) => `${{one.outerHTML.slice(0, 100)}} ${{box.width}}x${{box.height}}`)"""
FOCUSABLE = """[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
  .filter(one => one.checkVisibility() && !one.disabled && !one.closest("[hidden]")).length"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose images have no chunks and no profiles, which no request may take for an error."""
    home = tmp_path_factory.mktemp("measures")
    write(home / "images" / "disk.img", b"d" * 100_000)
    put_catalog(home / "images", {"images": [entry("plain", name="A disk without chunks")]})
    with running(home) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("crowd")
    write(home / "images" / "disk.img", b"d" * 4096)
    put_catalog(
        home / "images", {"images": [entry(f"image-{number:05}", name=f"Image {number}") for number in range(MANY)]}
    )
    with running(home) as daemon:
        yield daemon


def opened(visit: Visit, daemon: Daemon, view: str, width: int = 1280) -> None:
    """Open a view as the first visitor does: with empty caches, and a console without a line."""
    target, is_there = VIEWS[view]
    visit.call("Network.enable")
    visit.call("Network.clearBrowserCache")
    visit.look(width=width)
    visit.tab.said.clear()
    visit.open(f"http://127.0.0.1:{daemon.port}/{target}")
    visit.until(is_there)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", WIDTHS)
def test_view(visit: Visit, store: Daemon, view: str, width: int) -> None:
    """Each view shows soon and does not move; the console has no line, and the policy is kept."""
    opened(visit, store, view, width)
    assert 0 < visit.evaluate(PAINT) < MOST_PAINT_MS
    visit.evaluate("new Promise(done => setTimeout(done, 300))")  # what comes late may not move it either
    assert visit.evaluate("shifted") < MOST_SHIFT
    assert visit.tab.said == []
    assert visit.evaluate("[...violations, ...failures]") == []
    assert visit.evaluate(FITS)


@pytest.mark.parametrize("view", VIEWS)
def test_one_visit_of_all_views(visit: Visit, store: Daemon, view: str) -> None:
    """From each view all others are reached without a new document, and none leaves a line on the console."""
    opened(visit, store, view)
    for target, is_there in VIEWS.values():
        visit.evaluate(f"location.hash = {target!r}")
        visit.until(is_there)
    assert visit.tab.said == []
    assert visit.evaluate("[...violations, ...failures]") == []


@pytest.mark.parametrize("view", VIEWS)
def test_document(visit: Visit, store: Daemon, view: str) -> None:
    """Each view has a language, a title, a description, one heading of the first rank, and one main part."""
    opened(visit, store, view)
    head: dict[str, Any] = json.loads(
        visit.evaluate(
            "JSON.stringify({ lang: document.documentElement.lang, title: document.title,"
            " description: document.querySelector('meta[name=description]').content,"
            " h1: document.querySelectorAll('h1').length, main: document.querySelectorAll('main').length })"
        )
    )
    assert (head["lang"], head["h1"], head["main"]) == ("en", 1, 1)
    assert len(head["title"]) > 5
    assert len(head["description"]) > 20


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", WIDTHS)
def test_targets(visit: Visit, store: Daemon, view: str, width: int) -> None:
    """Whatever is pressed has 24 px on both sides at least, but for links within a sentence (WCAG 2.2, 2.5.8)."""
    opened(visit, store, view, width)
    visit.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert visit.evaluate(SMALL) == []


@pytest.mark.parametrize("view", VIEWS)
def test_keyboard(visit: Visit, store: Daemon, view: str) -> None:
    """Tab reaches every control, each with a ring around it, and leads out at the end."""
    opened(visit, store, view)
    visit.evaluate("document.body.focus()")
    wanted, reached = visit.evaluate(FOCUSABLE), 0
    visit.evaluate("globalThis.reached = new Set()")
    for _ in range(wanted + 20):
        visit.press("Tab")
        if visit.evaluate("document.activeElement === document.body"):
            break
        visit.evaluate("reached.add(document.activeElement)")
        assert visit.evaluate(
            "(style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2)"
            "(getComputedStyle(document.activeElement))"
        ), visit.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    reached = visit.evaluate("reached.size")
    assert reached >= wanted > 2


@pytest.mark.parametrize("view", VIEWS)
def test_reduced_motion(visit: Visit, store: Daemon, view: str) -> None:
    """A reader who wants no motion gets none: nothing moves, and nothing fades."""
    opened(visit, store, view)
    visit.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    moving = (
        "[...document.querySelectorAll('*')].filter(one => { const style = getComputedStyle(one);"
        " return parseFloat(style.transitionDuration) > 0 || (style.animationName !== 'none' &&"
        " parseFloat(style.animationDuration) > 0); }).length"
    )
    assert visit.evaluate(moving) == 0
    visit.look()


def test_many_images(visit: Visit, crowd: Daemon) -> None:
    """With 10,000 images no task of the catalog is long: at the start, and while a word is searched for."""
    visit.look()
    longest = []
    for _ in range(VISITS):
        visit.open(f"http://127.0.0.1:{crowd.port}/")
        visit.until("document.querySelectorAll('.image').length === 50")
        visit.evaluate("document.querySelector('#search').focus()")
        for sign in "image 07777":
            visit.write(sign)
        visit.until("document.querySelector('.count').textContent.startsWith('1 image')")
        longest.append(visit.evaluate(LONGEST))
        assert visit.evaluate("shifted") < MOST_SHIFT
        if longest[-1] < MOST_TASK_MS:
            break
    assert min(longest) < MOST_TASK_MS


def test_fragmented_disk(visit: Visit, tmp_path: Path) -> None:
    """A sparse disk of 2 TiB in thousands of pieces opens within seconds, without a long task, and has its map."""
    (tmp_path / "images").mkdir()
    with (tmp_path / "images" / "huge.raw").open("wb") as file:
        file.truncate(HUGE)
        for number in range(4096):
            os.pwrite(file.fileno(), b"x", number * (TIB // 2048) + 8192)
    with running(tmp_path) as daemon:
        visit.look()
        visit.open("about:blank")
        started = time.monotonic()
        visit.open(f"http://127.0.0.1:{daemon.port}/#/image/huge.raw")
        visit.until("document.querySelector('.bytes table')")
        assert time.monotonic() - started < 10
        visit.until("document.querySelectorAll('.legend li')[1].textContent.includes('iB, ')")
        assert visit.evaluate(LONGEST) < MOST_TASK_MS
        visit.evaluate("location.hash = '#/'")
        visit.until("document.querySelectorAll('.image dd')[1]?.textContent.startsWith('up to ')")
        assert visit.evaluate("[...violations, ...failures]") == []


def test_hostile_images(visit: Visit, tmp_path: Path) -> None:
    """No text of a catalog or a disk makes a view wider than the screen, or taller than it may be."""
    fill_root(tmp_path)
    catalog = json.loads((tmp_path / "images" / "manifest.json").read_bytes())
    for image in catalog["images"]:
        image["name"], image["description"] = "W" * 500, "<b>" + "x" * 5000
    put_catalog(tmp_path / "images", catalog)
    with running(tmp_path) as daemon:
        for view, is_there in (
            ("#/", "document.querySelector('.image')"),
            ("#/image/hostile", "document.querySelector('.bytes table')"),
            ("#/boot/hostile", "document.querySelector('.notice, .boot-form')"),
        ):
            visit.look(width=320)
            visit.open(f"http://127.0.0.1:{daemon.port}/{view}")
            visit.until(is_there)
            assert visit.evaluate(FITS), view
            assert visit.evaluate("document.querySelector('h1').getBoundingClientRect().height") < 400, view
            assert visit.evaluate("[...violations, ...failures]") == []
    shutil.rmtree(tmp_path / "images")
