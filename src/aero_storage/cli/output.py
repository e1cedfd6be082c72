"""What the command says: words for people, or one JSON document for scripts; remarks go to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import attrs


@attrs.define
class Output:
    """Results on standard output, remarks on standard error."""

    as_json: bool = False

    def say(self, remark: str) -> None:
        """Tell people something on the way."""
        print(remark, file=sys.stderr, flush=True)

    def result(self, document: object, text: str) -> None:
        """Print what came of it all: `document` for scripts, `text` for people."""
        print(json.dumps(document, ensure_ascii=False) if self.as_json else text, flush=True)

    def failure(self, reason: str, **more: object) -> None:
        """Print why it came to nothing."""
        if self.as_json:
            document: Mapping[str, object] = {"error": reason, **more}
            print(json.dumps(document, ensure_ascii=False), flush=True)
        print(f"aero-storage: {reason}", file=sys.stderr, flush=True)
