"""Telling a service manager how the daemon is: systemd's sd_notify(3), a datagram to the socket that it names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from typing_extensions import override

from aero_storage.logs.json_log import EventLog

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")
VARIABLES = frozenset((_SOCKET, *_WATCHDOG, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
"""What a service manager says to the one process that it has started: no child of that may take it for its own."""

_SEND_SECONDS = 1.0
"""How long a service manager that is busy may hold us up."""


class Notifier(Protocol):
    """Somebody who wants to know how the daemon is."""

    def ready(self) -> None:
        """It serves, and has read the catalog: for the first time, or again as it was asked to."""
        ...

    def reloading(self) -> None:
        """It has been asked to read the catalog again; `ready` follows."""
        ...

    def stopping(self) -> None:
        """It has begun to end."""
        ...


class Silent(Notifier):
    """Nobody wants to know."""

    @override
    def ready(self) -> None: ...

    @override
    def reloading(self) -> None: ...

    @override
    def stopping(self) -> None: ...


@attrs.define(eq=False)
class ServiceManager(Notifier):
    """The one that listens at a socket: `address` is a path, or `@` and an abstract name.

    One that cannot be told is logged, and has no other consequence.
    """

    _address: str
    _log: EventLog
    _microseconds: Callable[[], int] = lambda: time.monotonic_ns() // 1000
    _stopping: bool = attrs.field(init=False, default=False)

    @override
    def ready(self) -> None:
        self._tell_unless_stopping("READY=1", "STATUS=Serving")

    @override
    def reloading(self) -> None:
        since = f"MONOTONIC_USEC={self._microseconds()}"
        self._tell_unless_stopping("RELOADING=1", since, "STATUS=Reading the catalog again")

    @override
    def stopping(self) -> None:
        # Set for good: a reload that ends later does not report READY again.
        self._tell("STOPPING=1", "STATUS=Stopping")
        self._stopping = True

    def alive(self) -> None:
        """The reactor turns: for a manager that ends a daemon which does not say so for some time."""
        self._tell("WATCHDOG=1")

    def _tell_unless_stopping(self, *state: str) -> None:
        if not self._stopping:
            self._tell(*state)

    def _tell(self, *state: str) -> None:
        try:
            send(self._address, "\n".join(state))
        except OSError as error:
            fields = {"socket": self._address, "state": state[0], "reason": error.strerror or str(error)}
            self._log.event("error", "the service manager cannot be told", fields)


def send(address: str, text: str) -> None:
    """Send a datagram to a UNIX socket, a path or `@` and an abstract name; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(_SEND_SECONDS)
        client.sendto(text.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def service_manager(environ: Mapping[str, str], reactor: IReactorTime, log: EventLog) -> Notifier:
    """The manager that the environment names, if any, told in time that we are alive if it asks for that."""
    address = environ.get(_SOCKET)
    if not address:
        return Silent()
    if not address.startswith(("/", "@")):
        reason = "neither a path nor an abstract name (@…)"
        log.event("error", "the service manager cannot be told", {"socket": address, "reason": reason})
        return Silent()
    manager = ServiceManager(address, log)
    seconds = watchdog_seconds(environ, os.getpid())
    if seconds is not None:
        beat = LoopingCall(manager.alive)
        beat.clock = reactor
        beat.start(seconds / 2)  # as sd_watchdog_enabled(3) advises; to the very end, as the end may take its time
    return manager


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """After how long a silence the manager takes this process for dead; None if it does not watch."""
    microseconds, whose = (environ.get(name) or "" for name in _WATCHDOG)
    if whose not in ("", str(pid)) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 1e6 or None
