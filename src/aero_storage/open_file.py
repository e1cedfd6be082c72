"""Protocols of open files: a store returns them, and the streams send their bytes.

A source says itself which of its bytes may be sent now, and brings in those that may not: for a file of this machine
the page cache decides. No stream asks the kernel about a descriptor.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from twisted.internet.defer import Deferred

from aero_storage.disk import Disk


class ByteSource(Protocol):
    """Bytes that can be read at any offset; reads may wait for a disk."""

    __slots__ = ()

    @property
    def lane(self) -> Hashable:
        """The lane of a Disk in which its reads wait: of a local file the st_dev."""
        ...

    @property
    def piece_bytes(self) -> int:
        """How many bytes one read of a stream should have."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on, or raise an exception. Waits: call it in a thread."""
        ...

    def read_later(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        """Do the same without waiting; can be cancelled. Reads in the `background` go after others of the lane."""
        ...


class OpenFile(Protocol):
    """An open regular file, for `sendfile`. The sender keeps it open until all its segments are sent.

    Bytes are sent in this order: `is_sendable`, if not, `warm`; then `transmit` or `read_sendable_into`.
    """

    __slots__ = ()

    @property
    def lane(self) -> Hashable:
        """The lane of a Disk in which work on the file waits: of a local file the st_dev."""
        ...

    @property
    def name(self) -> str:
        """Its path relative to the images root, for the log."""
        ...

    @property
    def is_watched(self) -> bool:
        """Whether its bytes may change in place, so that it is watched while sockets hold some of them."""
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

    def is_sendable(self, offset: int, length: int) -> bool:
        """Return whether `length` > 0 bytes from `offset` on can be sent without waiting; must not wait itself."""
        ...

    def read_now_into(self, offset: int, target: memoryview) -> bool:
        """Fill `target` from `offset` on, if that takes no waiting; return whether it did.

        The bytes are verified: raises as `verify` does.
        """
        ...

    def read_sendable_into(self, offset: int, target: memoryview) -> int:
        """Copy sendable bytes into `target`, at least one; return how many, or 0 if they are sendable no more.

        The bytes are verified: raises as `verify` does. Raises OSError if the file ends at `offset`.
        """
        ...

    def transmit(self, socket: int, offset: int, most: int) -> int:
        """Send sendable bytes by one `sendfile`; return how many, or 0 if they are sendable no more.

        If `is_watched`, the caller verifies the file after it. Raises BlockingIOError if the socket is full, OSError
        of the connection or if the file ends at `offset`.
        """
        ...

    def warm(self, disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[None]:
        """Make bytes sendable; can be cancelled. Work in the `background` goes after other work of the lane."""
        ...
