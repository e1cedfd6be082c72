"""The examples of docs/how-to/private-images.md, written into files under the names that their first lines tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.docs.pages import PROJECT, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = PROJECT / "docs" / "how-to" / "private-images.md"
DAEMON, PORT = "http://localhost:8080", "8000"
NAME = re.compile(r"(?:#|//) (\S+)\n")


def write_examples(place: Path, daemon: str = DAEMON, port: int | str = PORT) -> list[str]:
    """Write them below a directory, with the URL of a daemon and the port of the application in them; their names."""
    shown = [block for language in ("python", "js") for block in blocks(PAGE, language)]
    named = {match[1]: block for block in shown if (match := NAME.match(block))}
    assert len(named) == len(shown), "each example names its file"
    for name, text in named.items():
        path = place / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(DAEMON, daemon).replace(PORT, str(port)), encoding="utf-8")
    return sorted(named)
