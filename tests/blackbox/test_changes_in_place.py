"""http.md §5: a file that is written or truncated in place never reaches a client as a whole body of other bytes."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import random
import socket
import ssl
import struct
import termios
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from attrs import define, frozen
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.raw_http import NoReplyError, RawConnection, head
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.blackbox.harness import Line
    from tests.blackbox.raw_http import Fields

KIB, MIB = 1 << 10, 1 << 20
SIZE = 8 * MIB
SMALL_WINDOW = 64 * KIB
TRIES = 60
TCP_AND_UNIX = ("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", "unix:socket")
AHEAD = 6
"""Images that are made before their tests."""
RESETS = "file changed in place: connections reset"
OLD, NEW = (random.Random(seed).randbytes(SIZE) for seed in (27, 28))


def dial_tls(daemon: Daemon) -> RawConnection:
    """Connect to the TLS port of a daemon."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = daemon.dial().sock
    return RawConnection(cast("socket.socket", context.wrap_socket(plain)))


@define
class Image:
    """An image of OLD bytes, served by a daemon."""

    daemon: Daemon
    path: Path
    kind: str = "tcp"
    """Of the clients' connections."""

    @property
    def broken(self) -> str:
        """How a connection ends that the daemon breaks off: a UNIX socket has no reset."""
        return "reset" if self.kind == "tcp" else "eof"

    def dial(self, *, receive_buffer: int | None = None) -> RawConnection:
        """Connect; a UNIX socket has no receive buffer of its own."""
        return self.daemon.dial(receive_buffer=receive_buffer) if self.kind == "tcp" else self.daemon.dial_unix()

    @property
    def target(self) -> str:
        return f"/v1/images/{self.path.name}"

    def wait_until_listed(self) -> None:
        until(lambda: self.daemon.ask(self.target, "HEAD").status == 200)

    def ask(self, conn: RawConnection, fields: Fields = (), target: str = "") -> None:
        """Ask for it, and wait until the head of the response has come, without reading it."""
        conn.send(head("GET", target or self.target, fields))
        assert conn.sock.recv(1, socket.MSG_PEEK)

    def resets(self, since: int) -> Line:
        """Wait for the line that tells of the connections that were reset, and return it."""
        return self.daemon.line(lambda line: line["message"] == RESETS and self.path.name in line["file"], since)


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon over images that come and go."""
    with running(home("in-place"), *TCP_AND_UNIX, "--virtual-chunks") as started:
        yield started


@pytest.fixture(scope="module")
def images(daemon: Daemon) -> Iterator[Image]:
    """Images one after the other, each made some tests before its own: a second may pass until one is listed."""
    return _made_ahead(daemon)


def _made_ahead(daemon: Daemon) -> Iterator[Image]:
    made: deque[Image] = deque()
    for number in itertools.count():
        made.append(Image(daemon, daemon.root / f"image-{number}.img"))
        made[-1].path.write_bytes(OLD)
        if number >= AHEAD:
            yield made.popleft()


@pytest.fixture(params=["tcp", "unix"])
def image(images: Iterator[Image], request: pytest.FixtureRequest) -> Iterator[Image]:
    """An image for one test, whose clients come over TCP or a UNIX socket."""
    made = next(images)
    made.kind = request.param
    made.wait_until_listed()
    yield made
    made.path.unlink()


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(NEW)


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def shorten_and_grow(path: Path) -> None:
    os.truncate(path, 100)
    os.truncate(path, SIZE)


def store(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as mapping:
        mapping[:] = NEW


CHANGES = (overwrite, truncate, shorten_and_grow, store)


def is_right(conn: RawConnection, first: int = 0) -> bool:
    """Read a response; whether it ends before its length, or is whole and all its bytes are old."""
    try:
        length = conn.reply_head().length
    except AssertionError:
        return True
    body = conn.take(length)
    return len(body) < length or body == OLD[first : first + length]


def run_fast(image: Image, conn: RawConnection) -> None:
    """Read megabytes in no time, so that the connection counts as fast: whole bodies then wait in its socket."""
    for _ in range(4):
        reply = conn.ask("GET", image.target, {"Range": f"bytes=0-{2 * MIB - 1}"})
        assert reply.body == OLD[: 2 * MIB]


@pytest.mark.parametrize("change", CHANGES)
def test_body_that_nobody_reads(image: Image, change: Callable[[Path], None]) -> None:
    """A client that asks for 4 MiB and reads nothing is reset when the file changes, and one line tells of it."""
    since = image.daemon.log_size()
    request_id = f"unread-{image.kind}-{change.__name__}"
    with image.dial() as conn:
        image.ask(conn, {"Range": f"bytes=0-{4 * MIB - 1}", "X-Request-Id": request_id})
        change(image.path)
        line = image.resets(since)
        assert (line["level"], line["connections"]) == ("warn", 1)
        length = conn.reply_head().length
        assert len(conn.take(length)) < length
        assert conn.ending == image.broken
    assert image.daemon.complete(request_id)["outcome"] == "aborted"


def read_much(image: Image, conn: RawConnection, megabytes: int = 64) -> None:
    """Read at full speed, so that the client's system takes megabytes that its program does not read."""
    for _ in range(megabytes * MIB // SIZE):
        assert conn.ask("GET", image.target).body == OLD


def waiting(conn: RawConnection) -> int:
    """Return how many bytes have come that the client has not read."""
    (count,) = struct.unpack("i", fcntl.ioctl(conn.sock, termios.FIONREAD, bytes(4)))
    return int(count)


def wait_until_still(conn: RawConnection) -> None:
    """Wait until no more bytes come to a client that does not read."""
    seen = [-1] * 10

    def is_still() -> bool:
        seen[:] = [*seen[1:], waiting(conn)]
        return len(set(seen)) == 1

    until(is_still)


@pytest.mark.parametrize("length", [300 * KIB, MIB, 4 * MIB, SIZE])
@pytest.mark.parametrize("change", CHANGES)
def test_fast_client_on_this_machine(image: Image, change: Callable[[Path], None], length: int) -> None:
    """A client whose system acknowledges a whole body that it has not read has no clean end with other bytes."""
    request_id = f"pages-{image.kind}-{change.__name__}-{length}"
    with image.dial() as conn:
        read_much(image, conn)
        image.ask(conn, {"Range": f"bytes=0-{length - 1}", "X-Request-Id": request_id})
        wait_until_still(conn)
        change(image.path)
        assert conn.reply_head().length == length
        assert len(conn.take(length)) < length
        assert conn.ending == image.broken
    assert image.daemon.complete(request_id)["outcome"] == "aborted"


@pytest.mark.parametrize("change", CHANGES)
def test_client_that_pauses_near_the_end(image: Image, change: Callable[[Path], None]) -> None:
    """A client that has only the last pages to read when the file changes has no clean end with other bytes."""
    with image.dial() as conn:
        image.ask(conn)
        assert conn.reply_head().length == SIZE
        left = SIZE - 100 * KIB
        while left > 0:
            left -= len(conn.sip(min(left, MIB)))
        wait_until_still(conn)
        change(image.path)
        assert len(conn.take(100 * KIB)) < 100 * KIB
        assert conn.ending == image.broken


@pytest.mark.parametrize("length", [300 * KIB, 336 * KIB + 10, MIB, SIZE])
def test_held_tails_come(image: Image, length: int) -> None:
    """The end of a body that was held back comes as soon as the client has read the rest; what is behind it, too."""
    with image.dial() as conn:
        read_much(image, conn)
        image.ask(conn, {"Range": f"bytes=0-{length - 1}"})
        conn.send(head("GET", "/healthz"))
        wait_until_still(conn)
        assert waiting(conn) < length
        assert conn.reply().body == OLD[:length]
        assert conn.reply().status == 200


@pytest.mark.parametrize("how", ["close", "half-closed"])
@pytest.mark.parametrize("change", CHANGES)
def test_last_response(image: Image, change: Callable[[Path], None], how: str) -> None:
    """A response that is the last of its connection is reset too, also when the client has closed its half."""
    since, request_id = image.daemon.log_size(), f"last-{image.kind}-{change.__name__}-{how}"
    fields = {"Range": f"bytes=0-{MIB - 1}", "X-Request-Id": request_id}
    with image.dial(receive_buffer=SMALL_WINDOW) as conn:
        run_fast(image, conn)
        image.ask(conn, fields | ({"Connection": "close"} if how == "close" else {}))
        if how == "half-closed":
            conn.sock.shutdown(socket.SHUT_WR)
        change(image.path)
        assert image.resets(since)["connections"] == 1
        length = conn.reply_head().length
        assert len(conn.take(length)) < length
        assert conn.ending == image.broken
    assert image.daemon.complete(request_id)["outcome"] == "aborted"


def test_several_connections(image: Image) -> None:
    """All connections that wait for bytes of the file are reset, and one line tells of all; others go on."""
    since = image.daemon.log_size()
    conns = [image.dial() for _ in range(5)]
    with image.dial() as idle:
        assert idle.ask("GET", image.target, {"Range": f"bytes=0-{MIB - 1}"}).body == OLD[:MIB]
        for conn in conns:
            image.ask(conn)
        overwrite(image.path)
        assert image.resets(since)["connections"] == 5
        assert all(is_right(conn) for conn in conns)
        assert {conn.ending for conn in conns} == {image.broken}
        assert idle.ask("GET", "/healthz").status == 200
    for conn in conns:
        conn.close()


@pytest.mark.parametrize("how", ["renamed", "removed"])
@pytest.mark.parametrize("fast", [False, True])
def test_replaced(image: Image, how: str, *, fast: bool) -> None:
    """A file that is replaced by rename, or removed, goes to its end from the old one, to late readers too."""
    with image.dial(receive_buffer=SMALL_WINDOW) as conn:
        if fast:
            run_fast(image, conn)
        image.ask(conn, {"Range": f"bytes=5-{MIB + 4}"})
        if how == "renamed":
            other = image.path.with_name(".other")
            other.write_bytes(NEW)
            other.rename(image.path)
        else:
            image.path.unlink()
        assert conn.reply().body == OLD[5 : MIB + 5]
        assert conn.ask("GET", "/healthz").status == 200
    image.path.touch()


@pytest.mark.parametrize("seed", range(3))
def test_copied_bodies(image: Image, seed: int) -> None:
    """Bodies up to 256 KiB to a client that reads late: every byte that comes is right, whenever the file changes."""
    rng, now = random.Random(seed), OLD
    for number in range(TRIES):
        length = rng.choice((65_537, 262_144, rng.randint(65_537, 262_144)))
        first = rng.randint(0, SIZE - length)
        with image.dial() as conn:
            image.ask(conn, {"Range": f"bytes={first}-{first + length - 1}"})
            after = random.Random(f"{seed}-{number}").randbytes(SIZE)
            with image.path.open("r+b") as file:
                if rng.random() < 0.3:
                    file.truncate(rng.randint(0, SIZE))
                file.write(after)
            assert conn.reply_head().length == length
            body = conn.take(length)
            assert body == now[first : first + len(body)]
            assert len(body) == length or conn.ending == image.broken
        now = after


def publish(image: Image) -> None:
    """Give it chunk artifacts: a chunk, and a manifest."""
    chunks = image.daemon.root / "chunked" / image.path.name
    (chunks / "chunks").mkdir(parents=True)
    (chunks / "chunks" / "00000000.bin").write_bytes(OLD[: 4 * MIB])
    (chunks / "manifest.json").write_text("{}")


@pytest.mark.parametrize("published", [False, True])
def test_chunks(image: Image, *, published: bool) -> None:
    """Chunks are reset like ranges: those that are files, and those that are cut from the image."""
    path = image.path
    if published:
        publish(image)
        path = image.daemon.root / "chunked" / path.name / "chunks" / "00000000.bin"
    since, target = image.daemon.log_size(), f"{image.target}/chunked/chunks/00000000.bin"
    with image.dial() as conn:
        image.ask(conn, target=target)
        overwrite(path)
        line = image.resets(since)
        assert (Path(line["file"]), line["connections"]) == (path.relative_to(image.daemon.root), 1)
        assert conn.reply_head().length == 4 * MIB
        assert len(conn.take(4 * MIB)) < 4 * MIB


@frozen
class Held:
    """What a daemon holds: open descriptors, and watches of files."""

    descriptors: int
    watches: int

    @classmethod
    def by(cls, daemon: Daemon) -> Held:
        process = Path(f"/proc/{daemon.process.pid}")
        watches = [_read(info).count("inotify wd:") for info in (process / "fdinfo").iterdir()]
        return cls(len(watches), sum(watches))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # closed meanwhile
        return ""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_nothing_is_left(home: Callable[[str], Path], kind: str) -> None:
    """After many changes as many descriptors are open as before, and nothing is watched."""
    with running(home(f"left-{kind}"), *TCP_AND_UNIX) as daemon:
        until(lambda: Held.by(daemon).descriptors > 0)
        before = Held.by(daemon)
        assert before.watches == 0
        images = [Image(daemon, daemon.root / f"{number}.img", kind) for number in range(20)]
        for image in images:
            image.path.write_bytes(OLD)
        for number, image in enumerate(images):
            image.wait_until_listed()
            with image.dial() as conn:
                image.ask(conn)
                assert Held.by(daemon).watches == 1
                if number % 2:
                    CHANGES[number % 4](image.path)
                    assert is_right(conn)
        until(lambda: Held.by(daemon) == before, 20.0)


TLS_AND_UNIX = ("--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem", *TCP_AND_UNIX[2:])


def serving_one_image(path: Path) -> Path:
    """Make the home of a daemon with TLS and one image of OLD bytes, and return that."""
    write_certificate(path)
    image = path / "images" / "disk.img"
    image.parent.mkdir()
    image.write_bytes(OLD)
    return image


@pytest.mark.parametrize("dial", [Daemon.dial_unix, dial_tls])
def test_one_line_for_other_transports(home: Callable[[str], Path], dial: Callable[[Daemon], RawConnection]) -> None:
    """Connections by TLS, which get copies, and by UNIX sockets are told of in one line when a file changes."""
    path = home(f"line-{dial.__name__}")
    image = serving_one_image(path)
    with running(path, *TLS_AND_UNIX) as daemon, ExitStack() as stack:
        conns = [stack.enter_context(dial(daemon)) for _ in range(4)]
        for conn in conns:
            conn.send(head("GET", "/v1/images/disk.img"))
            assert conn.reply_head().length == SIZE
        overwrite(image)
        for conn in conns:
            assert len(conn.take(SIZE)) < SIZE
        daemon.line(lambda line: line["message"] == RESETS)
        told = [line for line in daemon.lines() if line["level"] in {"warn", "error"}]
        assert [(line["message"], line.get("file"), line.get("connections")) for line in told] == [
            (RESETS, "disk.img", 4)
        ]


@pytest.mark.parametrize("change", [overwrite, truncate])
def test_tls(home: Callable[[str], Path], change: Callable[[Path], None]) -> None:
    """TLS gets copies, verified when they are read: what comes is right, and never whole."""
    path = home(f"in-place-{change.__name__}")
    image = serving_one_image(path)
    with running(path, *TLS_AND_UNIX) as daemon:
        with dial_tls(daemon) as conn:
            conn.send(head("GET", "/v1/images/disk.img", {"X-Request-Id": "late"}))
            length = conn.reply_head().length
            change(image)
            body = conn.take(length)
            assert len(body) < length
            assert body == OLD[: len(body)]
        assert daemon.complete("late")["outcome"] == "aborted"


def test_what_was_broken_off_before_its_first_byte_was_not_sent(daemon: Daemon, images: Iterator[Image]) -> None:
    """A change between the look at a file and the read of it resets the connection; no byte counts as sent."""
    image, since = next(images), daemon.log_size()
    image.wait_until_listed()
    for number in range(TRIES):  # the look counts for two milliseconds
        with daemon.dial() as conn:
            try:
                for _ in range(3):
                    assert conn.ask("GET", image.target, {"Range": "bytes=0-99"}).status == 206
                os.utime(image.path, ns=(number, number))
                conn.ask("GET", image.target, {"Range": "bytes=0-99"})
            except NoReplyError:
                break
    line = daemon.line(lambda line: line.get("outcome") == "aborted" and line["path"] == image.target, since)
    assert (line["status"], line["bytes_sent"]) == (206, 0)
