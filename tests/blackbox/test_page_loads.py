"""http.md §5: a body of a file that is not in memory is right, whatever becomes of the process that brings it in."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox import bucket_roots
from tests.blackbox.harness import running, until
from tests.blackbox.raw_http import head
from tests.blackbox.worker_processes import alive, children_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Daemon

pytestmark = pytest.mark.skipif(bucket_roots.MODE != "directory", reason="a process brings in pages of files alone")

MIB = 1 << 20
BODY = random.Random(55).randbytes(24 * MIB)


@pytest.fixture
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon over one image."""
    where = home("page-loads")
    (where / "images").mkdir(exist_ok=True)
    (where / "images" / "cold.img").write_bytes(BODY)
    with running(where) as started:
        until(lambda: started.ask("/v1/images/cold.img", "HEAD").status == 200)
        yield started


def push_out(daemon: Daemon) -> None:
    """Have the image on the disk alone."""
    descriptor = os.open(daemon.root / "cold.img", os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def loader_of(daemon: Daemon) -> int:
    """Return the process that brings pages in."""
    (child,) = [child for child in children_of(daemon.process.pid) if alive(child)]
    return child


def test_killed_again_and_again(daemon: Daemon) -> None:
    """The stream goes on, and all of its bytes are the file's."""
    push_out(daemon)
    received, killed = bytearray(), set[int]()
    with daemon.dial() as conn:
        conn.send(head("GET", "/v1/images/cold.img"))
        while not received.endswith(BODY[-16:]):
            for child in children_of(daemon.process.pid):
                killed.add(child)
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            piece = conn.sock.recv(MIB)
            assert piece
            received += piece
    assert bytes(received).partition(b"\r\n\r\n")[2] == BODY
    assert killed


def test_hung_and_killed(daemon: Daemon) -> None:
    """A stream whose process hangs waits, and goes on when that has ended."""
    push_out(daemon)
    loader = loader_of(daemon)
    os.kill(loader, signal.SIGSTOP)
    with daemon.dial() as conn:
        conn.send(head("GET", "/v1/images/cold.img"))
        os.kill(loader, signal.SIGKILL)
        reply = conn.reply("GET")
    assert (reply.status, reply.body == BODY) == (200, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_gone_with_the_daemon(daemon: Daemon, number: signal.Signals) -> None:
    """The process ends when the daemon does, however that ends."""
    loader = loader_of(daemon)
    daemon.process.send_signal(number)
    daemon.process.wait(10)
    until(lambda: not alive(loader))


def test_hung_at_the_end(daemon: Daemon) -> None:
    """A process that hangs keeps no daemon from ending, and ends too."""
    loader = loader_of(daemon)
    os.kill(loader, signal.SIGSTOP)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(10)
    until(lambda: not alive(loader))
