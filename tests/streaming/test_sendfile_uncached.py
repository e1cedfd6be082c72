"""Files that are not in the page cache: who reads them, how far ahead, and what becomes of reads nobody waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from tests.streaming.tcp_pair import (
    KIB,
    MIB,
    ConnectionPair,
    FakeFile,
    ManualDisk,
    ManualReactor,
    evict_pages,
    pattern,
    result_of,
)
from tests.streaming.watched_files import sending
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.python.threadpool import ThreadPool

from aero_storage.disk import DiskThreads
from aero_storage.linux.page_cache import is_resident
from aero_storage.streaming.file_segment import COPIED_BYTES, RESIDENT_SECONDS, WINDOW_BYTES, FileSegment
from aero_storage.streaming.transports import sendfile_transport, use_tracked_transports


def test_waits_for_a_thread(pair: ConnectionPair, file: FakeFile) -> None:
    """Nothing of a cold window is sent until a thread has read it; the head goes meanwhile, and nothing spins."""
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 10 * KIB, b"head"))
    pair.turn(3)
    pair.take()
    assert pair.taken == b"head"
    assert not pair.writes
    assert file.warmed == []
    pair.disk.step()
    assert file.warmed == [(0, 10 * KIB)]
    assert seen == [None]
    pair.take()
    assert pair.taken == b"head" + pattern(10 * KIB)


def test_one_window_ahead(pair: ConnectionPair, file: FakeFile) -> None:
    """While a window is sent the next one is read, never two at once, and each byte once."""
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 5, 6 * MIB))
    pair.disk.step()
    assert len(pair.disk.jobs) == 1
    pair.run()
    assert (seen, pair.disk.most) == ([None], 1)
    assert pair.taken == pattern(6 * MIB, 5)
    assert file.warmed == [(5 + number * MIB, MIB) for number in range(6)]


def test_a_stalled_stream_reads_no_further(pair: ConnectionPair, file: FakeFile) -> None:
    """With a full socket a stream has at most the window that it sends and the one ahead."""
    pair.evict_everything()
    pair.server.send_file(file, 0, 8 * MIB)
    for _ in range(10):
        pair.stall()
        while pair.disk.jobs:
            pair.disk.step()
    assert file.warmed == [(0, MIB), (MIB, MIB)]


def test_a_slow_stream_reads_one_window_ahead(pair: ConnectionPair, file: FakeFile) -> None:
    """A client that takes a little at a time never has more read for it than the window after the one it is at."""
    pair.evict_everything()
    pair.server.send_file(file, 0, 8 * MIB)
    while pair.server.unsent > 5 * MIB:
        pair.turn()
        pair.take(20 * KIB)
        while pair.disk.jobs:
            pair.disk.step()
        sent = 8 * MIB - pair.server.unsent
        assert max(offset + length for offset, length in file.warmed) <= sent + 2 * MIB


def test_drained_by_a_thread(pair: ConnectionPair, file: FakeFile) -> None:
    """What a thread brought in is sent when it comes, and whoever waits until all is sent hears of it."""
    pair.evict_everything()
    pair.server.send_file(file, 0, KIB)
    drained = result_of(pair.server.when_drained())
    assert drained == []
    pair.disk.step()
    assert drained == [None]


def test_only_the_first_in_line_reads(pair: ConnectionPair, file: FakeFile) -> None:
    """Of many segments in a line one reads; the others wait for their turn."""
    pair.evict_everything()
    for _ in range(5):
        pair.server.send_file(file, 0, 2 * MIB)
    assert pair.disk.asked == 1
    pair.run()
    assert pair.disk.most == 1
    assert pair.taken == pattern(2 * MIB) * 5


def test_a_cold_spot(pair: ConnectionPair, file: FakeFile, cold: list[tuple[int, int]]) -> None:
    """What is in the page cache is sent without a thread; reading ahead ends where the file is warm again."""
    cold.append((3 * MIB + 1, 3 * MIB + 2))
    pair.server.send_file(file, 0, 8 * MIB)
    pair.run()
    assert file.warmed == [(3 * MIB, MIB)]
    assert pair.taken == pattern(8 * MIB)


def test_disk_that_answers_at_once(pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is done when it is asked for is as good as bytes that were there."""
    pair.evict_everything()

    def run(work: Callable[[], Any], **_: object) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        deferred.callback(work())
        return deferred

    monkeypatch.setattr(type(pair.server), "disk", type("Now", (), {"run": staticmethod(run)}))
    seen = result_of(pair.server.send_file(file, 0, 3 * MIB))
    pair.run()
    assert seen == [None]
    assert pair.taken == pattern(3 * MIB)


@pytest.mark.parametrize("when", ["first", "ahead"])
def test_read_that_fails(pair: ConnectionPair, file: FakeFile, when: str) -> None:
    """What a thread's read raises fails the segment, and the connection breaks off."""
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    if when == "ahead":
        pair.disk.step()
    error = OSError(5, "Input/output error")
    work, deferred = pair.disk.jobs.popleft()
    del work
    deferred.errback(error)
    pair.run()
    assert seen == [error]
    assert pair.was_reset


def test_no_thread_to_be_had(pair: ConnectionPair, file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had the segment fails, whether asking for one raises or answers with a failure."""
    pair.evict_everything()

    def refuse(*_: object, **__: object) -> Deferred[None]:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ManualDisk, "run", refuse)
    seen: list[Any] = result_of(pair.server.send_file(file, 0, MIB))
    monkeypatch.setattr(ManualDisk, "run", lambda *_, **__: fail(RuntimeError("no more work")))
    assert [type(error) for error in seen] == [RuntimeError]
    pair.run()
    assert pair.was_reset


def test_result_for_a_connection_that_is_gone(pair: ConnectionPair, file: FakeFile) -> None:
    """A read that ends after its connection has gone is dropped in silence."""
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB))
    tell = pair.disk.begin()
    pair.server.abortConnection()
    pair.turn(2)
    tell()
    assert [type(error) for error in seen] == [ConnectionLost]
    assert not pair.disk.jobs


def segment(file: FakeFile, disk: ManualDisk, now: list[float], told: list[object]) -> FileSegment:
    return FileSegment(file, 0, 8 * MIB, disk, lambda _, failure: told.append(failure), lambda: None, lambda: now[0])


def test_what_was_there_a_while_ago(file: FakeFile, disk: ManualDisk, cold: list[tuple[int, int]]) -> None:
    """What was in the page cache is asked for again after a while, with the file, and read again if it has gone."""
    now, told = [0.0], list[object]()
    part = segment(file, disk, now, told)
    assert part.ready() == WINDOW_BYTES
    checks = file.checks
    now[0] = RESIDENT_SECONDS * 0.9
    assert part.ready() == WINDOW_BYTES
    assert file.checks == checks
    cold.append((0, 1))
    now[0] = RESIDENT_SECONDS * 1.1
    assert part.ready() == 0
    assert file.checks == checks + 1
    disk.step()
    assert told == [None]
    assert part.ready() > 0


def test_slow_clients_get_smaller_windows(file: FakeFile, disk: ManualDisk) -> None:
    """A client so slow that windows go stale has less read for it at a time, and more again when it is faster."""
    now = [0.0]
    part = segment(file, disk, now, [])
    sizes = []
    for _ in range(6):
        sizes.append(part.ready())
        now[0] += 1.0
    assert sizes == [MIB, MIB // 2, MIB // 4, MIB // 8, MIB // 8, MIB // 8]
    part.offset += part.ready()
    assert part.ready() == MIB // 4


def test_reads_of_a_stream_without_a_place(pair: ConnectionPair, file: FakeFile) -> None:
    """Go after those of others from when the place is lost; the bytes are the same."""

    class Place:
        is_held = True
        on_given_up: Callable[[], object] | None = None

    place = Place()
    pair.evict_everything()
    seen = result_of(pair.server.send_file(file, 0, 4 * MIB, place=place))
    pair.disk.step()
    place.is_held = False
    pair.run()
    assert seen == [None]
    assert pair.taken == pattern(4 * MIB)
    assert pair.disk.background[0] is False
    assert pair.disk.background[-1] is True


class Evicted(FakeFile):
    """A file whose bytes go again, once, between being sendable and being sent."""

    gone: bool = False

    def transmit(self, socket: int, offset: int, most: int) -> int:
        return 0 if self._goes() else super().transmit(socket, offset, most)

    def read_sendable_into(self, offset: int, target: memoryview) -> int:
        return 0 if self._goes() else super().read_sendable_into(offset, target)

    def _goes(self) -> bool:
        goes, self.gone = not self.gone, True
        return goes


@pytest.mark.parametrize("length", [4 * MIB, COPIED_BYTES])
@pytest.mark.parametrize("comes_back", [True, False])
def test_bytes_that_are_sendable_no_more(
    pair: ConnectionPair, file: FakeFile, cold: list[tuple[int, int]], length: int, *, comes_back: bool
) -> None:
    """Bytes that go before they are sent are asked for again, and brought in if they are still gone."""
    source = Evicted(file.path, file.descriptor)
    seen = result_of(pair.server.send_file(source, 0, length, b"head"))
    if not comes_back:
        cold.append((0, length))
    pair.run()
    assert seen == [None]
    assert pair.taken == b"head" + pattern(length)
    assert bool(source.warmed) is not comes_back


@pytest.mark.parametrize("is_watched", [True, False])
def test_files_that_never_change_in_place(pair: ConnectionPair, file: FakeFile, *, is_watched: bool) -> None:
    """Only a file whose bytes may change in place is watched while they are sent."""
    file.is_watched = is_watched
    pair.server.send_file(file, 0, 4 * MIB)
    assert pair.server.in_flight.has(pair.server) is is_watched
    pair.run()
    assert pair.taken == pattern(4 * MIB)


# The real kernel, real threads


def bytes_read_by_this_thread() -> int:
    """Bytes that this thread has had fetched from a disk."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/io")
    try:
        lines = path.read_text().splitlines()
    except OSError:
        pytest.skip("this kernel does not account for reads")
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


@pytest.fixture
def evicted(file: FakeFile, monkeypatch: pytest.MonkeyPatch) -> FakeFile:
    """The file, pushed out of the page cache and not read ahead by the kernel; the kernel is asked what is there."""
    monkeypatch.setattr("tests.streaming.tcp_pair.is_resident", is_resident)
    with file.path.open("rb+") as writable:
        os.fsync(writable.fileno())
    os.posix_fadvise(file.descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    if not evict_pages(file.descriptor, 0, 8 * MIB):
        pytest.skip("this file system keeps what it is told to forget")
    return file


class Reading(FakeFile):
    """A file that really reads what is to be brought in."""

    def populate(self, offset: int, length: int) -> None:
        super().populate(offset, length)
        assert len(os.pread(self.descriptor, length, offset)) == length


def in_a_thread(disk: ManualDisk) -> None:
    """Do the first piece of work in another thread, and tell of it in this one."""
    ends: list[Callable[[], None]] = []
    worker = threading.Thread(target=lambda: ends.append(disk.begin()))
    worker.start()
    worker.join()
    ends[0]()


def test_the_reactor_reads_no_cold_byte(pair: ConnectionPair, evicted: FakeFile) -> None:
    """Not a byte of a file that has left the page cache is fetched from the disk by the reactor's own thread."""
    source = Reading(evicted.path, evicted.descriptor)
    seen = result_of(pair.server.send_file(source, 100, 5 * MIB, b"head"))
    before = bytes_read_by_this_thread()
    while not seen:
        if pair.disk.jobs:
            in_a_thread(pair.disk)
        pair.turn()
        pair.take()
    pair.run()
    assert bytes_read_by_this_thread() == before
    assert pair.taken == b"head" + pattern(5 * MIB, 100)
    assert source.warmed


@pytest.fixture
def threads() -> Iterator[ThreadPool]:
    pool = ThreadPool(2, 2)
    pool.start()
    yield pool
    if not pool.joined:
        pool.stop()


@pytest_twisted.ensureDeferred
async def test_with_the_real_reactor(threads: ThreadPool, evicted: FakeFile) -> None:
    """A cold file goes through real threads and a real endpoint to a client that reads, byte for byte."""
    reactor: Any = installed
    source = Reading(evicted.path, evicted.descriptor)
    done: Deferred[None] = Deferred()
    before = bytes_read_by_this_thread()

    class Sending(Protocol):
        def connectionMade(self) -> None:
            sender = sendfile_transport(self.transport)
            assert sender is not None
            sender.send_file(source, 3, 7 * MIB, b"head").chainDeferred(done)
            sender.loseConnection()

    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory.forProtocol(Sending))
    use_tracked_transports(port, sending(reactor, DiskThreads(reactor, reactor, threads, 1, 60.0)))

    def client() -> bytes:
        import socket  # noqa: PLC0415

        with socket.create_connection(("127.0.0.1", port.getHost().port)) as peer, peer.makefile("rb") as stream:
            return stream.read()

    data = await deferToThread(client)
    await done
    await port.stopListening()
    assert data == b"head" + pattern(7 * MIB, 3)
    assert bytes_read_by_this_thread() == before


def test_shutdown_while_a_thread_reads(
    make_pair: Callable[..., ConnectionPair],
    reactor: ManualReactor,
    threads: ThreadPool,
    file: FakeFile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that is aborted while a thread reads for it ends at once; the thread ends with its read."""
    pair = make_pair()
    pair.evict_everything()
    begun, may_end = threading.Event(), threading.Event()

    class Slow(FakeFile):
        def populate(self, offset: int, length: int) -> None:
            super().populate(offset, length)
            begun.set()
            assert may_end.wait(10)

    monkeypatch.setattr(type(pair.server), "disk", DiskThreads(reactor, reactor, threads, 1, 60.0))
    seen = result_of(pair.server.send_file(Slow(file.path, file.descriptor), 0, 4 * MIB))
    assert begun.wait(10)
    pair.server.abortConnection()
    pair.turn(2)
    assert [type(error) for error in seen] == [ConnectionLost]
    may_end.set()
    threads.stop()
    pair.turn(3)
    assert len(seen) == 1
