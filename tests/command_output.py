"""The result of a command, and a sink that keeps what a log writes."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class CommandResult:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote, as the document that `--json` asks for."""
        return json.loads(self.out)


@attrs.define(eq=False)
class TextSink:
    """A sink that keeps what is written."""

    text: str = ""

    def write(self, text: str, /) -> None:
        """See Sink."""
        self.text += text

    def flush(self) -> None:
        """See Sink."""
