"""The processes of a store: they listen on loopback, live below one directory, and end with whoever started them."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

LOOPBACK = "127.0.0.1"
LAST_LINES = 5
LINE_LENGTH = 200
# Below those that the kernel gives to outgoing connections, which come and go while a store starts.
PORTS = range(15_000, 32_000)


class StoreError(Exception):
    """A store did not start, or did not do what it was told; the message has the ends of its logs."""


def free_ports(count: int, chance: random.Random | None = None) -> list[int]:
    """Choose ports on which nobody listens, all of them different."""
    chosen: list[int] = []
    for port in (chance or random.SystemRandom()).sample(PORTS, 100 + count):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise StoreError(f"no {count} ports are free between {PORTS.start} and {PORTS.stop}")


@attrs.define(eq=False)
class Processes:
    """What was started below `home`, by name; each logs into `home/log`."""

    home: Path
    running: dict[str, subprocess.Popen[bytes]] = attrs.field(factory=dict)

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start a program that stays in the foreground.

        The kernel kills it when the thread that started it ends, so that a killed test run leaves no process behind.
        """
        words = ["setpriv", "--pdeathsig", "KILL", *map(str, command)]
        with self.log(name).open("ab") as output:
            self.running[name] = subprocess.Popen(
                words, cwd=self.home, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def run(self, command: Sequence[str | Path], *, given: str = "", seconds: float = 60) -> str:
        """Run a program that ends by itself, and return what it printed."""
        words = list(map(str, command))
        try:
            done = subprocess.run(
                words, cwd=self.home, input=given, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as expired:
            raise StoreError(f"{words[0]} did not end within {seconds} s\n{self.logged()}") from expired
        if done.returncode:
            raise StoreError(f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}\n{self.logged()}")
        return done.stdout

    def until(self, look: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Look twenty times a second, until the deadline, or until a process has ended that should not."""
        deadline = time.monotonic() + seconds
        while not look():
            if ended := [name for name, process in self.running.items() if process.poll() is not None]:
                raise StoreError(f"ended while {what} was awaited: {', '.join(ended)}\n{self.logged()}")
            if time.monotonic() > deadline:
                raise StoreError(f"{what}: not within {seconds} s\n{self.logged()}")
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def pause(self, name: str) -> None:
        """Have a process hang: it keeps its connections, and does nothing."""
        self.running[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused process go on."""
        self.running[name].send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill all: nothing is to be kept, and a gateway without its storage never ends by itself."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def log(self, name: str) -> Path:
        """Where a process logs."""
        directory = self.home / "log"
        directory.mkdir(exist_ok=True)
        return directory / f"{name}.log"

    def logged(self) -> str:
        """Return the last lines of every log."""
        ends = []
        for path in sorted((self.home / "log").glob("*")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            lines = [line[:LINE_LENGTH] for line in lines]
            ends.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(ends)


@contextlib.contextmanager
def processes(home: Path) -> Iterator[Processes]:
    """Make the directory, and afterwards end what was started there and remove the directory."""
    home.mkdir(parents=True)
    started = Processes(home)
    try:
        yield started
    finally:
        started.end()
        shutil.rmtree(home)


def answers(port: int) -> bool:
    """Whether an HTTP server at a port answers at all, within two seconds."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.sendall(request)
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False
