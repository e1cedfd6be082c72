"""Run shell commands at once, as `make test` does: the tests wait more than they work.

    python tools/side_by_side.py 'first command' 'second command' …

The output of the first is shown as it comes, that of the others when they are through. The status is 0 if all have
ended with 0. Each command has a session of its own: in a shell's background SIGINT would be ignored, also by what the
tests start. A signal that would end this program ends them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(commands: Sequence[str]) -> int:
    """Run them; return the first status that is not 0, else 0."""
    for number in ENDING:
        signal.signal(number, _end)
    with ExitStack() as held:
        logs = [held.enter_context(tempfile.TemporaryFile()) for _ in commands[1:]]
        running = [_started(command, log) for command, log in zip(commands, [None, *logs], strict=True)]
        try:
            statuses = [process.wait() for process in running]
        finally:
            for process in running:
                _stop(process)
            for command, log in zip(commands[1:], logs, strict=True):
                _show(command, log)
    return next((status for status in statuses if status), 0)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _started(command: str, log: IO[bytes] | None) -> subprocess.Popen[bytes]:
    words = ["/bin/sh", "-c", command]
    return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)  # noqa: S603 - of the Makefile


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait()


def _show(command: str, log: IO[bytes]) -> None:
    log.seek(0)
    sys.stdout.flush()
    sys.stdout.buffer.write(f"\n{command}\n".encode() + log.read())
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
