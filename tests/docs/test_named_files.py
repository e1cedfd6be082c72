"""Files that pages name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.pages import PROJECT, documents

PACKAGE = PROJECT / "src" / "aero_storage"
PAGES = [page for page in documents() if page.name != "CHANGELOG.md"]
NAMED = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.py|(?:src|tests|bench|torture|tools|etc|docs)/[\w./-]*)`")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(PROJECT)) for page in PAGES])
def test_named_files_are_there(page: Path) -> None:
    """A module is named from the package or the project down, any other file from the project down."""
    named = set(NAMED.findall(page.read_text(encoding="utf-8")))
    assert (
        sorted(name for name in named if not any((top / name).exists() for top in (PROJECT, PACKAGE, page.parent)))
        == []
    )
