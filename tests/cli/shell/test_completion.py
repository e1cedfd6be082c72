"""Completions, tried in the shells that they are for."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from aero_storage import settings
from aero_storage.cli.main import command
from aero_storage.cli.shell.bash import bash_completion
from aero_storage.cli.shell.command_tree import Value, command_tree
from aero_storage.cli.shell.fish import fish_completion
from aero_storage.cli.shell.zsh import zsh_completion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.command_output import CommandResult

TREE = command_tree(command, "aero-storage")

BASH = r"""
source "$1"; shift
COMP_WORDS=(aero-storage "$@"); COMP_CWORD=$#; COMPREPLY=()
_aero_storage
printf '%s\n' "${COMPREPLY[@]}"
"""
ZSH = r"""
autoload -Uz compinit; compinit -u -D
source "$1"; shift
print -r -- ${+functions[_aero-storage_]} ${_comps[aero-storage]}
"""

WORDS: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    (("le",), {"lease"}),
    (("lease", ""), {"keys", "issue", "check", "revoke"}),
    (("lease", "keys", "n"), {"new"}),
    (("--json", "lease", "keys", "ro"), {"rotate"}),
    (("--images-root", "lease", "ver"), {"verify"}),
    (("serve", "--no-p"), {"--no-page"}),
    (("completion", ""), {"bash", "zsh", "fish"}),
    (("import", "disk."), {"disk.img"}),
    (("serve", "di"), {"disks"}),
    (("--config", "di"), {"disk.img", "disks"}),
    (("--images-root", "di"), {"disks"}),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").touch()
    (tmp_path / "disks").mkdir()
    (tmp_path / "bash").write_text(bash_completion(TREE))
    (tmp_path / "zsh").write_text(zsh_completion(TREE))
    (tmp_path / "fish").write_text(fish_completion(TREE))
    return tmp_path


def run(place: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_bash(place: Path, require_tool: Callable[..., str], words: tuple[str, ...], expected: set[str]) -> None:
    """Bash completes commands, flags, their values, and files where files are meant."""
    bash = require_tool("bash", package="bash")
    said = run(place, bash, "--norc", "-c", BASH.replace("compopt", ":"), "bash", "./bash", *words)
    assert set(said.split()) == expected


@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_fish(place: Path, require_tool: Callable[..., str], words: tuple[str, ...], expected: set[str]) -> None:
    """Fish completes the same."""
    fish = require_tool("fish", package="fish")
    line = shlex.quote(f"aero-storage {' '.join(words)}")
    said = run(place, fish, "--no-config", "-c", f"source fish; complete -C {line}")
    assert expected <= {one.partition("\t")[0].rstrip("/") for one in said.splitlines()}


def test_zsh(place: Path, require_tool: Callable[..., str]) -> None:
    """Zsh takes the script without a word, and knows what completes the command."""
    zsh = require_tool("zsh", package="zsh")
    assert run(place, zsh, "-f", "-c", ZSH, "zsh", "./zsh").split() == ["1", "_aero-storage_"]


def test_the_command_prints_it(command: Callable[..., CommandResult], place: Path) -> None:
    """`aero-storage completion SHELL` prints the script, and no other shell is known."""
    for shell in ("bash", "zsh", "fish"):
        assert command("completion", shell).out == (place / shell).read_text()
    assert command("completion", "csh").status == 2


def test_tree_has_all() -> None:
    """The tree has every command, and each flag with what follows it."""
    found = {" ".join(one.words): one for one in TREE.walk()}
    assert {"", "import", "lease keys new", "catalog check", "completion"} <= found.keys()
    assert found["serve"].argument is Value.DIRECTORY
    flags = {name: flag for flag in found["serve"].flags for name in flag.names}
    assert {row.flag for row in settings.table()} <= flags.keys()
    assert (flags["--lease-keys-file"].value, flags["--page"].value) == (Value.FILE, Value.NOTHING)
