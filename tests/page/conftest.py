"""A browser, and daemons whose page it visits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.browser.conftest import chromium, lacking, node, run_node, tools
from tests.page.visit import Visit, visiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["chromium", "lacking", "node", "run_node", "tools"]


@pytest.fixture(scope="session")
def axe(tools: Path, lacking: Callable[[str], NoReturn]) -> str:
    """The source of axe-core, which looks for what keeps people out."""
    source = tools / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        lacking("axe-core is not installed (make browser-tools)")
    return source.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def visit(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """A tab of a browser that starts for the tests of a file."""
    with visiting(chromium, tmp_path_factory.mktemp("profile")) as visit:
        yield visit
