"""Standard output and standard error that take no text, or not every text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.blackbox.harness import environment
from tests.disk_bytes import noise_disk

from aero_storage.cli.main import main

COMMAND = (sys.executable, "-c", f"from {main.__module__} import main; main()")


def run(root: Path, *words: str, output: str | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run one command over `root`, with its standard output in the file `output`."""
    variables["AERO_STORAGE_IMAGE_ROOT"] = str(root)
    with Path(output or os.devnull).open("wb") as out:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=root.parent,
            env=environment(variables),
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "dïsk.img").write_bytes(noise_disk(1, 64 * 1024))
    return tmp_path / "images"


@pytest.mark.parametrize("json_words", [(), ("--json",)])
def test_full_output(root: Path, json_words: tuple[str, ...]) -> None:
    """A result that cannot be written is told of as such, without a traceback: the work is done."""
    ended = run(root, "import", "dïsk.img", "--id", "disk", *json_words, output="/dev/full")
    said = ended.stderr.decode()
    assert (ended.returncode, "Traceback" in said) == (1, False), said
    assert "cannot be written to standard output: No space left on device; the command has done its work" in said
    assert [entry["id"] for entry in json.loads((root / "manifest.json").read_text())["images"]] == ["disk"]


@pytest.mark.parametrize("words", [("import", "dïsk.img", "--id", "disk"), ("import", "nöne.img", "--id", "disk")])
def test_other_encodings(root: Path, words: tuple[str, ...]) -> None:
    """Characters that the encoding of the terminal lacks are escaped."""
    ended = run(root, *words, PYTHONIOENCODING="ascii", output=str(root.parent / "out"))
    said = (root.parent / "out").read_bytes() + ended.stderr
    assert b"Traceback" not in said
    assert said.isascii()
    assert b"\\xef" in said or b"\\xf6" in said
