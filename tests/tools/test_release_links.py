"""The files of a release that tell where it comes from."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import copy

PROJECT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/example/aero-storage"


def test_release_links(tmp_path: Path) -> None:
    """No link of the README is relative any more, and both packages name the repository; nothing else is changed."""
    names = ("README.md", "pyproject.toml", "browser/package.json")
    (tmp_path / "browser").mkdir()
    for name in names:
        copy(PROJECT / name, tmp_path / name)
    program = PROJECT / "tools" / "release_links.py"
    subprocess.run([sys.executable, program, tmp_path, REPOSITORY, "v1.2.3"], check=True, timeout=60)
    readme, pyproject, npm = ((tmp_path / name).read_text(encoding="utf-8") for name in names)
    assert f"]({REPOSITORY}/raw/v1.2.3/docs/page.png)" in readme
    assert f"]({REPOSITORY}/blob/v1.2.3/CHANGELOG.md)" in readme
    assert "](docs/" not in readme
    assert "](https://twisted.org)" in readme
    before = {name: (PROJECT / name).read_text(encoding="utf-8") for name in names}
    plain = readme.replace(f"{REPOSITORY}/raw/v1.2.3/", "").replace(f"{REPOSITORY}/blob/v1.2.3/", "")
    assert plain == before["README.md"]
    project = tomllib.loads(pyproject)["project"]
    assert project.pop("urls")["Source"] == REPOSITORY
    assert project == tomllib.loads(before["pyproject.toml"])["project"]
    assert json.loads(npm)["repository"]["url"] == f"git+{REPOSITORY}.git"
    assert json.loads(before["browser/package.json"]).items() <= json.loads(npm).items()
