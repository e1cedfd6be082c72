"""Floods a daemon with new tokens from many addresses: `python -m torture.leases.flooder`.

A process of its own, so that it takes no time of the interpreter that measures; it goes on until it is killed.
Its words: the port, tokens a second, addresses, connections of each.
"""

from __future__ import annotations

import random
import selectors
import socket
import sys
import time
from collections.abc import Iterator

import attrs
from tests.blackbox.raw_http import RawConnection, head

from torture.leases.issuer import ED_KEY, HS_KEY, IMAGE, as_json, b64
from torture.leases.trial import PRIVATE


def guesses(rng: random.Random) -> Iterator[str]:
    """Yield tokens that nobody has signed: all that is costly is done for them."""
    now, number = int(time.time()), 0
    while True:
        for key in (ED_KEY, HS_KEY):
            number += 1
            claims = {"img": IMAGE, "scope": "disk:read", "iat": now, "exp": now + 900, "jti": f"{rng.random()}"}
            signature = rng.randbytes(63 if key is ED_KEY else 31) + b"\0"  # of Ed25519, one that is worth a look
            yield f"{b64(as_json(key.header))}.{b64(as_json(claims))}.{b64(signature)}"


@attrs.define(eq=False)
class _Flooder:
    port: int
    tokens: Iterator[str]
    sent: int = 0
    _waits: selectors.BaseSelector = attrs.field(init=False, factory=selectors.DefaultSelector)
    _idle: list[socket.socket] = attrs.field(init=False, factory=list)
    _homes: dict[socket.socket, str] = attrs.field(init=False, factory=dict)

    def dial(self, address: str) -> None:
        sock = RawConnection.dial(self.port, source=address).sock
        self._waits.register(sock, selectors.EVENT_READ)
        self._homes[sock] = address
        self._idle.append(sock)

    def turn(self, rate: float, begun: float) -> None:
        """Send what is due on connections that have their answer, and take in what comes."""
        while self._idle and self.sent < rate * (time.monotonic() - begun):
            sock = self._idle.pop(0)
            fields = {"Range": "bytes=0-9", "Authorization": f"Bearer {next(self.tokens)}"}
            sock.sendall(head("GET", PRIVATE, fields))
            self.sent += 1
        for key, _ in self._waits.select(0.002):
            self._receive(key.fileobj)

    def _receive(self, sock: object) -> None:
        assert isinstance(sock, socket.socket)
        try:
            data = sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        if data and b"\r\nConnection: close" not in data:
            self._idle.append(sock)
            return
        self._waits.unregister(sock)
        sock.close()
        self.dial(self._homes.pop(sock))


def main(port: int, rate: float, addresses: int, connections: int) -> None:
    flooder = _Flooder(port, guesses(random.Random("flood")))
    for number in range(addresses * connections):
        flooder.dial(f"127.0.{2 + number % addresses // 250}.{1 + number % addresses % 250}")
    begun = time.monotonic()
    while True:
        flooder.turn(rate, begun)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
