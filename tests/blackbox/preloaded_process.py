"""Daemons that are forked from a Python which has loaded their modules already (see `preloaded_twistd`)."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROGRAM = Path(__file__).with_name("preloaded_twistd.py")
_MOST = 64 * 1024
_BEFORE_PYTHON = ("LD_", "PYTHON", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "OPENSSL_")
"""Variables that work while a process starts, or its modules are loaded."""


def may_be_forked(environ: Mapping[str, str]) -> bool:
    """Whether a daemon with these variables is as one that is started for itself; on Linux alone."""
    return hasattr(os, "pidfd_open") and not any(
        name.startswith(_BEFORE_PYTHON) and value != os.environ.get(name) for name, value in environ.items()
    )


@frozen
class Loader:
    """The Python that forks."""

    control: socket.socket
    lock: threading.Lock = field(factory=threading.Lock)
    numbers: Iterator[int] = field(factory=itertools.count)

    def ask(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> int | None:
        """Send a message; return the answer."""
        with self.lock:
            number = next(self.numbers)
            socket.send_fds(self.control, [json.dumps({"number": number, **message}).encode()], descriptors)
            while True:  # an answer that a test was interrupted in is left unread
                data = self.control.recv(_MOST)
                assert data, "the Python that forks has ended"
                answer = json.loads(data)
                if answer["number"] == number:
                    found: int | None = answer["found"]
                    return found


@lru_cache(None)
def loader(python_path: str | None) -> Loader:
    """Return the Python that forks daemons with this PYTHONPATH; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if python_path is not None:
        environ["PYTHONPATH"] = python_path
    with theirs:
        words = [sys.executable, str(PROGRAM), str(theirs.fileno())]
        process = subprocess.Popen(words, env=environ, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return Loader(ours)


@define
class ForkedProcess:
    """A daemon, with what tests use of `subprocess.Popen`."""

    args: Sequence[str]
    pid: int
    _loader: Loader
    returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._loader.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        if self.poll() is None:
            ended = os.pidfd_open(self.pid)
            try:
                waiting = select.poll()  # select() takes no number over 1023
                waiting.register(ended, select.POLLIN)
                waiting.poll(None if timeout is None else timeout * 1000)
            finally:
                os.close(ended)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(
    words: Sequence[str], cwd: Path, environ: Mapping[str, str], out: IO[bytes], err: IO[bytes]
) -> ForkedProcess:
    """Start `twistd` with these arguments."""
    forking = loader(environ.get("PYTHONPATH"))
    message = {"argv": list(words), "cwd": str(cwd), "env": dict(environ)}
    process_id = forking.ask(message, [out.fileno(), err.fileno()])
    assert process_id is not None
    return ForkedProcess(words, process_id, forking)
