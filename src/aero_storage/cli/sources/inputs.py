"""The bytes behind what an operator names, before anything is unpacked: of a file, a pipe or a server."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import attrs

from aero_storage.cli.disk_images.opening import STANDARD_INPUT
from aero_storage.cli.disk_images.opening import open_source as open_path
from aero_storage.cli.sources.http_body import open_url
from aero_storage.cli.sources.stream import Stream
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import is_like_url

_STANDARD_INPUT = "-"

IMPORT = "an image into it: curl -L URL | aero-storage import - --id ID"
"""Content that an operator may pipe into standard input, for a message."""

Say = Callable[[str], None]


@attrs.frozen
class Input:
    """The bytes of a file, a pipe or a server; `name` is for messages, printable and without secrets."""

    name: str
    file_name: str
    """The last part of the name."""
    stream: Stream
    size: int | None = None
    file: int | None = None
    """The descriptor of a regular file that was named."""


def is_path(named: str) -> bool:
    """Return whether an operator names a file, and neither standard input nor a URL."""
    return named != _STANDARD_INPUT and not is_like_url(named)


def last_part(path: str) -> str:
    """Return the last part of a foreign path, printable, for a message."""
    return printable(PurePosixPath(path).name) or "disk"


@contextmanager
def opened_input(named: str, say: Say, *, piped: str = IMPORT) -> Iterator[Input]:
    """Open what the operator named for a with block; `piped` is what standard input is for, in a message.

    Raises OperatorError, or OSError if it is a missing file.
    """
    if named == _STANDARD_INPUT:
        yield _standard_input(piped)
    elif is_like_url(named):
        body = open_url(named, say)
        try:
            yield Input(body.name, last_part(urlsplit(named).path), body, body.size)
        finally:
            body.close()
    else:
        with opened_file(Path(named)) as (descriptor, size):
            yield Input(printable(named, None), last_part(named), _DescriptorStream(descriptor), size, descriptor)


@contextmanager
def opened_pipe(named: str) -> Iterator[Input | None]:
    """Open a named pipe, or a pipe of the shell's `<(…)`, for a with block; None if it is none. Raises OSError.

    It is not followed to another kind of file, and waits for the writer.
    """
    place = os.open(named, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(place).st_mode):
            yield None
            return
        descriptor = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield Input(printable(named, None), last_part(named), _DescriptorStream(descriptor))
        finally:
            os.close(descriptor)
    finally:
        os.close(place)


def _standard_input(piped: str) -> Input:
    if sys.stdin is None:
        raise OperatorError(f"standard input is closed; pipe {piped}")
    descriptor = sys.stdin.fileno()
    if os.isatty(descriptor):
        raise OperatorError(f"standard input is a terminal; pipe {piped}")
    status = os.fstat(descriptor)
    size = status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None
    return Input(STANDARD_INPUT, STANDARD_INPUT, _DescriptorStream(descriptor), size)


@contextmanager
def opened_file(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for a with block: descriptor and size. Raises OSError if it is none.

    Raises OperatorError for a symbolic link of another user.
    """
    descriptor = open_path(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


@attrs.frozen
class _DescriptorStream:
    """The bytes of a file or a pipe from its position on; another program may have set the pipe to O_NONBLOCK."""

    descriptor: int

    def read(self, most: int, /) -> bytes:
        while True:
            try:
                return os.read(self.descriptor, most)
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        poll.poll()
