"""The modules of the page without a document, by Node.js; their types, format and prose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "browser" / "page"
MODULES = sorted(path.name for path in PAGE.glob("*.js"))
SUITES = sorted(path.name for path in HERE.glob("*.test.mjs"))
LINE_LENGTH, LONGEST_MODULE = 118, 300
CLAUSE = re.compile(r"(?:/\*\*|//|\*.*[.:;!?]) (?:who|whoever|whose|what|whatever)\b", re.IGNORECASE)
MARKUP = re.compile(r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|Function)\b")


@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str, run_node: Callable[..., str]) -> None:
    """Every test of the suite holds."""
    printed = run_node("--test", HERE / suite)
    assert "# fail 0" in printed
    assert "# pass 0" not in printed


def test_types(run_node: Callable[..., str], tools: Path) -> None:
    """The modules keep the types that they declare, under the strict rules of TypeScript."""
    run_node(tools / "node_modules" / ".bin" / "tsc", "--project", HERE / "tsconfig.json")
    assert [
        name for name in MODULES if not (PAGE / name).read_text(encoding="utf-8").startswith("// @ts-check\n")
    ] == []


def test_format(run_node: Callable[..., str], tools: Path) -> None:
    """Prettier would change nothing."""
    prettier = tools / "node_modules" / "prettier" / "bin" / "prettier.cjs"
    run_node(prettier, "--no-editorconfig", "--check", PAGE, *HERE.glob("*.mjs"))


@pytest.mark.parametrize("module", MODULES)
def test_module(module: str) -> None:
    """A module is one idea, reads no markup, has no line that is too long, and its prose has subjects."""
    lines = (PAGE / module).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_MODULE
    assert [line for line in lines if len(line) > LINE_LENGTH] == []
    assert [line for line in lines if MARKUP.search(line)] == []
    assert [line for line in lines if CLAUSE.search(line)] == []
