"""Floods of TLS KeyUpdate messages, each of which asks for one in return, from clients that read nothing."""

from __future__ import annotations

import ctypes
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from tests.blackbox.raw_http import head
from tests.certificates import write_certificate

from torture.outcome import Outcome
from torture.trial import IMAGE, Trial, run_trial

_CLIENTS = 4
_IN_A_ROW = 30
"""OpenSSL takes 32 in a row, and closes the connection then; a byte of a head in between begins a new row."""
_UPDATE_REQUESTED = 1
_LIBRARY = "libssl.so.3"
_FLOOD_SECONDS = 5.0


def missing() -> str:
    """Why it cannot be tried here; empty if it can."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        return str(error)
    return ""


@attrs.define(eq=False)
class _OpenSSL:
    """The functions of a TLS client that can send KeyUpdate; Python's `ssl` cannot."""

    library: ctypes.CDLL = attrs.field(factory=lambda: ctypes.CDLL(_LIBRARY))
    context: int = 0

    def __attrs_post_init__(self) -> None:
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.library, name).restype = ctypes.c_void_p
        self.context = self.library.SSL_CTX_new(ctypes.c_void_p(self.library.TLS_client_method()))

    @contextmanager
    def connected(self, port: int) -> Iterator[ctypes.c_void_p]:
        """Connect for a with block."""
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.settimeout(None)
            ssl = ctypes.c_void_p(self.library.SSL_new(ctypes.c_void_p(self.context)))
            try:
                self.library.SSL_set_fd(ssl, plain.fileno())
                if self.library.SSL_connect(ssl) != 1:
                    raise ConnectionError("no TLS handshake")
                yield ssl
            finally:
                self.library.SSL_free(ssl)

    def update_key(self, ssl: ctypes.c_void_p) -> bool:
        """Send one KeyUpdate that asks for another; whether that went."""
        return bool(
            self.library.SSL_key_update(ssl, _UPDATE_REQUESTED) == 1 and self.library.SSL_do_handshake(ssl) == 1
        )

    def write(self, ssl: ctypes.c_void_p, data: bytes) -> bool:
        """Send data; whether it went."""
        return bool(self.library.SSL_write(ssl, data, len(data)) > 0)


@attrs.define(eq=False)
class _Flood:
    """Clients that send KeyUpdate as fast as they can, between the bytes of a head that never ends."""

    port: int
    sent: int = 0
    connections: int = 0
    _openssl: _OpenSSL = attrs.field(factory=_OpenSSL)
    _ends: float = attrs.field(factory=lambda: time.monotonic() + _FLOOD_SECONDS)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def run(self, most: int) -> None:
        """Be one client, which connects anew when it is thrown out."""
        while time.monotonic() < self._ends and self.sent < most:
            with self._openssl.connected(self.port) as ssl:
                sent = self._flood(ssl, head("GET", IMAGE)[:-2])
            with self._lock:
                self.sent += sent
                self.connections += 1

    def _flood(self, ssl: ctypes.c_void_p, request: bytes) -> int:
        sent = 0
        for at in range(len(request)):
            if not self._openssl.write(ssl, request[at : at + 1]):
                break
            for _ in range(_IN_A_ROW):
                if not self._openssl.update_key(ssl):
                    return sent
                sent += 1
        return sent


def key_updates(count: int) -> Outcome:
    """Flood a TLS endpoint with KeyUpdate: live clients on another endpoint are served, memory stays as it was."""
    fault, tried = "TLS KeyUpdate floods", f"messages from {_CLIENTS} clients that read nothing"
    if reason := missing():
        return Outcome(fault, tried, skipped=reason)
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        write_certificate(Path(name))
        tls = f"ssl:0:interface=127.0.0.1:privateKey={name}/key.pem:certKey={name}/cert.pem"
        with run_trial("--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", tls) as trial:
            before = trial.footprint()
            flood = _Flood(_tls_port(trial))
            with trial.with_live_clients():
                threads = [threading.Thread(target=flood.run, args=(count,), daemon=True) for _ in range(_CLIENTS)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            trial.check(flood.sent, "no message was sent: nothing was tried")
            after = trial.footprint_after(before)
            trial.check_alive()
    saw = f"{flood.sent:,} messages on {flood.connections} connections"
    return trial.outcome(fault, tried, flood.sent, saw, (before, after))


def _tls_port(trial: Trial) -> int:
    lines = [line for line in trial.daemon.lines() if line["message"] == "listening" and "address" in line]
    ports = {int(line["address"].rpartition(":")[2]) for line in lines}
    (port,) = ports - {trial.daemon.port}
    return port
