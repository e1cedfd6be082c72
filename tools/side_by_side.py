"""Run shell commands three at a time, as `make test` does: the tests wait more than they work.

    python tools/side_by_side.py 'first command' 'second command' …

The first three start at once, each further one when another ends: put the longest first. The output of the first is
shown as it comes, that of the others when all are through; a line tells of the end of each. The status is 0 if all
have ended with 0. Each command has a session of its own: in a shell's background SIGINT would be ignored, also by
what the tests start. A signal that is to end this program ends those that run, and no other starts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

AT_A_TIME = 3
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(commands: Sequence[str]) -> int:
    """Run them; return the first status that is not 0, else 0."""
    for number in ENDING:
        signal.signal(number, _end)
    with ExitStack() as held:
        logs = [None, *(held.enter_context(tempfile.TemporaryFile()) for _ in commands[1:])]
        queue = CommandQueue(deque(Command(*one) for one in zip(commands, logs, strict=False)))
        ended = list(queue.waiting)
        try:
            queue.run()
        finally:
            queue.stop()
            for command in ended:
                command.show()
    return next((command.status for command in ended if command.status), 0)


@dataclass
class Command:
    """One of them, the file of its output unless that is shown as it comes, and its status."""

    words: str
    log: IO[bytes] | None
    status: int = 0

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own."""
        words = ["/bin/sh", "-c", self.words]
        out = self.log
        return subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)  # noqa: S603 - of the Makefile

    def show(self) -> None:
        """Print its output, if that was kept."""
        if self.log is not None:
            self.log.seek(0)
            sys.stdout.flush()
            sys.stdout.buffer.write(f"\n{self.words}\n".encode() + self.log.read())
            sys.stdout.flush()


@dataclass
class CommandQueue:
    """Commands that wait, and those that run, by process id."""

    waiting: deque[Command]
    running: dict[int, tuple[Command, subprocess.Popen[bytes]]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Run all of them to their ends."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < AT_A_TIME:
                command = self.waiting.popleft()
                process = command.start()
                self.running[process.pid] = command, process
            self._wait_for_one()

    def _wait_for_one(self) -> None:
        process_id, status = os.wait()
        command, process = self.running.pop(process_id)
        command.status = process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self.began
        print(f"\n[{seconds:.0f} s: ended with {command.status}: {command.words}]", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """End those that run."""
        for _, process in self.running.values():
            _stop(process)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
