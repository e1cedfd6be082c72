"""The clients of the soak: threads that ask, compare every byte, and behave as badly as real ones."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import IO

import attrs

from bench.errors import BenchError
from bench.soak_asks import IMAGE, Ask, Site, anything, head_of, large
from bench.soak_content import Content, differing

_PIPELINED = 8
_MOST_FAULTS = 20
_STALL_SECONDS = 0.05
_KEPT_FOR = 500
"""A connection is given up after about so many acts."""
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


@attrs.define(eq=False)
class Tally:
    """What all clients did, and how many requests are still to be sent."""

    left: int
    done: int = 0
    compared: int = 0
    wrong: int = 0
    resets: int = 0
    faults: list[str] = attrs.field(factory=list)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def take(self, most: int) -> int:
        """How many of `most` requests may be sent."""
        with self._lock:
            count = min(most, self.left)
            self.left -= count
            return count

    def stop(self) -> None:
        """Let no more requests be sent."""
        with self._lock:
            self.left = 0

    def ended(self, ask: object, got: bytes, wanted: bytes) -> None:
        """A response has come, or as much of it as its client read."""
        wrong = differing(got, wanted)
        with self._lock:
            self.done += 1
            self.compared += len(wanted)
            self.wrong += wrong
        if wrong:
            self.fault(f"{wrong} of {len(wanted)} bytes are wrong: {ask}")

    def fault(self, text: str) -> None:
        """Something is wrong; of many faults the first are kept."""
        with self._lock:
            if len(self.faults) < _MOST_FAULTS:
                self.faults.append(text)

    def reset(self) -> None:
        """A client broke off."""
        with self._lock:
            self.resets += 1


@attrs.define(eq=False)
class Client:
    """One thread with one connection at a time, made by `dial`; it does `pause` before each act."""

    dial: Callable[[], socket.socket]
    site: Site
    content: Content
    tally: Tally
    chance: random.Random
    pause: Callable[[], object] = lambda: None
    _peer: socket.socket | None = None
    _stream: IO[bytes] | None = None

    def run(self) -> None:
        """Act until nothing is left to be sent."""
        acts: Sequence[Callable[[], None]] = (self._ask, self._pipeline, self._stall, self._break_off, self._leave)
        weights = (1000, 60, 4, 12, 1000 / _KEPT_FOR)
        try:
            while self.tally.left:
                self.pause()
                self._guarded(self.chance.choices(acts, weights)[0])
        finally:
            self._leave()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except (OSError, ValueError, BenchError) as error:
            self.tally.fault(f"{type(error).__name__}: {error}")
            self._leave()

    def _ask(self) -> None:
        if self.tally.take(1):
            self._finish(self._send(anything(self.site, self.chance)))

    def _pipeline(self) -> None:
        asks = [anything(self.site, self.chance) for _ in range(self.tally.take(self.chance.randint(2, _PIPELINED)))]
        if asks:
            self._connect()[0].sendall(b"".join(ask.text for ask in asks))
        for ask in asks:
            self._finish(ask)

    def _stall(self) -> None:
        if self.tally.take(1):
            ask = self._send(large(self.site, self.chance))
            time.sleep(self.chance.uniform(0, _STALL_SECONDS))
            self._finish(ask)

    def _break_off(self) -> None:
        if not self.tally.take(1):
            return
        ask = self._send(large(self.site, self.chance))
        peer, stream = self._connect()
        at = self.chance.choice((0, self.chance.randrange(1000), self.chance.randrange(ask.length)))
        if at:
            self._expect_head(stream, ask)
        got = stream.read(at)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        self._leave()
        self.tally.ended(ask, got, self.content.part(ask.offset, at))
        self.tally.reset()

    def _leave(self) -> None:
        for one in (self._stream, self._peer):
            if one is not None:
                one.close()
        self._stream = self._peer = None

    def _connect(self) -> tuple[socket.socket, IO[bytes]]:
        if self._peer is None or self._stream is None:
            self._peer = self.dial()
            self._stream = self._peer.makefile("rb")
        return self._peer, self._stream

    def _send(self, ask: Ask) -> Ask:
        self._connect()[0].sendall(ask.text)
        return ask

    def _finish(self, ask: Ask) -> None:
        stream = self._connect()[1]
        self._expect_head(stream, ask)
        self.tally.ended(ask, stream.read(ask.length), self.content.part(ask.offset, ask.length))

    def _expect_head(self, stream: IO[bytes], ask: Ask) -> None:
        status, fields = read_head(stream)
        if status != ask.status:
            raise BenchError(f"status {status}: {ask}")
        if ask.declared is not None and fields.get(b"content-length") != b"%d" % ask.declared:
            raise BenchError(f"Content-Length {fields.get(b'content-length')!r}: {ask}")
        part = b"bytes %d-%d/%d" % (ask.offset, ask.offset + ask.length - 1, self.site.size)
        if status == 206 and fields.get(b"content-range") != part:
            raise BenchError(f"Content-Range {fields.get(b'content-range')!r}: {ask}")


def learn(peer: socket.socket, chunk_size: int) -> Site:
    """Ask for what clients have to know of the image, and close; `chunk_size` is that of virtual chunks."""
    with closing(peer), peer.makefile("rb") as stream:
        peer.sendall(head_of("HEAD", IMAGE))
        _, image = read_head(stream)
        peer.sendall(head_of("GET", f"{IMAGE}/chunked/manifest.json"))
        status, fields = read_head(stream)
        body = stream.read(int(fields[b"content-length"]))
    if status != 200:
        raise BenchError(f"the manifest of virtual chunks got {status}: {body!r}")
    manifest = json.loads(body)
    version, width = manifest["version"], manifest["chunkIndexWidth"]
    return Site(int(image[b"content-length"]), image[b"etag"].decode("ascii"), version, chunk_size, width)


def read_head(stream: IO[bytes]) -> tuple[int, dict[bytes, bytes]]:
    """Status and fields of a response; BenchError if the server closed."""
    line = stream.readline()
    if not line.startswith(b"HTTP/1.1 "):
        raise BenchError(f"the server closed, or said {line!r}")
    fields: dict[bytes, bytes] = {}
    while field := stream.readline().rstrip(b"\r\n"):
        name, _, value = field.partition(b":")
        fields[name.lower()] = value.strip()
    return int(line.split()[1]), fields
