"""The documents of the project, as its tests see them."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"


_ROOMS = (".ci", ".github", "bench", "docs", "etc", "src", "tests", "tools", "torture", "twisted")
"""Directories whose files are the project's own; not all of them have to be there."""


def files() -> list[Path]:
    """Every file of the project: those at its top, and those in its directories."""
    found = [path for room in _ROOMS for path in (PROJECT / room).rglob("*") if "__pycache__" not in path.parts]
    return sorted(path for path in (*PROJECT.glob("*"), *PROJECT.glob(".*"), *found) if path.is_file())


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    return [path for path in files() if path.suffix == ".md"]


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code of a language in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
