"""Output of a worker in the parent's log: log lines are passed on unchanged, printed text becomes events."""

from __future__ import annotations

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aero_storage.logs.json_log import LineLog

_MOST_BYTES = 1024 * 1024
"""Limit of a line; ordinary lines have some hundred bytes, a traceback's some thousand."""

_MOST_TEXT = 4096
_GATHER_SECONDS = 0.2


@attrs.define(eq=False)
class WorkerLog:
    """Passes on the complete lines of a worker's log; any other line becomes an event of its own.

    The log has a pipe of its own, so a line is broken only when the worker is killed in the middle of it.
    """

    _worker: int
    _log: LineLog
    _rest: bytes = attrs.field(init=False, default=b"")

    def take(self, data: bytes) -> None:
        """Handle received bytes, cut at any position."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_BYTES:
            lines.append(self._rest)
            self._rest = b""
        whole = [f"{line.decode('ascii')}\n" for line in lines if _is_ours(line)]
        if whole:
            self._log.pass_on(whole)
        if len(whole) < len(lines):
            self._report([line for line in lines if not _is_ours(line)])

    def finish(self) -> None:
        """The worker has ended."""
        if self._rest:
            self.take(b"\n")

    def _report(self, broken: list[bytes]) -> None:
        for line in broken:
            fields = {"child": self._worker, "text": line[:_MOST_TEXT].decode("utf-8", "replace")}
            self._log.event("error", "broken line in the log of a worker", fields)


def _is_ours(line: bytes) -> bool:
    # Parsing each line would double the cost of passing it on. No other line has this start and this end.
    return line.startswith(b'{"timestamp": "') and line.endswith(b"}") and line.isascii()


@attrs.define(eq=False)
class WorkerOutput:
    """Collects the text that a worker prints outside its log, such as the traceback of a crash, into few events."""

    _worker: int
    _log: LineLog
    _clock: IReactorTime
    _text: bytes = attrs.field(init=False, default=b"")
    _timer: IDelayedCall | None = attrs.field(init=False, default=None)

    def take(self, data: bytes) -> None:
        """Handle received bytes; more may follow at once."""
        self._text += data
        while len(self._text) >= _MOST_TEXT:
            text, self._text = self._text[:_MOST_TEXT], self._text[_MOST_TEXT:]
            self._log_text(text)
        if self._text and self._timer is None:
            self._timer = self._clock.callLater(_GATHER_SECONDS, self._flush)

    def finish(self) -> None:
        """The worker has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()

    def _flush(self) -> None:
        self._timer = None
        text, self._text = self._text, b""
        self._log_text(text)

    def _log_text(self, text: bytes) -> None:
        shown = text.decode("utf-8", "replace").strip()
        if shown:
            self._log.event("error", "a worker printed", {"child": self._worker, "text": shown})
