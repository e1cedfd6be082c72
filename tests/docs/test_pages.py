"""The pages: links lead somewhere, what they name is there, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.docs.pages import PROJECT, README, documents, prose

DECISIONS = PROJECT / "docs" / "explanation" / "decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
REMOTE = re.compile(r"[a-z]+:")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(PROJECT)) for path in paths]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(prose(page.read_text(encoding="utf-8")))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def broken(page: Path, target: str) -> bool:
    """Whether a link of a page leads nowhere."""
    path, _, anchor = unquote(target).partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists():
        return True
    return bool(anchor) and (there.suffix != ".md" or anchor not in anchors(there))


@pytest.mark.parametrize("page", documents(), ids=names(documents()))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the project, and its anchor a heading in it."""
    targets = [target for target in LINK.findall(prose(page.read_text(encoding="utf-8"))) if not REMOTE.match(target)]
    assert [target for target in targets if broken(page, target)] == []


def test_every_page_is_reached() -> None:
    """From the README links lead to every page of the documentation."""
    reached, new = {README}, [README]
    while new:
        page = new.pop()
        for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
            there = (page.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists() and there not in reached:
                reached.add(there)
                new.append(there)
    assert names(sorted(set(documents()) - reached)) == []


def test_readme_is_short() -> None:
    """The README has at most 130 lines: what is more belongs into docs/."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("record", RECORDS, ids=names(RECORDS))
def test_decisions_are_short_records(record: Path) -> None:
    """A record has a number, at most 40 lines, a context, a decision and consequences, and names the code."""
    text = record.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(record.name[:4])}. ")
    assert len(text.splitlines()) <= 40
    for part in ("**Context.** ", "**Decision.** ", "**Consequences.**"):
        assert f"\n{part}" in text, part


def test_decisions_are_numbered() -> None:
    """Records are numbered without a gap, and each is in the list."""
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))
    listed = re.findall(
        r"^(\d+)\. \[.+\]\((.+)\)$", (DECISIONS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed == [(str(int(record.name[:4])), record.name) for record in RECORDS]
