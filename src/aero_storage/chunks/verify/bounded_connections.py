"""Connections to untrusted servers that end: one deadline for all of them, and a limit of interim responses."""

from __future__ import annotations

import http.client
import math
import os
import socket
import threading
import time
from contextlib import suppress

import urllib3
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection

MAX_INTERIM_RESPONSES = 10
"""Limit of interim (1xx) responses before one final response (RFC 9110 §15.2)."""

_SKIPPED = frozenset(range(100, 200)) - {101}  # a 101, which nobody asked for, is the end of HTTP
_MOST_FIELDS = 100
_LONGEST_LINE = 65536


class Deadline:
    """Shuts all watched sockets down once `seconds` have passed since `start`, however many of them there are.

    A timeout of each read does not do this: a server that sends a byte from time to time evades it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._lock = threading.Lock()
        self._watched: dict[int, int] = {}
        """The inode of each descriptor's socket: a closed descriptor may be given to another one."""
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin to count, unless it has begun."""
        with self._lock:
            if self._timer is None:
                self._arm(self.seconds)

    def cancel(self) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._timer.cancel()

    def watch(self, sock: socket.socket) -> None:
        """Shut a new socket down at the deadline; raises TimeoutError after it.

        The descriptor is watched, not the object: TLS takes it over for a handshake, which may take for ever too.
        """
        with self._lock:
            if self.is_over:
                raise TimeoutError
            self._watched[sock.fileno()] = os.fstat(sock.fileno()).st_ino

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        with self._lock:
            self._shut_all()

    def _shut_all(self) -> None:
        self.is_over = True
        for descriptor, inode in self._watched.items():
            with suppress(OSError):  # closed, by us or by the server
                _shut(descriptor, inode)


class RepeatedDeadline(Deadline):
    """A deadline for each of many waits, one after the other, between `start` and `pause`; one timer serves them all.

    `cancel` ends it.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._until = math.inf
        self._is_cancelled = False

    @override
    def start(self) -> None:
        """Begin to count for the next wait."""
        with self._lock:
            self._until = time.monotonic() + self.seconds
            if self._timer is None:
                self._arm(self.seconds)

    def pause(self) -> None:
        """The wait has ended."""
        with self._lock:
            self._until = math.inf

    @override
    def cancel(self) -> None:
        """Stop counting for good."""
        with self._lock:
            self._is_cancelled = True
        super().cancel()

    @override
    def _end(self) -> None:
        with self._lock:
            left = self._until - time.monotonic()
            if left <= 0:
                self._shut_all()
            elif not self._is_cancelled:
                self._arm(min(left, self.seconds))


def _shut(descriptor: int, inode: int) -> None:
    copy = os.dup(descriptor)
    if os.fstat(copy).st_ino != inode:
        os.close(copy)
        return
    with socket.socket(fileno=copy) as sock:
        sock.shutdown(socket.SHUT_RDWR)


class FewInterimResponses(http.client.HTTPResponse):
    """A response before which at most MAX_INTERIM_RESPONSES interim ones may come.

    http.client skips 100 alone, and not before the answer of a proxy to CONNECT.
    """

    _interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES + 1:
                raise http.client.HTTPException(f"more than {MAX_INTERIM_RESPONSES} interim responses (1xx)")
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if line[1] not in _SKIPPED:
                return line
            self._skip_fields()

    def _skip_fields(self) -> None:
        """Read the fields of an interim response, with the limits that http.client has for a final one."""
        for _ in range(_MOST_FIELDS + 1):
            line = self.fp.readline(_LONGEST_LINE + 1)
            if len(line) > _LONGEST_LINE:
                raise http.client.LineTooLong("header line")
            if line in {b"\r\n", b"\n", b""}:
                return
        raise http.client.HTTPException(f"got more than {_MOST_FIELDS} headers")


def bounded_pools(pools: urllib3.PoolManager, deadline: Deadline) -> urllib3.PoolManager:
    """Have a pool manager make connections that end at the deadline."""

    class Connection(HTTPConnection):
        response_class = FewInterimResponses

        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), deadline)

    class SecureConnection(HTTPSConnection):
        response_class = FewInterimResponses

        def _new_conn(self) -> socket.socket:
            return _watched(super()._new_conn(), deadline)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
    return pools


def _watched(sock: socket.socket, deadline: Deadline) -> socket.socket:
    try:
        deadline.watch(sock)
    except TimeoutError:
        sock.close()
        raise
    return sock
