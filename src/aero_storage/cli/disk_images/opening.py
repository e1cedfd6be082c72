"""Opens the file that an operator names, once; a symbolic link only if another user cannot have made it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from aero_storage.atomic_files.symbolic_links import read_link
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

STANDARD_INPUT = "standard input"
"""The name, in messages, of what comes by standard input."""

_MOST_LINKS = 40  # as in the kernel
# Without O_NONBLOCK the open of a FIFO would wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def open_source(path: Path) -> int:
    """Open a file for reading and return its descriptor; links of this user and of root are followed.

    Raises OSError if it cannot be opened, OperatorError if it is a symbolic link of another user.
    """
    way = path
    for _ in range(_MOST_LINKS):
        try:
            return os.open(way, _FLAGS)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        way = way.parent / _target(way, path)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _target(link: Path, path: Path) -> str:
    found = read_link(link)
    if found is None:  # it was replaced just now
        return link.name
    if found.owner not in {0, os.geteuid()}:
        shown = printable(link.parent / found.target, None)
        why = f"is a symbolic link of another user; name the file that it leads to: {shown}"
        raise OperatorError(f"{printable(path, None)}: {why}")
    return found.target
