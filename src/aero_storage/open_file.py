"""Protocols of open files: a store returns them, and the streams send their bytes."""

from __future__ import annotations

from typing import Protocol


class ByteSource(Protocol):
    """Bytes that can be read at any offset; reads may wait for a disk."""

    __slots__ = ()

    @property
    def device(self) -> int:
        """The st_dev of the file: reads queue per device."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on, or raise an exception."""
        ...


class OpenFile(Protocol):
    """An open regular file, for `sendfile`. The sender keeps it open until all its segments are sent."""

    __slots__ = ()

    @property
    def device(self) -> int:
        """The st_dev of the file: reads queue per device."""
        ...

    @property
    def name(self) -> str:
        """Its path relative to the images root, for the log."""
        ...

    def fileno(self) -> int:
        """Return the file descriptor."""
        ...

    def is_current(self) -> bool:
        """Return whether the file is as it was when it was opened; must not wait for a disk."""
        ...

    def hold(self) -> None:
        """Keep the descriptor open until `release`, whoever closes the file."""
        ...

    def release(self) -> None:
        """Undo `hold`. Closes the descriptor if the file was closed meanwhile, which may wait for a disk."""
        ...

    def verify(self) -> None:
        """Raise an exception if the file has changed since it was opened; must not wait for a disk."""
        ...

    def warm(self, offset: int, length: int) -> None:
        """Read bytes into the page cache. Waits for the disk: call it in a thread."""
        ...
