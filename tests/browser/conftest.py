"""Node.js, and a daemon with images for the client of browsers."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.browser.served import Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """End a test that the machine cannot run: skipped on a user's machine, failed in CI."""

    def give_up(reason: str) -> NoReturn:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI it must be there")
        pytest.skip(reason)

    return give_up


@pytest.fixture(scope="session")
def node(lacking: Callable[[str], NoReturn]) -> str:
    """Node.js of a version that the client is for."""
    path = shutil.which("node")
    if path is None:
        lacking("node is not installed (Debian: apt-get install nodejs)")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        lacking(f"Node.js is {version.strip()}, and the client is for 20 or newer")
    return path


@pytest.fixture(scope="session")
def chromium(lacking: Callable[[str], NoReturn]) -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        lacking("chromium is not installed (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("client")) as daemon:
        yield daemon
