"""Tell where a release comes from: `release_links.py SOURCES https://github.com/NAME/PROJECT TAG`.

Changes a copy of the sources. The pages of PyPI and npm are elsewhere than the files that the README links to, and
npm's registry takes a provenance only for a package that names its repository.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LINK = re.compile(r"(!?)(\[[^\]]*\]\()((?![a-z]+:|#)[^)\s]+)\)")


def with_whole_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links lead to a tag of the repository, those of pictures to the file itself."""

    def whole(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        return f"{mark}{label}{repository}/{'raw' if mark else 'blob'}/{tag}/{target})"

    return LINK.sub(whole, text)


def with_project_urls(text: str, repository: str, tag: str) -> str:
    """Return a pyproject.toml that names the repository and the changes."""
    urls = {
        "Source": repository,
        "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{repository}/issues",
    }
    return text + "\n[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in urls.items())


def with_repository(text: str, repository: str) -> str:
    """Return a package.json that names the repository."""
    where = {"type": "git", "url": f"git+{repository}.git", "directory": "browser"}
    return json.dumps({**json.loads(text), "homepage": repository, "repository": where}, indent=2) + "\n"


def main(sources: Path, repository: str, tag: str) -> None:
    """Write the three files anew."""
    made: dict[str, Callable[[str], str]] = {
        "README.md": lambda text: with_whole_links(text, repository, tag),
        "pyproject.toml": lambda text: with_project_urls(text, repository, tag),
        "browser/package.json": lambda text: with_repository(text, repository),
    }
    for name, change in made.items():
        path = sources / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
