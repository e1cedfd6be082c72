"""What the command says: words for people, or one JSON document for scripts; remarks go to standard error."""

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
        """Tell people something on the way."""
        print(_line(remark), file=sys.stderr, flush=True)

    def result(self, document: object, *lines: str) -> None:
        """Print what came of it all: `document` for scripts, `lines` for people."""
        for line in [json.dumps(document)] if self.as_json else map(_line, lines):
            print(line, flush=True)

    def failure(self, reason: str) -> None:
        """Print why it came to nothing."""
        if self.as_json:
            print(json.dumps({"error": reason}), flush=True)
        print(_line(f"aero-storage: {reason}"), file=sys.stderr, flush=True)


def _line(text: str) -> str:
    """One line, without what a terminal would take for a command: names come from files that others have made."""
    return printable(text, None)
