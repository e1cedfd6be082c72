"""The process that brings pages in: what it does, and what becomes of loads when it ends, hangs, or cannot be had."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from tests.delivery.conftest import FakeLog
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aero_storage.errors import ShortReadError
from aero_storage.linux.page_cache import is_resident
from aero_storage.page_loading import loader_process
from aero_storage.page_loading.loader_process import RESTART_SECONDS, LoaderProcess
from aero_storage.page_loading.page_load import PageLoad
from aero_storage.page_loading.program import LOADS_AT_ONCE

HANG = 10
MIB = 1 << 20
LOST = "lost"


@attrs.define(eq=False)
class Turns:
    """A reactor of which only the readers are left; the test turns it by hand."""

    readers: set[Any] = attrs.field(factory=set)

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def turn(self) -> None:
        """Do what a reactor on `epoll` does: one that is closed at the other end may not be readable."""
        poll = select.poll()
        (reader,) = self.readers
        poll.register(reader.fileno(), select.POLLIN)
        events = poll.poll(HANG * 1000)
        assert events, "nothing came"
        if events[0][1] & select.POLLIN:
            reader.doRead()
        else:
            self.removeReader(reader)
            reader.connectionLost(Failure(ConnectionDone()))


@attrs.define(eq=False)
class OpenFile:
    """An open file, or one that has been closed meanwhile."""

    descriptor: int
    is_closed: bool = False

    def fileno(self) -> int:
        if self.is_closed:
            raise ShortReadError("closed")
        return self.descriptor

    def populate(self, offset: int, length: int) -> None:  # noqa: ARG002 - of PageFile
        raise AssertionError("a thread of this process has read")


@attrs.define(eq=False)
class House:
    """A process, and what was told of its loads."""

    reactor: Turns = attrs.field(factory=Turns)
    clock: Clock = attrs.field(factory=Clock)
    log: FakeLog = attrs.field(factory=FakeLog)
    told: list[object] = attrs.field(factory=list)
    process: LoaderProcess = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.process = LoaderProcess(cast("Any", self.reactor), cast("Any", self.clock), self.log)

    def begin(self, file: OpenFile, offset: int = 0, length: int = MIB) -> bool:
        load = PageLoad(file, offset, length)
        return self.process.begin(load, self.told.append, lambda: self.told.append(LOST))

    def run(self, number: int = 1) -> list[object]:
        """Turn until so many loads have ended."""
        while len(self.told) < number:
            self.reactor.turn()
        return self.told

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    made.process.start()
    yield made
    made.process.stop()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OpenFile]:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(4 * MIB))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    yield OpenFile(descriptor)
    os.close(descriptor)


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_for_end(pid: int, handle: int) -> None:
    """Wait until a process has ended, of which there is a `pidfd`."""
    ready, _, _ = select.select([handle], [], [], HANG)
    os.close(handle)
    assert ready, f"process {pid} goes on"


def test_brings_pages_in(house: House, file: OpenFile) -> None:
    """What it was asked for is in the page cache when it says so."""
    assert house.begin(file, MIB, 2 * MIB)
    assert house.run() == [None]
    assert is_resident(file.descriptor, MIB, 2 * MIB)


def test_many_at_once(house: House, file: OpenFile) -> None:
    """Each load is told of once, more of them than there are threads."""
    wanted = LOADS_AT_ONCE + 50
    assert all(house.begin(file, number * 4096, 4096) for number in range(wanted))
    assert house.run(wanted) == [None] * wanted


def test_a_read_that_fails(house: House, tmp_path: Path) -> None:
    """Its error comes back, and the next load is made."""
    directory = OpenFile(os.open(tmp_path, os.O_RDONLY))
    assert house.begin(directory)
    assert house.begin(directory)
    errors = house.run(2)
    os.close(directory.descriptor)
    assert [cast("OSError", error).errno for error in errors] == [errno.EISDIR] * 2


def test_a_closed_file(house: House, file: OpenFile) -> None:
    """It is for the thread to tell of it."""
    file.is_closed = True
    assert not house.begin(file)
    file.is_closed = False
    assert house.begin(file)
    assert house.run() == [None]


def test_killed(house: House, file: OpenFile) -> None:
    """Loads under way are lost, threads read for a second, and then there is another process."""
    before = house.pid
    os.kill(before, signal.SIGSTOP)
    assert house.begin(file)
    assert house.begin(file)
    os.kill(before, signal.SIGKILL)
    assert house.run(2) == [LOST, LOST]
    assert not house.begin(file)
    house.clock.advance(RESTART_SECONDS)
    assert house.begin(file)
    assert house.pid != before
    assert house.run(3)[2] is None


def test_killed_unnoticed(house: House, file: OpenFile) -> None:
    """A load that comes before the end is known goes to a thread."""
    handle = os.pidfd_open(house.pid)
    os.kill(house.pid, signal.SIGKILL)
    wait_for_end(house.pid, handle)
    assert not house.begin(file)


def test_stopped(house: House, file: OpenFile) -> None:
    """A process that has told nothing for so long is replaced, and one that has not is kept."""
    before, handle = house.pid, os.pidfd_open(house.pid)
    os.kill(before, signal.SIGSTOP)
    assert house.begin(file)
    house.clock.advance(59)
    house.process.replace_if_silent(60)
    assert house.told == []
    house.clock.advance(1)
    house.process.replace_if_silent(60)
    assert house.told == [LOST]
    wait_for_end(before, handle)
    assert house.begin(file)
    assert house.run(2)[1] is None


def test_a_full_socket(house: House, file: OpenFile) -> None:
    """What a process that hangs can hold has a bound; further loads are for threads."""
    os.kill(house.pid, signal.SIGSTOP)
    begun = 0
    while house.begin(file, 0, 4096):
        begun += 1
        assert begun < 10_000
    os.kill(house.pid, signal.SIGCONT)
    assert house.run(begun) == [None] * begun


@pytest.mark.parametrize("is_hung", [False, True])
def test_teardown(house: House, file: OpenFile, is_hung: bool) -> None:  # noqa: FBT001
    """It ends with its owner, also if it hangs, and nothing is told any more."""
    pid, handle = house.pid, os.pidfd_open(house.pid)
    if is_hung:
        os.kill(pid, signal.SIGSTOP)
    assert house.begin(file)
    before = count_descriptors()
    house.process.stop()
    assert count_descriptors() == before - 2
    wait_for_end(pid, handle)
    assert not house.begin(file)
    assert (house.told, house.reactor.readers, house.process.pid) == ([], set(), None)


def test_signals_for_the_daemon(house: House, file: OpenFile) -> None:
    """Ctrl-C and the signals of a supervisor end the daemon, and the process with it, not before."""
    assert house.begin(file)
    house.run()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(house.pid, number)
    assert house.begin(file)
    assert house.run(2) == [None, None]


OWNER = """
import os, sys
from twisted.internet import reactor
from aero_storage.page_loading.loader_process import LoaderProcess
process = LoaderProcess(reactor, reactor, None)
process.start()
print(process.pid, flush=True)
sys.stdin.read()
"""


def test_a_daemon_that_is_killed() -> None:
    """The process ends when its owner is gone, however it went."""
    with subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        handle = os.pidfd_open(pid)
        owner.kill()
        wait_for_end(pid, handle)


def test_no_process_can_be_had(house: House, file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads read; a second later it is tried again."""
    house.process.stop()
    house.clock.advance(RESTART_SECONDS)
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    descriptors = count_descriptors()
    house.process.start()
    assert not house.begin(file)
    assert count_descriptors() == descriptors
    monkeypatch.undo()
    house.clock.advance(RESTART_SECONDS)
    assert house.begin(file)
    assert house.run() == [None]


def test_a_program_that_ends_at_once(house: House, file: OpenFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started once a second, not again and again."""
    house.process.stop()
    house.clock.advance(RESTART_SECONDS)
    monkeypatch.setattr(loader_process, "_PROGRAM", Path("/nonexistent.py"))
    house.process.start()
    house.reactor.turn()
    assert house.process.pid is None
    assert not house.begin(file)
