"""The manual pages, as man renders them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from aero_storage import settings
from aero_storage.cli.main import command
from aero_storage.cli.shell.command_tree import command_tree
from aero_storage.cli.shell.manual import manual_of_commands, manual_of_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TREE = command_tree(command, "aero-storage")
PAGES = {"commands": manual_of_commands(TREE, "1.2.3"), "settings": manual_of_settings("1.2.3")}


@pytest.fixture(params=list(PAGES))
def rendered(request: pytest.FixtureRequest, tmp_path: Path, require_tool: Callable[..., str]) -> tuple[str, str]:
    """Give the name of a page, and its text at 100 columns."""
    path = tmp_path / "page.1"
    path.write_text(PAGES[request.param], encoding="utf-8")
    man = require_tool("man", package="man-db")
    environ = {
        **os.environ,
        "MANWIDTH": "100",
        "LC_ALL": "C.UTF-8",
        "MANROFFOPT": "-ww -rHY=0",
        "MAN_KEEP_FORMATTING": "",
    }
    done = subprocess.run(
        [man, "--warnings=w", "--local-file", str(path)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return request.param, re.sub(".\b", "", done.stdout)


def test_renders_without_a_warning(rendered: tuple[str, str]) -> None:
    """Each page has its name, a synopsis and the version, and troff finds no fault in it."""
    _, text = rendered
    assert "NAME\n" in text
    assert "SYNOPSIS\n" in text
    assert "aero-storage 1.2.3" in text


def test_shows_all(rendered: tuple[str, str]) -> None:
    """Each command, each flag in its help, and each setting with its variable and key is on a page."""
    name, text = rendered
    joined = " ".join(text.split())
    if name == "commands":
        for one in TREE.walk():
            assert one.commands or f"aero-storage {' '.join(one.words)} " in joined
            assert all(flag in joined for shown in one.flags if not shown.is_hidden for flag in shown.names)
    else:
        assert all(f"variable {row.variable}; key {row.key}." in joined for row in settings.table())
        assert all(f"{row.flag} " in joined or f"{row.flag}, {row.twin} " in joined for row in settings.table())


def test_lines_of_examples_are_kept(rendered: tuple[str, str]) -> None:
    """Examples keep their lines, and backslashes, quotes and hyphens come out as they are typed."""
    name, text = rendered
    if name == "commands":
        assert '\n         aero-storage import win98.qcow2 --id win98 --name "Windows 98 SE"\n' in text
        assert "--header 'NAME: VALUE'" in text


def test_a_line_is_no_request() -> None:
    """A text that begins with a dot or an apostrophe is text, and no request of troff."""
    lines = [line for page in PAGES.values() for line in page.splitlines()]
    requests = {line.split()[0] for line in lines if line.startswith((".", "'"))}
    assert requests <= {
        '.\\"',
        ".TH",
        ".nh",
        ".ad",
        ".SH",
        ".SS",
        ".B",
        ".BR",
        ".I",
        ".RI",
        ".br",
        ".PP",
        ".TP",
        ".nf",
        ".fi",
    }
