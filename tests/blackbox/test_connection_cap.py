"""`--max-connections` bounds the sockets that clients hold, whatever they leave unread; http.md §1, Connections."""

from __future__ import annotations

import os
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import define, field
from tests.blackbox.harness import Daemon, running, until
from tests.blackbox.image_roots import OVER_BUCKET, entry, put, small_root, wide_bytes
from tests.blackbox.raw_http import NoReplyError, RawConnection, head
from tests.certificates import write_certificate

from aero_storage.streaming.file_segment import COPIED_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 50
BEYOND = 128
"""Further sockets: of clients that are refused, of those that take the last of their responses, of one turn."""

CLIENTS, WAVE = 250, 50
PATIENCE = 20.0
WIDE = "/v1/images/wide"
FIRST_TEN = {"Range": "bytes=0-9"}
ENDPOINTS = (
    *("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", "unix:socket"),
    *("--endpoint", "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"),
)
SOON = "--header-timeout-secs=0.8"
"""Has the daemon look at its connections five times a second."""


@pytest.fixture
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon for fifty connections, over TCP, TLS and a UNIX socket."""
    path = home("capped")
    small_root(path / "images", entry("wide", "wide.img"))
    put(path / "images" / "wide.img", wide_bytes())
    write_certificate(path)
    with running(path, *ENDPOINTS, SOON, f"--max-connections={LIMIT}") as daemon:
        yield daemon


def dial_tcp(daemon: Daemon) -> RawConnection:
    return daemon.dial()


def dial_tls(daemon: Daemon) -> RawConnection:
    *_, address = [line["address"] for line in daemon.lines() if line["message"] == "listening"]
    plain = RawConnection.dial(int(address.rpartition(":")[2]))
    context = ssl.create_default_context(cafile=daemon.home / "cert.pem")
    try:
        return RawConnection(context.wrap_socket(plain.sock, server_hostname="localhost"))
    except OSError:
        plain.close()
        raise


def outgoing() -> set[str]:
    """Return the TCP sockets of this machine that were dialled, such as those to an object store."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1].rpartition(":")[2] for row in rows if row[3] == "0A"}
    return {f"socket:[{row[9]}]" for row in rows if row[1].rpartition(":")[2] not in listening}


@define
class Sockets:
    """The open sockets of a daemon beside those that it has without clients, and those to its bucket."""

    daemon: Daemon
    most: int = 0
    _own: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._own = self.count()

    def count(self) -> int:
        descriptors = Path(f"/proc/{self.daemon.process.pid}/fd")
        found = set()
        for name in os.listdir(descriptors):  # noqa: PTH208 - they vanish meanwhile
            with suppress(FileNotFoundError):
                found.add(os.readlink(descriptors / name))  # noqa: PTH115
        return len({one for one in found if one.startswith("socket:")} - self._dialled()) - self._own

    @staticmethod
    def _dialled() -> set[str]:
        return outgoing() if OVER_BUCKET else set()

    def look(self) -> None:
        self.most = max(self.most, self.count())


def served(daemon: Daemon, dial: Callable[[Daemon], RawConnection]) -> bool:
    """Whether an honest client gets what it asks for."""
    try:
        with dial(daemon) as conn:
            return conn.ask("GET", WIDE, FIRST_TEN).status == 206
    except (NoReplyError, OSError):
        return False


def part(size: int, **fields: str) -> bytes:
    """Ask for the first bytes of the image; the kernel's buffers hold IN_BUFFERS, those of TCP twice as many."""
    return head("GET", WIDE, {"Range": f"bytes=0-{size - 1}", **fields})


IN_BUFFERS, FAST = 100_000, 2 << 20
REFUSED = head("POST", WIDE, {"Content-Length": "5"})


def asks(request: bytes) -> Callable[[RawConnection], None]:
    return lambda conn: conn.send(request)


def reads_one_and_leaves_one(size: int) -> Callable[[RawConnection], None]:
    """Show that the client is fast, then leave a response of that size, which is complete before it is read."""

    def ask(conn: RawConnection) -> None:
        conn.send(part(FAST))
        conn.reply()
        conn.send(part(size))

    return ask


CASES = {
    "response-tcp": (dial_tcp, asks(part(2 * IN_BUFFERS))),
    "response-tls": (dial_tls, asks(part(IN_BUFFERS))),
    "response-unix": (Daemon.dial_unix, asks(part(IN_BUFFERS))),
    "file-tcp": (dial_tcp, reads_one_and_leaves_one(COPIED_BYTES)),
    "file-unix": (Daemon.dial_unix, reads_one_and_leaves_one(IN_BUFFERS)),
    "error-tcp": (dial_tcp, asks(REFUSED)),
    "error-tls": (dial_tls, asks(REFUSED)),
    "last-tls": (dial_tls, asks(part(IN_BUFFERS, Connection="close"))),
}


# `SSLContext.wrap_socket` leaves its socket open if the connection is reset before the handshake (CPython 3.11).
@pytest.mark.filterwarnings("ignore:.*SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("dial", "ask"), CASES.values(), ids=CASES)
def test_responses_left_unread(
    daemon: Daemon, dial: Callable[[Daemon], RawConnection], ask: Callable[[RawConnection], None]
) -> None:
    """However many leave complete responses unread, no more sockets are open, and an honest client is served."""
    sockets = Sockets(daemon)
    with ExitStack() as clients:
        for number in range(1, CLIENTS + 1):
            with suppress(OSError, NoReplyError):  # refused, or reset
                ask(clients.enter_context(dial(daemon)))
            sockets.look()
            if not number % WAVE:
                until(lambda: served(daemon, dial), PATIENCE)
    assert LIMIT <= sockets.most <= LIMIT + BEYOND
    until(lambda: sockets.count() == 0, PATIENCE)


def test_responses_under_way(daemon: Daemon) -> None:
    """Nobody is cut whose response is under way; others are refused, and no more sockets are open."""
    sockets = Sockets(daemon)
    with ExitStack() as clients:
        first = clients.enter_context(daemon.dial())
        first.send(head("GET", WIDE))
        for _ in range(CLIENTS):
            with suppress(OSError):
                clients.enter_context(daemon.dial()).send(head("GET", WIDE))
            sockets.look()
        assert not served(daemon, dial_tcp)
        assert first.reply().body == wide_bytes()
    assert LIMIT <= sockets.most <= LIMIT + BEYOND
    until(lambda: sockets.count() == 0, PATIENCE)
    assert served(daemon, dial_tcp)
