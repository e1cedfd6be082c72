"""Citations of `docs/reference/http.md`: each names a section that is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import PROJECT, files

REFERENCE = PROJECT / "docs/reference/http.md"
SECTION = re.compile(r"^## §(\d+) ", re.MULTILINE)
CITATION = re.compile(r"http\.md`? (§\d+(?:(?:, | and | or | to |–)§\d+)*)")
OTHER_NAMES = re.compile(r"\b(?:contract|seed),? §", re.IGNORECASE)


def sources() -> dict[Path, str]:
    """The text of every file of the project, but for this one."""
    return {path: path.read_bytes().decode("utf-8", "replace") for path in files() if path != Path(__file__)}


def cited(text: str) -> set[str]:
    return {number for citation in CITATION.findall(text) for number in re.findall(r"\d+", citation)}


def test_cited_sections_exist() -> None:
    """Every section that code, tests and documents cite is a heading of the reference."""
    there = set(SECTION.findall(REFERENCE.read_text(encoding="utf-8")))
    citing = {str(path.relative_to(PROJECT)): cited(text) for path, text in sources().items()}
    missing = {name: sorted(numbers - there) for name, numbers in citing.items() if numbers - there}
    assert not missing
    assert sum(map(bool, citing.values())) > 20, "the citations are not found any more"


def test_sections_are_numbered_in_order() -> None:
    """The sections of the reference go upwards from §1, each number once; a number keeps its meaning for good."""
    numbers = [int(number) for number in SECTION.findall(REFERENCE.read_text(encoding="utf-8"))]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1


def test_nothing_cites_another_text() -> None:
    """No file cites rules by a name under which the project has none."""
    names = [str(path.relative_to(PROJECT)) for path, text in sources().items() if OTHER_NAMES.search(text)]
    assert not names
