"""Output of the command: text, or one JSON document; remarks go to standard error."""

from __future__ import annotations

import attrs

from aero_storage.cli.terminal import write_json, write_line


@attrs.define
class Output:
    """Results on standard output, remarks on standard error."""

    as_json: bool = False

    def say(self, remark: str) -> None:
        """Print a remark on standard error."""
        write_line(remark, is_error=True)

    def result(self, document: object, *lines: str) -> None:
        """Print the result: `document` as JSON, or `lines` as text."""
        if self.as_json:
            write_json(document)
            return
        for line in lines:
            write_line(line)

    def failure(self, reason: str) -> None:
        """Print the reason of a failure."""
        write_line(f"aero-storage: {reason}", is_error=True)
        if self.as_json:
            write_json({"error": reason})

    def lost(self, reason: str) -> None:
        """Print on standard error that the result is lost, though the work is done."""
        write_line(f"aero-storage: {reason}; the command has done its work", is_error=True)
