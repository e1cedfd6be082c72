"""Output of the command: text, or one JSON document; remarks go to standard error."""

from __future__ import annotations

import json
import sys

import attrs

from aero_storage.cli.disk_images.formats import printable


@attrs.define
class Output:
    """Results on standard output, remarks on standard error."""

    as_json: bool = False

    def say(self, remark: str) -> None:
        """Print a remark on standard error, unless the output is JSON."""
        print(_line(remark), file=sys.stderr, flush=True)

    def result(self, document: object, *lines: str) -> None:
        """Print the result: `document` as JSON, or `lines` as text."""
        for line in [json.dumps(document)] if self.as_json else map(_line, lines):
            print(line, flush=True)

    def failure(self, reason: str) -> None:
        """Print the reason of a failure."""
        if self.as_json:
            print(json.dumps({"error": reason}), flush=True)
        print(_line(f"aero-storage: {reason}"), file=sys.stderr, flush=True)


def _line(text: str) -> str:
    """Return one line without control characters: names of foreign files could contain terminal commands."""
    return printable(text, None)
