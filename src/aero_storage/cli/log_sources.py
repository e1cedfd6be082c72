"""Lines of request logs: plain or compressed files, pipes and URLs, read forward in bounded memory."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aero_storage.cli.progress import Advance, progress
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.cli.sources.inputs import Input, is_path, opened_input, opened_pipe
from aero_storage.cli.sources.stream import PIECE, Incoming, Peekable, Stream
from aero_storage.profiles.log_lines import MOST_LINE_BYTES

_COMMAND = "aero-storage profile learn ID -"
_PIPED = f"a log into it: journalctl --unit aero-storage --output cat | {_COMMAND}"


def log_lines(logs: Sequence[str], say: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the lines of logs, with their progress on standard error; of a line that is too long its beginning.

    Raises OperatorError for a file that is damaged or cut short, OSError for one that cannot be read.
    """
    with progress("Reading logs", _total(logs)) as advance:
        for named in logs:
            yield from _lines_of(named, say, advance)


def _total(logs: Sequence[str]) -> int | None:
    """Return the bytes of all logs as they are stored, if they are files."""
    if not all(is_path(named) for named in logs):
        return None
    statuses = [Path(named).stat() for named in logs]
    return sum(one.st_size for one in statuses) if all(stat.S_ISREG(one.st_mode) for one in statuses) else None


@contextmanager
def _opened(named: str, say: Callable[[str], None]) -> Iterator[Input]:
    if is_path(named):
        with opened_pipe(named) as pipe:
            if pipe is not None:
                yield pipe
                return
    with opened_input(named, say, piped=_PIPED) as given:
        yield given


def _lines_of(named: str, say: Callable[[str], None], advance: Advance) -> Iterator[bytes]:
    with _opened(named, say) as given:
        incoming = Incoming(given.stream)
        incoming.report_to(advance)
        content, _ = decompressed(given.name, Peekable(incoming), command=_COMMAND)
        yield from split_lines(content)


def split_lines(content: Stream) -> Iterator[bytes]:
    """Yield the lines of a stream; of one that is longer than any of a request log the first bytes."""
    begun, is_too_long = b"", False
    while piece := content.read(PIECE):
        first, *others = piece.split(b"\n")
        if not is_too_long:
            begun += first
        is_too_long = len(begun) > MOST_LINE_BYTES
        begun = begun[: MOST_LINE_BYTES + 1]
        if others:
            yield begun
            yield from others[:-1]
            begun, is_too_long = others[-1], False
    if begun:
        yield begun
