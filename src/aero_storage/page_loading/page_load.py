"""Work of a Disk that needs no thread of the daemon: to bring pages of a file into the page cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs


class PageFile(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        ...

    def populate(self, offset: int, length: int) -> None:
        """Read bytes into the page cache. Waits for the disk."""
        ...


@attrs.frozen(eq=False)
class PageLoad:
    """Bytes of a file that are to be in the page cache; a call waits until they are."""

    file: PageFile
    offset: int
    length: int

    def __call__(self) -> None:
        """Read them in this thread."""
        self.file.populate(self.offset, self.length)


class PageLoader(Protocol):
    """Makes page loads outside of this process."""

    def begin(self, load: PageLoad, ended: Callable[[OSError | None], object], lost: Callable[[], object]) -> bool:
        """Begin a load; return false if it cannot be made here.

        Later one of the functions is called: `ended` with the error of a read that failed, or `lost` if nothing is
        known of it.
        """
        ...

    def replace_if_silent(self, seconds: float) -> None:
        """A load takes too long: begin anew if nothing was heard of any for so many seconds."""
        ...
