"""Knowing what has left: a mixin for Twisted's socket transports."""

from __future__ import annotations

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred


class Draining(FileDescriptor):
    """Counts what is unsent, and calls back when it is nothing."""

    _drained: Deferred[None] | None = None
    _writing = False

    @property
    def unsent(self) -> int:
        """Bytes that were written and are not with the kernel."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    def when_drained(self) -> Deferred[None]:
        """Fires once nothing is unsent; never, if the connection is lost first: cancel it then."""
        drained: Deferred[None] = Deferred(lambda _: setattr(self, "_drained", None))
        if self.unsent:
            self._drained = drained
        else:
            drained.callback(None)
        return drained

    def doWrite(self) -> object:
        """See IWriteDescriptor."""
        result: object = super().doWrite()
        self._tell_if_drained()
        return result

    def _tell_if_drained(self) -> None:
        drained = self._drained
        if drained is not None and not self.unsent:
            self._drained = None
            drained.callback(None)

    def startWriting(self) -> None:
        """See FileDescriptor; the reactor need not be told twice."""
        if not self._writing:
            self._writing = True
            super().startWriting()

    def stopWriting(self) -> None:
        """See FileDescriptor."""
        if self._writing:
            self._writing = False
            super().stopWriting()
