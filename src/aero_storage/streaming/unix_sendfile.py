"""The transport that sends segments, at a UNIX socket."""

from __future__ import annotations

from typing import Any

from twisted.internet import unix
from typing_extensions import override

from aero_storage.streaming.sendfile import SendfileServer
from aero_storage.streaming.unix_tail import UNIXReader


class UNIXSendfileServer(SendfileServer, unix.Server):  # type: ignore[misc]
    """A UNIX stream connection that sends segments; a TrackedTransport.

    It has no options of TCP, and no reset: the client of a connection that is aborted still gets what has been sent.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._speed_test = None
        self.reader = reader = UNIXReader(self.socket)
        reader.widen()

    @override
    def _linger(self, option: bytes) -> None:
        """Do nothing: a UNIX socket is never closed by a reset."""
