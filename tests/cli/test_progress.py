"""Telling how far work has come: a bar on a terminal that can show one, plain lines elsewhere."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from aero_storage.cli.progress import LINE_SECONDS, _Lines, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parents[2] / "src"
MI = 2**20
# Both the bar and the lines, made to speak at once.
SCRIPT = """
import sys
from aero_storage.cli import progress
progress.LINE_SECONDS = 0.0
with progress.progress(sys.argv[1], 4 << 20) as advance:
    advance(1 << 20)
    advance(3 << 20)
"""
BAR = "━"
ESCAPE = "\x1b"


@attrs.define
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


@attrs.define
class Told:
    """Plain lines under a clock that the test moves."""

    clock: Clock
    lines: _Lines

    def after(self, seconds: float, count: int) -> None:
        self.clock.seconds += seconds
        self.lines.advance(count)


def told(total: int | None) -> Told:
    clock = Clock()
    return Told(clock, _Lines("Importing a.img", total, clock))


def start(name: str, stderr: int, **environment: str) -> subprocess.Popen[bytes]:
    ours = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, name], env={**ours, **environment}, stderr=stderr)


def on_terminal(name: str, **environment: str) -> str:
    reader, writer = pty.openpty()
    process = start(name, writer, **environment)
    os.close(writer)
    try:
        said = b"".join(pieces(reader)).decode()
    finally:
        os.close(reader)
    assert process.wait(60) == 0
    return said


def pieces(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal tells that nobody holds its other end any more
                raise
            return


def in_file(path: Path, name: str, **environment: str) -> str:
    with path.open("wb") as file:
        assert start(name, file.fileno(), **environment).wait(60) == 0
    return path.read_text(encoding="utf-8")


def test_lines_without_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody knows how much is to come, the line has amount and rate."""
    told(None).after(LINE_SECONDS, 30 * MI)
    assert capsys.readouterr().err == "Importing a.img: 30 MiB, 10 MiB/s\n"


def test_lines_come_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is written no more often than every few seconds, with amount, rate and time left."""
    work = told(100 * MI)
    work.after(LINE_SECONDS / 2, 10 * MI)
    assert capsys.readouterr().err == ""
    work.after(LINE_SECONDS / 2, 20 * MI)
    assert capsys.readouterr().err == "Importing a.img: 30 %, 30 MiB of 100 MiB, 10 MiB/s, 7 s left\n"
    work.after(LINE_SECONDS / 2, 1)
    assert capsys.readouterr().err == ""
    work.after(LINE_SECONDS / 2, 30 * MI - 1)
    assert capsys.readouterr().err == "Importing a.img: 60 %, 60 MiB of 100 MiB, 10 MiB/s, 4 s left\n"


@pytest.mark.parametrize(
    ("total", "count", "text"),
    [
        (100, 0, "0 %, 0 B of 100 B, 0 B/s, time left unknown"),
        (100, 100, "100 %, 100 B of 100 B, 10 B/s, 0 s left"),
        (0, 0, "100 %, 0 B of 0 B, 0 B/s, time left unknown"),
    ],
)
def test_lines_without_a_rate(total: int, count: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing done, everything done and nothing to do are told without a division by zero."""
    told(total).after(10, count)
    assert capsys.readouterr().err == f"Importing a.img: {text}\n"


def test_short_work_is_told_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    """Work that ends before the first line is due writes nothing, and nothing ever goes to standard output."""
    with progress("Importing a.img", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal() -> None:
    """A terminal gets a bar."""
    said = on_terminal("Importing a.img", TERM="xterm")
    assert "Importing a.img" in said
    assert BAR in said


@pytest.mark.parametrize("name", ["[/nonsense] a.img", "a[bold].img", ":smile:"])
def test_bar_shows_names_as_they_are(name: str) -> None:
    """Brackets and colons in a file's name are no markup."""
    assert name in on_terminal(name, TERM="xterm")


def test_lines_on_a_dumb_terminal() -> None:
    """A terminal that cannot move its cursor gets lines."""
    said = on_terminal("Importing a.img", TERM="dumb")
    assert "Importing a.img: 25 %, 1 MiB of 4 MiB" in said
    assert ESCAPE not in said


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_lines_in_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    """A file gets lines and no escape sequences, whatever the environment says of colours."""
    said = in_file(tmp_path / "log", "Importing a.img", **environment)
    assert said.startswith("Importing a.img: 25 %, 1 MiB of 4 MiB")
    assert ESCAPE not in said
