"""Asks the kernel about the other end of a TCP connection, if that is a socket of this machine (sock_diag(7)).

It tells how many bytes the socket has received, and how many its program has not read: 2 to 5 µs a question. It needs
no privilege, and knows the sockets of this network namespace alone.

Our own end knows less: the other end acknowledges bytes that its program has not read, and may take 40 ms to
acknowledge those that it has.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

import attrs

_SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG."""

_BY_FAMILY, _REQUEST, _ERROR = 20, 1, 2
"""SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, NLMSG_ERROR."""

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port."""

_QUESTION = struct.Struct("=BBBxI 2s2s16s16sI")
"""struct inet_diag_req_v2 to its identity: family, protocol, extensions, states; ports, addresses, interface."""

_ANSWER = struct.Struct("=xBxx 40x8s 4xI 12x")
"""struct inet_diag_msg: state, identity, rqueue. Attributes follow."""

_ATTRIBUTE = struct.Struct("=HH")
"""struct nlattr: length, type."""

_INFO, _INFO_EXTENSION = 2, 1 << (2 - 1)
"""INET_DIAG_INFO: an attribute that is struct tcp_info, and the bit that asks for it."""

_BYTES_RECEIVED = struct.Struct("=128xQ")
"""Of struct tcp_info: tcpi_bytes_received (linux/tcp.h)."""

_ALL_STATES, _LISTEN = 0xFFFFFFFF, 10
_ANY = b"\xff" * 8
_LOOPBACK_INTERFACE = 1
"""Its index in every network namespace; it finds sockets that are bound to it, and those that are bound to none."""

_ANSWER_BYTES = 4096
_GONE = frozenset({errno.ENOENT, errno.ESTALE})


@attrs.frozen
class PeerSocket:
    """A socket of this machine; `identity` tells it from one that has its addresses later."""

    question: bytes
    identity: bytes
    unread: int
    """Bytes that it had received, and its program had not read."""
    received: int
    """Bytes that it had received soon after: more may have come in between."""


@attrs.define(eq=False)
class SockDiag:
    """A netlink socket, open between `start` and `stop`, for one thread. No call waits."""

    _netlink: socket.socket | None = attrs.field(init=False, default=None)
    _sequence: int = attrs.field(init=False, default=0)

    def start(self) -> None:
        """Open it. If the system forbids that, every question ends with an OSError."""
        netlink: socket.socket | None = None
        try:
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
            netlink.settimeout(0)
            netlink.connect((0, 0))
        except (AttributeError, OSError):
            if netlink is not None:
                netlink.close()
        else:
            self._netlink = netlink

    def stop(self) -> None:
        """Close it."""
        netlink, self._netlink = self._netlink, None
        if netlink is not None:
            netlink.close()

    def find_peer(self, connection: socket.socket) -> PeerSocket | None:
        """Return the socket at the other end of a connection; None if this machine (here) has no such socket.

        Raises OSError if the kernel does not tell.
        """
        question = question_about_peer(connection)
        return None if question is None else self._ask(question, _ANY)

    def look_at(self, peer: PeerSocket) -> PeerSocket | None:
        """Return `peer` as it is now; None if its program has closed it.

        Raises OSError if the kernel does not tell.
        """
        return self._ask(peer.question, peer.identity)

    def _ask(self, question: bytes, identity: bytes) -> PeerSocket | None:
        if self._netlink is None:
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        length = _HEADER.size + len(question) + len(identity)
        self._netlink.send(_HEADER.pack(length, _BY_FAMILY, _REQUEST, self._sequence, 0) + question + identity)
        while True:
            data = self._netlink.recv(_ANSWER_BYTES)
            if _HEADER.unpack_from(data)[3] == self._sequence:  # else an answer that was given up
                return answer_in(data, question)


def question_about_peer(connection: socket.socket) -> bytes | None:
    """Return the question for the other end of a TCP connection, without the identity; None for other sockets.

    The other end has the addresses of this one swapped.
    """
    family = connection.family
    if family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    own, peer = connection.getsockname(), connection.getpeername()
    scope = peer[3] if family == socket.AF_INET6 else 0
    return _QUESTION.pack(
        family,
        socket.IPPROTO_TCP,
        _INFO_EXTENSION,
        _ALL_STATES,
        peer[1].to_bytes(2),
        own[1].to_bytes(2),
        _packed(family, peer[0]),
        _packed(family, own[0]),
        scope or _LOOPBACK_INTERFACE,
    )


def _packed(family: int, address: str) -> bytes:
    return socket.inet_pton(family, address.partition("%")[0])


def answer_in(data: bytes, question: bytes) -> PeerSocket | None:
    """Return the socket of which the kernel's answer tells; None if there is no connection with these addresses.

    Raises OSError if the kernel does not tell.
    """
    _, kind, *_ = _HEADER.unpack_from(data)
    if kind == _ERROR:
        (code,) = struct.unpack_from("=i", data, _HEADER.size)
        if -code in _GONE:
            return None
        raise OSError(-code, os.strerror(-code))
    state, identity, unread = _ANSWER.unpack_from(data, _HEADER.size)
    if state == _LISTEN:  # without a connection the kernel finds who listens on the peer's port
        return None
    return PeerSocket(question, identity, unread, _received_in(data))


def _received_in(data: bytes) -> int:
    at = _HEADER.size + _ANSWER.size
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if kind == _INFO and length >= _ATTRIBUTE.size + _BYTES_RECEIVED.size:
            (received,) = _BYTES_RECEIVED.unpack_from(data, at + _ATTRIBUTE.size)
            return int(received)
        at += max(length + 3 & ~3, _ATTRIBUTE.size)
    raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
