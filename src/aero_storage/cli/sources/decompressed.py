"""A compressed stream, decompressed as it is read: frame by frame, in bounded memory, checked to its end."""

from __future__ import annotations

import attrs

from aero_storage.cli.sources.compression import HEAD_BYTES, Compression, compression_of
from aero_storage.cli.sources.decoders import Decoder, Decoders
from aero_storage.cli.sources.stream import MOST_PADDING, Peekable, Stream
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size

_INPUT = 32 * 1024  # the rest behind each frame is copied, for many small frames often


@attrs.define
class Decompressed:
    """The content of a compressed stream, `name` in messages.

    Raises OperatorError where it is damaged or cut short, or something else follows its last frame.
    """

    name: str
    compression: Compression
    _input: Peekable
    _command: str
    """A command that takes the content by a pipe, for messages."""
    _decoders: Decoders = attrs.field(init=False)
    _decoder: Decoder | None = attrs.field(init=False, default=None)
    """None between two frames."""
    _empty: int = attrs.field(init=False, default=0)
    """Bytes of input since the last content."""
    _has_begun: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._decoders = self.compression.load()

    def read(self, most: int, /) -> bytes:
        """Return the next bytes."""
        while (decoder := self._decoder or self._next_frame()) is not None:
            data = self._decode(decoder, most)
            if decoder.eof:
                self._end_frame(decoder.unused_data or b"")
            if data:
                self._empty = 0
                return data
        return b""

    def _end_frame(self, rest: bytes) -> None:
        self._input.unread(rest)
        self._empty -= len(rest)
        self._decoder = None

    def _decode(self, decoder: Decoder, most: int) -> bytes:
        piece = b""
        if decoder.needs_input:
            piece = self._input.read(_INPUT)
            if not piece:
                raise self._fault("is cut short; copy it here again")
            self._count_empty(len(piece))
        try:
            return decoder.decompress(piece, most)
        except self._decoders.errors as error:
            if "memory" in str(error).lower():
                raise self._fault(f"needs more memory than is allowed; unpack it by {self._pipe()}") from error
            raise self._fault(f"is damaged ({printable(str(error))}); copy it here again") from error

    def _next_frame(self) -> Decoder | None:
        if self._has_begun:
            self._skip_padding()
        head = self._input.peek(16)
        if self._has_begun and not head:
            return None
        if not self.compression.is_start(head):
            raise self._fault(f"has something else behind its end; unpack it by {self._pipe()}, if it is good so")
        self._has_begun = True
        self._decoder = self._decoders.new()
        return self._decoder

    def _skip_padding(self) -> None:
        skipped = 0
        while self.compression.padding and (zeros := _zeros_of(self._input.peek(4096))):
            self._input.read(zeros)
            skipped += zeros
            self._count_empty(zeros)
        if skipped and skipped % self.compression.padding:
            raise self._fault("is damaged (its padding is incomplete); copy it here again")

    def _count_empty(self, count: int) -> None:
        """Count input until content comes. Raises OperatorError if it could go on for ever."""
        self._empty += count
        if self._empty > MOST_PADDING:
            raise self._fault(
                f"goes on for more than {format_size(MOST_PADDING)} without any content; is it followed by "
                "zeros? cut them off, or copy it here again"
            )

    def _pipe(self) -> str:
        return f"{self.compression.command} FILE | {self._command}"

    def _fault(self, what: str) -> OperatorError:
        return OperatorError(f"{self.name}: the {self.compression.name} file {what}")


def _zeros_of(head: bytes) -> int:
    return len(head) - len(head.lstrip(b"\0"))


def decompressed(
    name: str, stream: Peekable, *, nested: bool = False, command: str = "aero-storage import - …"
) -> tuple[Peekable, Compression | None]:
    """Return the content of a stream, and how it was compressed; one that is not compressed is returned as it is.

    `command` is what its content can be piped into, in messages.
    Raises OperatorError if the content is compressed again, or the stream is and `nested` says that it must not be.
    """
    compression = compression_of(stream.peek(HEAD_BYTES))
    if compression is None:
        return stream, None
    if nested:
        raise OperatorError(
            f"{name}: what was unpacked is compressed again, with {compression.name}; only one layer is unpacked: "
            f"unpack the outer one first"
        )
    content: Stream = Decompressed(name, compression, stream, command)
    return Peekable(content), compression
