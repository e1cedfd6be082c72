"""Bodies over TLS: exact bytes, session resumption, and clients that leave in the middle (http.md §5)."""

from __future__ import annotations

import random
import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest
from tests.blackbox.harness import running
from tests.blackbox.raw_http import RawConnection, head
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

KIB = 1024
MIB = 1024 * KIB
IMAGE = random.Random(5).randbytes(6 * MIB)
TARGET = "/v1/images/disk.img"
ENDPOINT = "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"


@contextmanager
def serving(path: Path, *flags: str) -> Iterator[Daemon]:
    write_certificate(path)
    (path / "images").mkdir()
    (path / "images" / "disk.img").write_bytes(IMAGE)
    with running(path, "--endpoint", ENDPOINT, *flags) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def daemon(home: Callable[[str], Path]) -> Iterator[Daemon]:
    """A daemon with a TLS port."""
    with serving(home("tls-streams")) as daemon:
        yield daemon


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def dial(
    daemon: Daemon, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> RawConnection:
    wrapped = (context or trusting()).wrap_socket(daemon.dial().sock, session=session)
    return RawConnection(cast("socket.socket", wrapped))


def get(conn: RawConnection, first: int, length: int, request_id: str = "any") -> None:
    conn.send(head("GET", TARGET, {"Range": f"bytes={first}-{first + length - 1}", "X-Request-Id": request_id}))


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_ranges(daemon: Daemon, tls: ssl.TLSVersion) -> None:
    """Ranges of all sizes come right to the byte, one after the other on one connection."""
    context = trusting()
    context.maximum_version = tls
    with dial(daemon, context) as conn:
        for length in (1, 16 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, 5 * MIB + 3):
            get(conn, 12345, length)
            assert conn.reply_head().length == length
            assert conn.take(length) == IMAGE[12345 : 12345 + length]


def test_pipelined(daemon: Daemon) -> None:
    """Pipelined requests are answered in order, small and large, images and others."""
    wanted = [(0, 10), (5, 70_000), (9, 2 * MIB), (1, 64 * KIB), (0, 1)]
    with dial(daemon) as conn:
        for first, length in wanted:
            get(conn, first, length)
        conn.send(head("GET", "/v1/images/nothing"))
        for first, length in wanted:
            assert conn.reply_head().length == length
            assert conn.take(length) == IMAGE[first : first + length]
        assert conn.reply_head().status == 404


def test_sessions_are_resumed(daemon: Daemon) -> None:
    """A client that comes back with its ticket needs no full handshake."""
    context = trusting()
    with dial(daemon, context) as conn:
        get(conn, 0, 1)
        conn.reply_head()
        first = cast("ssl.SSLSocket", conn.sock)
        conn.take(1)
        session = first.session
        assert not first.session_reused
    with dial(daemon, context, session) as conn:
        get(conn, 0, 1)
        assert conn.reply_head().status == 206
        assert cast("ssl.SSLSocket", conn.sock).session_reused


def test_fastest_cipher(daemon: Daemon) -> None:
    """A client that offers all ciphers of TLS 1.3 gets the fastest, as browsers do."""
    with dial(daemon) as conn:
        name, _, _ = cast("ssl.SSLSocket", conn.sock).cipher() or ("", "", 0)
        assert name == "TLS_AES_128_GCM_SHA256"


def test_goodbye_amid_a_body(daemon: Daemon) -> None:
    """A client that says by TLS that it closes, in the middle of a body, has left; nothing is told of a defect."""
    since = daemon.log_size()
    with dial(daemon) as conn:
        get(conn, 0, 6 * MIB, "goodbye")
        conn.reply_head()
        sock = cast("ssl.SSLSocket", conn.sock)
        sock.setblocking(False)  # noqa: FBT003 - the name of the standard library
        with pytest.raises(ssl.SSLError):  # it has sent its alert, and finds the body where it expects ours
            sock.unwrap()
        assert daemon.complete("goodbye")["outcome"] == "disconnected"
    assert [line for line in daemon.lines(since) if line["level"] in {"warn", "error"}] == []
