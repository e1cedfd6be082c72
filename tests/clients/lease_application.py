"""An application of docs/how-to/private-images.md, run as the page shows it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.clients.nginx_proxy import PATIENCE, accepts, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(words: list[str], place: Path, port: int) -> Iterator[None]:
    """Run a program that listens at a port, until the end of a with block."""
    with (place / "output").open("wb") as output:
        process = subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def is_up() -> bool:
        assert process.poll() is None, (place / "output").read_text(encoding="utf-8")
        return accepts(port)

    try:
        until(is_up, f"{words} to listen")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)
