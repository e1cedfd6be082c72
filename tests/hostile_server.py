"""A server that keeps its clients for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

import attrs


@attrs.define(eq=False)
class Server:
    """Sends a beginning to everybody, then one piece again and again; without a piece it closes."""

    beginning: bytes
    piece: bytes | None = None
    pause: float = 0.02
    asked: int = 0
    _listening: socket.socket = attrs.field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _is_over: threading.Event = attrs.field(factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/manifest.json"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._is_over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            self.asked += 1
            with client, suppress(OSError):  # the client may leave
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(self.beginning)
        while self.piece is not None and not self._is_over.wait(self.pause):
            client.sendall(self.piece)
