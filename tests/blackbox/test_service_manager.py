"""Under a service manager as systemd is: it is told how the daemon is, and passes sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import Daemon, command, environment, running, until
from tests.blackbox.image_roots import DISK, put_catalog
from tests.blackbox.raw_http import RawConnection, head
from tests.blackbox.worker_processes import START_SECONDS, alive, children_of, worker_pids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What systemd does between fork and exec: the sockets from descriptor 3 on, and variables that name the process.
PASS = """
import fcntl, os, sys
given, names, *command = sys.argv[1:]
copies = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in given.split(",")]
for number, copy in enumerate(copies, 3):
    os.dup2(copy, number)
    os.close(copy)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies))}
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(command[0], command)
"""
WORKERS = pytest.mark.parametrize("workers", [1, 2])


@contextmanager
def listener(address: str) -> Iterator[socket.socket]:
    """The manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address.replace("@", "\0"))
        end.settimeout(START_SECONDS)
        yield end


def told(end: socket.socket) -> dict[str, str]:
    """The next thing that the manager is told."""
    return dict(line.split("=", 1) for line in end.recv(4096).decode().split("\n"))


def said_by_all(daemon: Daemon, workers: int, message: str, since: int = 0) -> bool:
    """Whether each worker has logged this once."""
    return len([line for line in daemon.lines(since) if line["message"] == message]) == workers


@WORKERS
def test_told(small_home: Callable[[str], Path], workers: int) -> None:
    """Ready comes when requests are answered, a reload begins and ends, the end begins; nothing else is told."""
    home = small_home("told")
    with listener(str(home / "notify")) as end:
        env = {"NOTIFY_SOCKET": str(home / "notify")}
        with running(home, f"--workers={workers}", env=env) as daemon:
            assert told(end)["READY"] == "1"
            assert daemon.ask("/readyz").status == 200
            until(lambda: said_by_all(daemon, workers, "listening"))
            since, before = daemon.log_size(), time.monotonic_ns() // 1000
            daemon.process.send_signal(signal.SIGHUP)
            reloading = told(end)
            assert reloading["RELOADING"] == "1"
            assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert told(end)["READY"] == "1"
            until(lambda: said_by_all(daemon, workers, "catalog loaded", since))
            assert daemon.stop() == 0
            assert told(end)["STOPPING"] == "1"
            end.setblocking(False)  # noqa: FBT003
            with pytest.raises(BlockingIOError):
                end.recv(1)


def test_abstract_name(small_home: Callable[[str], Path]) -> None:
    """A socket without a file is found too."""
    name = f"@aero-storage-{os.getpid()}"
    with listener(name) as end, running(small_home("abstract"), env={"NOTIFY_SOCKET": name}):
        assert told(end)["READY"] == "1"


def test_invalid_catalog(small_home: Callable[[str], Path]) -> None:
    """A catalog that cannot be read makes no difference: the daemon serves (errors), and is not started over."""
    home = small_home("invalid")
    put_catalog(home / "images", "broken")
    env = {"NOTIFY_SOCKET": str(home / "notify")}
    with listener(env["NOTIFY_SOCKET"]) as end, running(home, env=env) as daemon:
        assert told(end)["READY"] == "1"
        assert daemon.ask("/readyz").status == 503


def test_worker_that_dies_early(small_home: Callable[[str], Path]) -> None:
    """The reload ends when the successor of a worker that died in it serves."""
    home = small_home("early")
    env = {"NOTIFY_SOCKET": str(home / "notify")}
    with listener(env["NOTIFY_SOCKET"]) as end, running(home, "--workers=2", env=env) as daemon:
        assert told(end)["READY"] == "1"
        stopped = worker_pids(daemon)[1]
        os.kill(stopped, signal.SIGSTOP)
        daemon.process.send_signal(signal.SIGHUP)
        assert "RELOADING" in told(end)
        os.kill(stopped, signal.SIGKILL)
        assert told(end)["READY"] == "1"
        assert worker_pids(daemon)[1] != stopped


@WORKERS
def test_alive(small_home: Callable[[str], Path], workers: int) -> None:
    """A manager that watches hears of it again and again; no worker takes the watch for its own."""
    home = small_home("alive")
    env = {"NOTIFY_SOCKET": str(home / "notify"), "WATCHDOG_USEC": "200000"}
    with listener(env["NOTIFY_SOCKET"]) as end, running(home, f"--workers={workers}", env=env) as daemon:
        states = [told(end) for _ in range(5)]
        assert len([state for state in states if state == {"WATCHDOG": "1"}]) >= 3
        for child in children_of(daemon.process.pid):
            entries = Path(f"/proc/{child}/environ").read_text().split("\0")
            assert not {entry.partition("=")[0] for entry in entries} & set(env)


def start(home: Path, sockets: list[socket.socket], *flags: str, names: str) -> subprocess.Popen[bytes]:
    """Start a daemon that is passed sockets, under the names given."""
    numbers = [one.fileno() for one in sockets]
    words = [sys.executable, "-c", PASS, ",".join(map(str, numbers)), names]
    (home / "images").mkdir(exist_ok=True)
    words += command(home, "--images-root", str(home / "images"), *flags)
    with (home / "stdout").open("ab") as out, (home / "stderr").open("ab") as err:
        return subprocess.Popen(words, cwd=home, env=environment(), pass_fds=numbers, stdout=out, stderr=err)


@contextmanager
def passing(home: Path, sockets: list[socket.socket], *flags: str, names: str) -> Iterator[Daemon]:
    """Run such a daemon; its port is that of the first socket."""
    daemon = Daemon(start(home, sockets, *flags, names=names), home, home / "images", sockets[0].getsockname()[1])
    try:
        yield daemon
    finally:
        assert daemon.stop() == 0, daemon.said()


def refusal(home: Path, passed: socket.socket, *flags: str) -> str:
    """Start such a daemon that has to refuse; the one line that it says."""
    assert start(home, [passed], *flags, names="http").wait(START_SECONDS) == 1
    (line,) = (home / "stderr").read_text().splitlines()
    return line


def image(address: object, family: int = socket.AF_INET) -> bytes:
    """Fetch the image on a connection of its own."""
    with socket.socket(family) as client:
        client.settimeout(START_SECONDS)
        client.connect(address)  # type: ignore[arg-type]
        with RawConnection(client) as conn:
            return conn.ask("GET", "/v1/images/disk").body


@WORKERS
def test_passed_socket_survives(small_home: Callable[[str], Path], workers: int) -> None:
    """A daemon serves at the socket that it is passed; after it has ended connections wait there for the next one."""
    home = small_home("passed")
    flags = ("--endpoint=systemd:domain=INET:index=0", f"--workers={workers}")
    with socket.create_server(("127.0.0.1", 0)) as passed:
        address = passed.getsockname()
        with passing(home, [passed], *flags, names="http") as daemon:
            assert image(address) == DISK
            line = daemon.line(lambda line: line["message"] == "listening")
            assert line["address"] == f"127.0.0.1:{address[1]}"
            served = [daemon.traced("/v1/images/disk")[1] for _ in range(3)]
            assert [line["status"] for line in served] == [200] * 3
        with socket.create_connection(address, START_SECONDS) as early:  # nobody is there who would accept it
            early.sendall(head("GET", "/v1/images/disk"))
            with passing(home, [passed], *flags, names="http"), RawConnection(early) as conn:
                assert conn.reply().body == DISK
                assert image(address) == DISK


def test_passed_without_names(small_home: Callable[[str], Path]) -> None:
    """What `systemd-socket-activate` needs to be told is told."""
    home = small_home("nameless")
    with socket.create_server(("127.0.0.1", 0)) as passed:
        flags = ("--endpoint=systemd:domain=INET:index=0",)
        assert start(home, [passed], *flags, names="").wait(START_SECONDS) == 1
    assert "--fdname=" in (home / "stderr").read_text()


@WORKERS
def test_passed_by_name(small_home: Callable[[str], Path], workers: int) -> None:
    """Of several sockets each is found by its name; IPv6 and UNIX work, and a UNIX socket's file outlives us."""
    home = small_home("named")
    path = home / "socket"
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
        socket.create_server(str(path), family=socket.AF_UNIX) as local,
    ):
        path.chmod(0o600)
        flags = ("--endpoint=systemd:domain=UNIX:name=local", "--endpoint=systemd:domain=INET6:name=six")
        for _ in range(2):
            with passing(home, [six, local], *flags, f"--workers={workers}", names="six:local"):
                assert image(str(path), socket.AF_UNIX) == DISK
                assert image(six.getsockname(), socket.AF_INET6) == DISK
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("systemd:domain=INET:index=1", "no such socket was passed"),
        ("systemd:domain=INET:name=other", "no such socket was passed"),
        ("systemd:domain=INET6:index=0", "use domain=INET, or change ListenStream="),
        ("systemd:domain=IPX5:index=0", "is no usable endpoint"),
    ],
)
@WORKERS
def test_refused(small_home: Callable[[str], Path], endpoint: str, reason: str, workers: int) -> None:
    """A socket that is not there, or another than is named, ends the start with a line that says how to mend it."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        line = refusal(small_home("refused"), passed, f"--endpoint={endpoint}", f"--workers={workers}")
    assert line.startswith(f"aero-storage: flag --endpoint: '{endpoint}'")
    assert reason in line


def test_nothing_passed(small_home: Callable[[str], Path]) -> None:
    """Started by hand, an endpoint that is to be passed is missed in one line."""
    home = small_home("by-hand")
    full = command(home, "--endpoint=systemd:domain=INET:index=0")
    done = subprocess.run(
        full, cwd=home, env=environment(), capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "have a .socket unit start us" in done.stderr


def test_not_listening(small_home: Callable[[str], Path]) -> None:
    """A socket that does not listen, as of a unit with Accept=yes, is told from one that does."""
    with socket.socket() as passed:
        assert "Accept=no" in refusal(small_home("deaf"), passed, "--endpoint=systemd:domain=INET:index=0")


def test_systemds_own_activation(small_home: Callable[[str], Path]) -> None:
    """The program that systemd has for it starts us at the first connection, which is answered."""
    program = shutil.which("systemd-socket-activate")
    if program is None:
        reason = "systemd-socket-activate is not installed (Debian: apt-get install systemd)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    home = small_home("activated")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    flags = ["--images-root", str(home / "images"), "--endpoint=systemd:domain=INET:name=http", "--workers=2"]
    path = [f"--setenv=PYTHONPATH={environment()['PYTHONPATH']}"] if "PYTHONPATH" in environment() else []
    words = [program, f"--listen={address[0]}:{address[1]}", "--fdname=http", *path, *command(home, *flags)]
    with (home / "stderr").open("wb") as err:
        process = subprocess.Popen(words, cwd=home, env=environment(), stderr=err)
    try:
        until(lambda: b"Listening on" in (home / "stderr").read_bytes(), START_SECONDS)
        assert image(address) == DISK
        workers = children_of(process.pid)
        assert len(workers) == 2
    finally:
        process.terminate()
        assert process.wait(START_SECONDS) == 0
    assert not any(alive(worker) for worker in workers)
