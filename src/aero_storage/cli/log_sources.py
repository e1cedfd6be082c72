"""Lines of request logs: plain or compressed files, pipes and URLs, read forward in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aero_storage.cli.progress import Advance, progress
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.cli.sources.inputs import is_path, opened_input
from aero_storage.cli.sources.stream import PIECE, Incoming, Peekable, Stream
from aero_storage.profiles.log_lines import MOST_LINE_BYTES


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
    return sum(Path(named).stat().st_size for named in logs)


def _lines_of(named: str, say: Callable[[str], None], advance: Advance) -> Iterator[bytes]:
    with opened_input(named, say) as given:
        incoming = Incoming(given.stream)
        incoming.report_to(advance)
        content, _ = decompressed(given.name, Peekable(incoming))
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
