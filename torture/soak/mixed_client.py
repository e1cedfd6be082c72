"""A client that mixes small ranges, chunks, heads and conditions, pipelines, stalls and breaks off."""

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

from torture.image_content import Content, differing
from torture.soak.requests import IMAGE, CheckedRequest, ServedImage, anything, head_of, large

_PIPELINED = 8
_MOST_FAULTS = 20
_STALL_SECONDS = 0.05
_KEPT_FOR = 500
"""A connection is given up after about so many acts."""
_RESET_AT_ONCE = struct.pack("ii", 1, 0)


class UnexpectedResponseError(Exception):
    """The server closed, or answered something else than it must."""


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

    def ended(self, request: object, got: bytes, wanted: bytes) -> None:
        """A response has come, or as much of it as its client read."""
        wrong = differing(got, wanted)
        with self._lock:
            self.done += 1
            self.compared += len(wanted)
            self.wrong += wrong
        if wrong:
            self.fault(f"{wrong} of {len(wanted)} bytes are wrong: {request}")

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
class MixedClient:
    """One thread with one connection at a time, made by `dial`; it does `pause` before each act."""

    dial: Callable[[], socket.socket]
    image: ServedImage
    content: Content
    tally: Tally
    rng: random.Random
    pause: Callable[[], object] = lambda: None
    acts: int = 0
    _peer: socket.socket | None = None
    _stream: IO[bytes] | None = None

    def run(self) -> None:
        """Act until nothing is left to be sent."""
        acts: Sequence[Callable[[], None]] = (self._ask, self._pipeline, self._stall, self._break_off, self._leave)
        weights = (1000, 60, 4, 12, 1000 / _KEPT_FOR)
        try:
            while self.tally.left:
                self.pause()
                self._guarded(self.rng.choices(acts, weights)[0])
        finally:
            self._leave()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
            self.acts += 1
        except (OSError, ValueError, UnexpectedResponseError) as error:
            self.tally.fault(f"{type(error).__name__}: {error}")
            self._leave()

    def _ask(self) -> None:
        if self.tally.take(1):
            self._finish(self._send(anything(self.image, self.rng)))

    def _pipeline(self) -> None:
        requests = [anything(self.image, self.rng) for _ in range(self.tally.take(self.rng.randint(2, _PIPELINED)))]
        if requests:
            self._connect()[0].sendall(b"".join(request.text for request in requests))
        for request in requests:
            self._finish(request)

    def _stall(self) -> None:
        if self.tally.take(1):
            request = self._send(large(self.image, self.rng))
            time.sleep(self.rng.uniform(0, _STALL_SECONDS))
            self._finish(request)

    def _break_off(self) -> None:
        if not self.tally.take(1):
            return
        request = self._send(large(self.image, self.rng))
        peer, stream = self._connect()
        at = self.rng.choice((0, self.rng.randrange(1000), self.rng.randrange(request.length)))
        if at:
            self._expect_head(stream, request)
        got = stream.read(at)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        self._leave()
        self.tally.ended(request, got, self.content.part(request.offset, at))
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

    def _send(self, request: CheckedRequest) -> CheckedRequest:
        self._connect()[0].sendall(request.text)
        return request

    def _finish(self, request: CheckedRequest) -> None:
        stream = self._connect()[1]
        self._expect_head(stream, request)
        self.tally.ended(request, stream.read(request.length), self.content.part(request.offset, request.length))

    def _expect_head(self, stream: IO[bytes], request: CheckedRequest) -> None:
        status, fields = read_head(stream)
        if status != request.status:
            raise UnexpectedResponseError(f"status {status}: {request}")
        if request.declared is not None and fields.get(b"content-length") != b"%d" % request.declared:
            raise UnexpectedResponseError(f"Content-Length {fields.get(b'content-length')!r}: {request}")
        part = b"bytes %d-%d/%d" % (request.offset, request.offset + request.length - 1, self.image.size)
        if status == 206 and fields.get(b"content-range") != part:
            raise UnexpectedResponseError(f"Content-Range {fields.get(b'content-range')!r}: {request}")


def learn(peer: socket.socket, chunk_size: int) -> ServedImage:
    """Ask for what clients have to know of the image, and close; `chunk_size` is that of virtual chunks."""
    with closing(peer), peer.makefile("rb") as stream:
        peer.sendall(head_of("HEAD", IMAGE))
        _, fields_of_image = read_head(stream)
        peer.sendall(head_of("GET", f"{IMAGE}/chunked/manifest.json"))
        status, fields = read_head(stream)
        body = stream.read(int(fields[b"content-length"]))
    if status != 200:
        raise UnexpectedResponseError(f"the manifest of virtual chunks got {status}: {body!r}")
    manifest = json.loads(body)
    version, width = manifest["version"], manifest["chunkIndexWidth"]
    return ServedImage(
        int(fields_of_image[b"content-length"]), fields_of_image[b"etag"].decode("ascii"), version, chunk_size, width
    )


def read_head(stream: IO[bytes]) -> tuple[int, dict[bytes, bytes]]:
    """Status and fields of a response; UnexpectedResponseError if the server closed."""
    line = stream.readline()
    if not line.startswith(b"HTTP/1.1 "):
        raise UnexpectedResponseError(f"the server closed, or said {line!r}")
    fields: dict[bytes, bytes] = {}
    while field := stream.readline().rstrip(b"\r\n"):
        name, _, value = field.partition(b":")
        fields[name.lower()] = value.strip()
    return int(line.split()[1]), fields
