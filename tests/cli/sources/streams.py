"""Streams for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from aero_storage.cli.sources.stream import Peekable, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@attrs.define
class Pieces:
    """A stream that comes in given pieces, as a pipe may; a piece is never joined with the next."""

    _pieces: Iterator[bytes]
    _rest: bytes = b""

    def read(self, most: int, /) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:most], self._rest[most:]
        return data


def in_pieces(data: bytes, size: int) -> Peekable:
    """Return data as a stream of pieces of a size."""
    return Peekable(Pieces(data[at : at + size] for at in range(0, len(data), size)))


def of(pieces: Iterable[bytes]) -> Peekable:
    """Return pieces as a stream."""
    return Peekable(Pieces(iter(pieces)))


def all_of(stream: Stream, most: int = 1 << 20) -> bytes:
    """Read a stream to its end, and see that the end stays one."""
    data = bytearray()
    while piece := stream.read(most):
        assert len(piece) <= most
        data += piece
    assert stream.read(most) == b""
    return bytes(data)
