"""Node.js, and a daemon with images for the client of browsers."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.browser.driven import Driven, driving
from tests.browser.served import CLIENT, TOOLS, Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 120


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
def tools(lacking: Callable[[str], NoReturn]) -> Path:
    """A directory with the packages of npm that the tests use."""
    if not TOOLS.is_dir():
        lacking("TypeScript, v86 and readers are not installed (make browser-tools)")
    return TOOLS


@pytest.fixture(scope="session")
def run_node(node: str) -> Callable[..., str]:
    """Give a function that runs Node.js with these words and variables, and returns what it printed."""

    def run(*words: str | Path, **variables: str) -> str:
        done = subprocess.run(
            [node, *words],
            cwd=CLIENT.parent,
            env={**os.environ, "NODE_OPTIONS": "", **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
        return done.stdout

    return run


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("client")) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def driven(chromium: str, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """One browser for all tests that drive pages."""
    with driving(chromium, tmp_path_factory.mktemp("driven"), served) as running:
        yield running
