"""The QR code as a terminal shows it, read by a decoder as a phone would."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest
import zxingcpp

URL = "http://192.0.2.9:8080/"
PROGRAM = """
from aero_storage.cli.output import Output
from aero_storage.cli.commands.serve import tell_addresses
from aero_storage.service.listening.endpoints import Address
tell_addresses(Output(), "images", (Address("192.0.2.9:8080", is_secure=False),), with_code=True)
"""
DARK, LIGHT = 0, 255
THEMES = {"dark": (LIGHT, DARK), "light": (DARK, LIGHT)}
"""Foreground and background of a terminal."""

SHADES = {"30": DARK, "107": LIGHT, "38;5;16": DARK, "48;5;231": LIGHT}
HALVES = {" ": (False, False), "▀": (True, False), "▄": (False, True), "█": (True, True)}
CELL = 8
"""Pixels of a module."""


def on_a_terminal(**variables: str) -> str:
    controller, own = pty.openpty()
    environ = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLORTERM"}}
    environ |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "COLUMNS": "80", **variables}
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=own, stdout=own, stderr=own, env=environ) as started:
        os.close(own)
        text = b""
        with suppress(OSError):  # EIO: the program has closed its end
            while data := os.read(controller, 65536):
                text += data
        started.wait(60)
    os.close(controller)
    return text.decode()


def pixels_of(shown: str, theme: tuple[int, int]) -> list[list[int]]:
    """Return shades, as a terminal of a theme shows them: two rows for each line that has blocks."""
    rows: list[list[int]] = []
    for line in shown.replace("\r", "").split("\n"):
        if not re.search("[▀▄█]", line) and "\x1b[" not in line:
            continue
        ink, paper = theme
        above, below = list[int](), list[int]()
        for sequence, char in re.findall(r"\x1b\[([0-9;]*)m|(.)", line):
            if not char:
                ink, paper = obeyed(sequence, (ink, paper), theme)
            else:
                upper, lower = HALVES.get(char, (False, False))
                above.append(ink if upper else paper)
                below.append(ink if lower else paper)
        rows += [above, below]
    return rows


def obeyed(sequence: str, now: tuple[int, int], theme: tuple[int, int]) -> tuple[int, int]:
    """Return foreground and background after a sequence that selects colours."""
    if sequence in {"", "0"}:
        return theme
    ink, paper = now
    for part in re.findall(r"[34]8;5;[0-9]+|[0-9]+", sequence):
        if part.startswith(("3", "9")):
            ink = SHADES[part]
        else:
            paper = SHADES[part]
    return ink, paper


def read(rows: list[list[int]], margin: int) -> list[str]:
    width = max(map(len, rows))
    lines = [bytes(shade for one in [*row, *[margin] * (width - len(row))] for shade in [one] * CELL) for row in rows]
    data = b"".join(line * CELL for line in lines)
    image = memoryview(data).cast("B", shape=[CELL * len(rows), CELL * width])
    found = zxingcpp.read_barcodes(image, try_invert=False, try_rotate=False)
    return [one.text for one in found]


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm"}, {"TERM": "linux", "NO_COLOR": "1"}])
def test_code_is_dark_on_light(variables: dict[str, str]) -> None:
    """On a dark terminal and on a light one the modules are dark, and their ground is light, also with NO_COLOR."""
    shown = on_a_terminal(**variables)
    for theme in THEMES.values():
        assert read(pixels_of(shown, theme), margin=theme[1]) == [URL]


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_terminal_without_colours(variables: dict[str, str]) -> None:
    """A terminal that shows no colours is told of it: on a dark one the code would be inverted."""
    shown = on_a_terminal(**variables)
    assert "this terminal shows no colours, which a QR code needs" in shown
    assert "▀" not in shown
