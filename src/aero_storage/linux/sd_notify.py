"""Notifies a service manager of the daemon's state: sd_notify(3), a datagram to the socket NOTIFY_SOCKET."""

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
"""Variables that a service manager sets for the process it started; they are not passed on to children."""

_SEND_SECONDS = 1.0
"""Timeout of sending to a busy service manager."""


class Notifier(Protocol):
    """Receives the state of the daemon."""

    def ready(self) -> None:
        """The daemon serves and has read the catalog: at the start, or again after `reloading`."""
        ...

    def reloading(self) -> None:
        """The daemon was asked to read the catalog again; `ready` follows."""
        ...

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        ...


class Silent(Notifier):
    """A Notifier without a service manager."""

    @override
    def ready(self) -> None: ...

    @override
    def reloading(self) -> None: ...

    @override
    def stopping(self) -> None: ...


@attrs.define(eq=False)
class ServiceManager(Notifier):
    """A service manager that listens at a socket: `address` is a path, or `@` and an abstract name.

    A failure to send is logged, and has no other consequence.
    """

    _address: str
    _log: EventLog
    _microseconds: Callable[[], int] = lambda: time.monotonic_ns() // 1000
    _stopping: bool = attrs.field(init=False, default=False)

    @override
    def ready(self) -> None:
        self._send_unless_stopping("READY=1", "STATUS=Serving")

    @override
    def reloading(self) -> None:
        since = f"MONOTONIC_USEC={self._microseconds()}"
        self._send_unless_stopping("RELOADING=1", since, "STATUS=Reading the catalog again")

    @override
    def stopping(self) -> None:
        # Set for good: a reload that ends later does not report READY again.
        self._send("STOPPING=1", "STATUS=Stopping")
        self._stopping = True

    def alive(self) -> None:
        """Reset the watchdog of the service manager: the reactor runs."""
        self._send("WATCHDOG=1")

    def _send_unless_stopping(self, *state: str) -> None:
        if not self._stopping:
            self._send(*state)

    def _send(self, *state: str) -> None:
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
    """Return the service manager of the environment, if any, and start its watchdog messages if it asks for them."""
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
        watchdog = LoopingCall(manager.alive)
        watchdog.clock = reactor
        watchdog.start(seconds / 2)  # as sd_watchdog_enabled(3) advises; never stopped, as a shutdown may take long
    return manager


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog timeout for this process in seconds; None without a watchdog."""
    microseconds, pid_text = (environ.get(name) or "" for name in _WATCHDOG)
    if pid_text not in ("", str(pid)) or not microseconds.isdecimal():
        return None
    return int(microseconds) / 1e6 or None
