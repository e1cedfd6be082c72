"""Several workers end as one: no process is left, whoever ends how; and how they run under other roofs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import TWISTD, Daemon, environment, until
from tests.blackbox.image_roots import DISK, entry, put, small_root, wide_bytes
from tests.blackbox.raw_http import head
from tests.blackbox.worker_processes import (
    START_SECONDS,
    alive,
    children_of,
    is_serving,
    two_workers,
    wait_for_replacement,
    worker_pids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def fresh(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with two workers in a process group of its own."""
    path = home("ending")
    small_root(path / "images", entry("wide", "wide.img"))
    put(path / "images" / "wide.img", wide_bytes())
    with two_workers(path, "--shutdown-grace-secs", "0.5", prefix=("setsid",)) as daemon:
        yield daemon


OPEN_IMAGES = "private images are open to everybody: lease_keys_file is not set"
"""Of the catalog that is served here, at the start."""


def gone(daemon: Daemon) -> bool:
    """Whether no worker that was ever started is left."""
    started = [line["pid"] for line in daemon.lines() if line["message"] == "worker started"]
    return not any(alive(pid) for pid in started)


def ended_well(daemon: Daemon) -> None:
    """Check that all stopped in order: status 0, nobody left, nobody started again, nothing gone wrong."""
    assert daemon.process.wait(START_SECONDS) == 0
    assert gone(daemon)
    lines = daemon.lines()
    assert len([line for line in lines if line["message"] == "worker started"]) == 2
    assert [line.get("status") for line in lines if line["message"] == "worker stopped"] == [0, 0]
    warned = {line["message"] for line in lines if line["level"] not in {"info", "debug"}}
    assert warned <= {OPEN_IMAGES}
    assert (daemon.home / "stderr").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("group", [False, True], ids=["parent", "group"])
def test_ends_in_order(fresh: Daemon, number: signal.Signals, *, group: bool) -> None:
    """SIGTERM and SIGINT to the parent, or as from a terminal to all at once, end all with status 0."""
    (os.killpg if group else os.kill)(fresh.process.pid, number)
    ended_well(fresh)


def test_impatient_operator(fresh: Daemon) -> None:
    """Signals that follow the first change nothing, whoever gets them."""
    while fresh.process.poll() is None:
        os.killpg(fresh.process.pid, signal.SIGTERM)
    ended_well(fresh)


def test_breaks_off_what_is_under_way(fresh: Daemon) -> None:
    """Streams under way in any worker break off as they do in a single process, and say so in the log."""
    conns = [fresh.dial(receive_buffer=65536) for _ in range(10)]
    for number, conn in enumerate(conns):
        conn.send(head("GET", "/v1/images/wide", {"X-Request-Id": f"cut-{number}"}))
        assert conn.reply_head().status == 200
    fresh.process.terminate()
    ended_well(fresh)
    for number, conn in enumerate(conns):
        conn.rest()
        assert conn.ending == "reset"
        assert fresh.complete(f"cut-{number}")["outcome"] == "aborted"
        conn.close()


def test_signalled_at_once(home: Callable[[str], Path]) -> None:
    """Ended while the workers are still starting, all end well too: an early Ctrl-C leaves no traceback."""
    path = home("early")
    small_root(path / "images")
    flags = ["--nodaemon", "--pidfile=", f"--logfile={path / 'log'}"]
    command = ["setsid", str(TWISTD), *flags, "aero-storage", "--workers=2", "--listen-addr=127.0.0.1:0"]
    with (path / "stderr").open("wb") as error:
        process = subprocess.Popen(command, cwd=path, env=environment(), stderr=error)
    daemon = Daemon(process, path, path / "images")
    until(lambda: len(worker_pids(daemon)) == 2, START_SECONDS)
    until(lambda: all(_ignores_interrupts(pid) for pid in worker_pids(daemon).values()), START_SECONDS)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(START_SECONDS) == 0
    assert gone(daemon)
    assert "Traceback" not in daemon.log_text()
    assert (path / "stderr").read_text() == ""


def _ignores_interrupts(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123
        ignored = next(line for line in status if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def test_parent_killed(fresh: Daemon) -> None:
    """A parent that is killed takes its workers along."""
    fresh.process.kill()
    until(lambda: gone(fresh))


def test_parent_killed_with_workers_that_hang(fresh: Daemon) -> None:
    """Not even workers that are stopped outlive it."""
    for pid in worker_pids(fresh).values():
        os.kill(pid, signal.SIGSTOP)
    fresh.process.kill()
    until(lambda: gone(fresh))


def test_worker_that_does_not_stop(fresh: Daemon) -> None:
    """A worker that hangs when all are to stop is killed after a while; the status is still 0."""
    os.kill(worker_pids(fresh)[1], signal.SIGSTOP)
    fresh.process.terminate()
    assert fresh.process.wait(START_SECONDS) == 0
    assert gone(fresh)
    assert fresh.line(lambda line: line["message"] == "worker stopped" and line["child"] == 1)["signal"] == "SIGKILL"


def test_workers_that_keep_dying(fresh: Daemon) -> None:
    """A worker that dies again and again is replaced with growing patience; the daemon stops well meanwhile."""
    for times in (2, 3):
        os.kill(worker_pids(fresh)[1], signal.SIGKILL)
        wait_for_replacement(fresh, 1, times)
    os.kill(worker_pids(fresh)[1], signal.SIGKILL)
    fresh.line(lambda line: line.get("restart_in_seconds") == 2)
    fresh.process.terminate()
    assert fresh.process.wait(START_SECONDS) == 0
    assert gone(fresh)


def test_rotation(fresh: Daemon) -> None:
    """SIGUSR1 starts a new log file for all; workers that get it as well do not mind."""
    os.killpg(fresh.process.pid, signal.SIGUSR1)
    fresh.traced("/healthz")
    assert (fresh.home / "log.1").exists()
    for _ in range(8):
        assert fresh.traced("/healthz")[1]["status"] == 200


def test_in_the_background(home: Callable[[str], Path]) -> None:
    """A daemon in the background is one process to signal, named in the pid file; its workers go with it."""
    path = home("background")
    small_root(path / "images")
    flags = [f"--pidfile={path / 'pid'}", f"--logfile={path / 'log'}"]
    command = [str(TWISTD), *flags, "aero-storage", "--workers=2", "--listen-addr=127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=path, env=environment())
    assert process.wait(START_SECONDS) == 0
    daemon = Daemon(process, path, path / "images")
    until(lambda: is_serving(daemon, 1) and is_serving(daemon, 2), START_SECONDS)
    parent = int((path / "pid").read_text())
    daemon.port = int(next(line for line in daemon.lines() if "address" in line)["address"].rpartition(":")[2])
    assert daemon.ask("/v1/images/disk").body == DISK
    os.kill(parent, signal.SIGTERM)
    until(lambda: not alive(parent), START_SECONDS)
    assert gone(daemon)
    assert not (path / "pid").exists()


def test_log_that_nobody_reads(home: Callable[[str], Path]) -> None:
    """A log at whose end nobody reads holds up neither workers nor the end, though all pipes are full."""
    path = home("unread")
    small_root(path / "images")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    flags = ["--nodaemon", "--pidfile=", "aero-storage", "--workers=2", f"--listen-addr=127.0.0.1:{port}"]
    with subprocess.Popen([str(TWISTD), *flags], cwd=path, env=environment(), stdout=subprocess.PIPE) as process:
        daemon = Daemon(process, path, path / "images", port)
        until(lambda: is_up(daemon), START_SECONDS)
        children = children_of(process.pid)
        with ExitStack() as stack:
            conns = [stack.enter_context(daemon.dial()) for _ in range(10)]
            for _ in range(300):  # some 300 bytes of log each; a pipe takes 64 KiB
                assert [conn.ask("GET", "/healthz").status for conn in conns] == [200] * 10
        process.terminate()
        assert process.wait(START_SECONDS) == 0
    assert not any(alive(child) for child in children)


def is_up(daemon: Daemon) -> bool:
    try:
        return daemon.ask("/healthz").status == 200
    except ConnectionRefusedError:
        return False


def test_on_standard_output(home: Callable[[str], Path]) -> None:
    """Under a supervisor, with its log on standard output, the log of all comes out there, whole to the last line."""
    path = home("runit")
    small_root(path / "images")
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "aero-storage", "--workers=2", "--listen-addr=127.0.0.1:0"]
    with (path / "log").open("wb") as out:
        process = subprocess.Popen(command, cwd=path, env=environment(), stdout=out)
    daemon = Daemon(process, path, path / "images")
    until(lambda: is_serving(daemon, 1) and is_serving(daemon, 2), START_SECONDS)
    process.terminate()
    assert process.wait(START_SECONDS) == 0
    assert sorted(line["worker"] for line in daemon.lines() if "asked_by" in line) == [1, 2]
