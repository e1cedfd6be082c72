"""Blocks that Chromium keeps beyond a session, in a profile that two browsers have one after the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from attrs import frozen
from tests.browser.served import CLIENT, operate, serving
from tests.clients.chromium import IMAGES_HOST, PAGE_HOST, browser, page_server, wait_for

if TYPE_CHECKING:
    from pathlib import Path

PAGE = CLIENT.parent / "tests" / "browser" / "store_page.html"
KINDS = ("opfs", "cache", "indexeddb", "chunks")
BLOCK = 32768


@frozen
class Sessions:
    """What two sessions found; `moving` was replaced between them."""

    first: dict[str, Any]
    second: dict[str, Any]
    image: str
    other: str


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def sessions(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Sessions:
    place, found = tmp_path_factory.mktemp("browser"), []
    with (
        serving(tmp_path_factory.mktemp("kept")) as served,
        page_server(PAGE.read_text(encoding="utf-8"), modules=CLIENT) as (origin, reports),
    ):
        images = f"{served.base.replace('127.0.0.1', IMAGES_HOST)}/v1/images"
        # The second session has the module, and so its worker, from another origin than the page.
        for step, client in (("first", origin), ("second", origin.replace(PAGE_HOST, IMAGES_HOST))):
            address = f"{origin}/?{urlencode({'images': images, 'step': step, 'client': client})}"
            with browser(chromium, address, place) as (process, complaints):
                found.append(wait_for(reports, process, complaints))
            operate(served.root, "import", served.other, "--id", "moving", "--format", "raw")
            served.until_version("moving", f"sha256-{sha256(served.other)}")
        first, second = found
        return Sessions(first, second, sha256(served.image), sha256(served.other))


@pytest.mark.parametrize("kind", KINDS)
def test_bytes(sessions: Sessions, kind: str) -> None:
    """Every kind of store gives the right bytes, in both sessions; without locks it is IndexedDB."""
    for session in (sessions.first, sessions.second):
        assert session["kinds"][kind]["sha256"] == sessions.image
        assert session["kinds"][kind]["kind"] == ("opfs" if kind == "chunks" else kind)


@pytest.mark.parametrize("kind", KINDS)
def test_second_session(sessions: Sessions, kind: str) -> None:
    """The second session fetches no block: at most 2 requests, for what the image is now."""
    assert sessions.first["kinds"][kind]["stats"]["hits"]["disk"] == 0
    stats = sessions.second["kinds"][kind]["stats"]
    assert stats["requests"] <= 2
    assert stats["waits"] == 0
    assert stats["hits"]["disk"] > 0


def test_profile_that_is_kept(sessions: Sessions) -> None:
    """A session that has all that the profile names asks for the image's metadata, and for nothing else."""
    first, second = sessions.first["profiled"], sessions.second["profiled"]
    assert first["hits"]["disk"] == 0
    assert first["prefetchedUsedBytes"] == 3 * 65536
    assert second["hits"]["disk"] == 6
    assert (second["requests"], second["waits"]) == (1, 0)


def test_tabs(sessions: Sessions) -> None:
    """A second tab has the blocks from the first, and has the files itself when the first is gone."""
    tabs = sessions.second["tabs"]
    assert tabs["asked"] == tabs["alone"] == sessions.image
    assert tabs["before"]["waits"] == tabs["after"]["waits"] == 0
    assert tabs["after"]["hits"]["disk"] > tabs["before"]["hits"]["disk"]


def test_replaced(sessions: Sessions) -> None:
    """No block of an image that was replaced is given for the new one."""
    assert sessions.first["moving"]["sha256"] == sessions.image
    assert sessions.second["moving"]["sha256"] == sessions.other
    assert sessions.second["moving"]["stats"]["hits"]["disk"] == 0


def test_forgotten(sessions: Sessions) -> None:
    """What was forgotten takes no room any more, and is fetched anew."""
    assert sessions.second["forgotten"]["before"] == ["data", "index-1", "note-extents"]
    assert sessions.second["forgotten"]["after"] == []
    assert sessions.second["forgotten"]["sha256"] == sessions.image
    assert sessions.second["forgotten"]["stats"]["hits"]["disk"] == 0


def test_opening_that_is_given_up(sessions: Sessions) -> None:
    """An opening that is given up leaves no store open: others can have its files."""
    assert sessions.first["givenUp"] == {"code": "aborted", "isHeld": False}


def test_overlay(sessions: Sessions) -> None:
    """The second session finds what the first wrote; no two tabs have an overlay; what is discarded is gone."""
    assert sessions.first["overlay"]["twice"] == "forbidden"
    written = "written in the first session"
    assert sessions.second["overlay"] == {"texts": [written, written], "kind": "opfs", "bytes": 0}
