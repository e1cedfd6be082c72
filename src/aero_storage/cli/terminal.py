"""The only way out to the terminal: no control character of a file name, a catalog or a server gets through."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import attrs
import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from aero_storage.errors import OutputError

SHOWN_LENGTH = 80
"""Limit of characters of a foreign text in a message."""


def printable(text: str | Path, most: int | None = SHOWN_LENGTH) -> str:
    """Return foreign text for one line of a terminal: unprintable characters escaped, cut to `most` characters."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text))
    return shown if most is None or len(shown) <= most else shown[:most] + "…"


def open_missing_streams() -> None:
    """Open the null device for each standard stream that was closed by the caller.

    A file or a socket would get its descriptor otherwise, and what is meant for the terminal would go there.
    """
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest descriptor that is free is this one
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def accept_all_text() -> None:
    """Let both streams escape what their encoding lacks: a locale of ASCII must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_line(text: str, *, is_error: bool = False) -> None:
    """Write one line to standard output, or to standard error. Raises OutputError if standard output takes none.

    A line that standard error does not take is lost: nobody can be told of it.
    """
    line = printable(text, None) + "\n"  # in one piece: several threads may write
    if is_error:
        try:
            print(line, end="", file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)
        return
    with _writing_result():
        print(line, end="", flush=True)


def write_script(text: str) -> None:
    """Write a text of ours, line by line. Raises OutputError if standard output takes none."""
    for line in text.removesuffix("\n").split("\n"):
        write_line(line)


def write_json(document: object) -> None:
    """Write one JSON document, in printable ASCII, to standard output. Raises OutputError if it takes none."""
    with _writing_result():
        print(json.dumps(document).replace("\x7f", "\\u007f"), flush=True)


class TerminalConsole(Console):
    """A console that raises BrokenPipeError; Rich's own ends the program, or, below a reactor, is lost."""

    @override
    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704 - Rich calls it where it handles the error


def _standard_output() -> int:
    return sys.stdout.fileno()


@attrs.frozen
class TerminalSink:
    """Takes the lines of a log for standard output, past Python's buffer.

    A thread that is blocked in it holds no lock that the end of the process would wait for.
    """

    descriptor: int = attrs.field(factory=_standard_output)

    def write(self, text: str) -> None:
        """Write complete lines, their unprintable characters escaped. Raises OSError."""
        lines = "".join(f"{printable(line, None)}\n" for line in text.removesuffix("\n").split("\n"))
        data = lines.encode(sys.stdout.encoding or "ascii", errors="backslashreplace")
        while data:
            data = data[os.write(self.descriptor, data) :]

    def flush(self) -> None:
        """Nothing is buffered."""


@contextmanager
def _writing_result() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _discard(sys.stdout)
        raise OutputError(f"the result cannot be written to standard output: {error.strerror}") from error


def _discard(stream: TextIO) -> None:
    """Have what is still buffered go nowhere: the interpreter would report it once more at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def confirm(question: str) -> None:
    """Ask on standard error, and raise click.Abort unless the answer is yes."""
    click.confirm(printable(question, None), abort=True, err=True)


def new_table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """Return a table without lines; columns named in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row of texts, which are no markup."""
    table.add_row(*(Text(printable(cell, None)) for cell in cells))


def write_table(table: Table) -> None:
    """Write a table to standard output. Raises OutputError if it takes none."""
    with _writing_result():
        TerminalConsole().print(table)


def shows_blocks() -> bool:
    """Return whether the encoding of standard output has block characters."""
    try:
        "█▀▄▁".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def output_console() -> Console | None:
    """Return the terminal behind standard output, if lines can be written anew on it; None if not."""
    console = TerminalConsole()
    return console if console.is_terminal and not console.is_dumb_terminal and sys.stdout.isatty() else None


def terminal_columns() -> int:
    """Return the width of the terminal; 80 where there is none."""
    return TerminalConsole().width


def write_blocks(rows: Iterable[str]) -> None:
    """Write rows of block characters, black on white whatever the terminal's colours. Raises OutputError.

    NO_COLOR does not count: here the colours are what is shown.
    """
    console = TerminalConsole(no_color=False)
    with _writing_result():
        for row in rows:
            console.print(Text(row, style="black on bright_white"), no_wrap=True, crop=False, overflow="ignore")


def lacks_colours() -> bool:
    """Return whether standard output is a terminal that shows no colours."""
    return sys.stdout.isatty() and TerminalConsole(no_color=False).color_system is None


def error_console() -> Console | None:
    """Return the terminal behind standard error, for a bar that moves; None if it is no such terminal."""
    console = TerminalConsole(stderr=True)
    # With FORCE_COLOR rich takes any output for a terminal; on a dumb one it shows nothing until the end.
    return console if console.is_interactive and sys.stderr.isatty() else None
