"""What the kernel tells of the other end of a connection: real sockets, and answers of every kind."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.streaming.tcp_pair import descriptors

from aero_storage.linux.sock_diag import SockDiag, answer_in, question_about_peer

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN, ESTABLISHED = 10, 1


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    """A netlink socket."""
    made = SockDiag()
    made.start()
    yield made
    made.stop()


@contextmanager
def connection(address: str, listening: str = "") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the peer's of a connection to `address`, accepted where `listening` listens."""
    family = socket.AF_INET6 if ":" in (listening or address) else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((listening or address, 0))
        listener.listen()
        peer = stack.enter_context(socket.create_connection((address, listener.getsockname()[1])))
        own, _ = listener.accept()
        yield stack.enter_context(own), peer


@pytest.mark.parametrize(("address", "listening"), [("127.0.0.1", ""), ("::1", ""), ("127.0.0.1", "::")])
def test_unread(diag: SockDiag, address: str, listening: str) -> None:
    """Received bytes are counted once and for all, unread ones until the program reads; IPv4, IPv6, and mapped."""
    with connection(address, listening) as (own, peer):
        own.send(bytes(1000))
        assert peer.recv(1000, socket.MSG_PEEK | socket.MSG_WAITALL) == bytes(1000)
        found = diag.find_peer(own)
        assert found is not None
        assert (found.unread, found.received) == (1000, 1000)
        peer.recv(600)
        now = diag.look_at(found)
        assert now is not None
        assert (now.unread, now.received) == (400, 1000)


def test_closed(diag: SockDiag) -> None:
    """A peer that has closed is gone, also when another socket has its addresses."""
    with connection("127.0.0.1") as (own, peer):
        found = diag.find_peer(own)
        assert found is not None
        other = type(found)(found.question, bytes(8), 0, 0)
        assert diag.look_at(other) is None
        own.send(b"unread: the peer's kernel resets")
        peer.close()
        assert diag.look_at(found) is None


def test_other_sockets(diag: SockDiag) -> None:
    """UNIX sockets have no such peer."""
    one, other = socket.socketpair()
    with one, other:
        assert diag.find_peer(one) is None


def test_forbidden() -> None:
    """Without a netlink socket every question is an OSError, and starting is none."""
    with connection("127.0.0.1") as (own, _peer), pytest.raises(OSError, match="not supported"):
        SockDiag().find_peer(own)


def test_no_descriptor_is_left() -> None:
    """Starting and stopping leaves nothing open."""
    before = descriptors()
    diag = SockDiag()
    diag.start()
    diag.stop()
    diag.stop()
    assert descriptors() == before


def answer(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def message(state: int, unread: int, attributes: bytes) -> bytes:
    return struct.pack("=BBBB40x8sIIIII", 2, state, 0, 0, b"\x07" * 8, 0, unread, 0, 0, 0) + attributes


INFO = struct.pack("=HH128xQ", 140, 2, 5000)


@pytest.mark.parametrize(
    "attributes", [INFO, struct.pack("=HHBxxx", 5, 8, 0) + INFO, struct.pack("=HH", 0, 9) + INFO]
)
def test_answers(attributes: bytes) -> None:
    """An answer is read whatever attributes stand before the one that matters, broken ones included."""
    found = answer_in(answer(20, message(ESTABLISHED, 300, attributes)), b"question")
    assert found is not None
    assert (found.question, found.identity, found.unread, found.received) == (b"question", b"\x07" * 8, 300, 5000)


def test_listener() -> None:
    """A socket that listens on the peer's port is not the peer."""
    assert answer_in(answer(20, message(LISTEN, 1, INFO)), b"") is None


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESTALE])
def test_gone(code: int) -> None:
    """There is no such socket here, or another has its addresses."""
    assert answer_in(answer(2, struct.pack("=i", -code)), b"") is None


@pytest.mark.parametrize(
    "data",
    [
        answer(2, struct.pack("=i", -errno.EPERM)),
        answer(20, message(ESTABLISHED, 0, b"")),
        answer(20, message(ESTABLISHED, 0, struct.pack("=HH100x", 104, 2))),
    ],
)
def test_not_told(data: bytes) -> None:
    """A kernel that does not tell all is an OSError."""
    with pytest.raises(OSError, match=r"permitted|No data"):
        answer_in(data, b"")


def test_question() -> None:
    """The question has the addresses swapped: the peer's socket has ours as its peer."""
    with connection("127.0.0.1") as (own, _peer):
        question = question_about_peer(own)
        assert question is not None
        family, protocol, extensions, states, ports = struct.unpack_from("=BBBxI4s", question)
        assert (family, protocol, extensions, states) == (socket.AF_INET, socket.IPPROTO_TCP, 2, 0xFFFFFFFF)
        assert ports == struct.pack("!HH", own.getpeername()[1], own.getsockname()[1])
