"""Where the lines of a log go."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """A text file, or an object with its methods."""

    def write(self, text: str, /) -> object:
        """Write `text`; raises OSError, or ValueError once closed."""
        ...

    def flush(self) -> object:
        """Flush written text."""
        ...
