"""Decompressors of the standard library and of two packages, with limits of memory, behind one interface."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import attrs

from aero_storage.errors import OperatorError

MOST_MEMORY = 256 * 1024 * 1024
"""Limit of memory for xz; `xz -9` needs 65 MiB."""

WINDOW_LOG = 27
"""Limit of the window of zstd: 128 MiB, as `zstd -d` has it."""


class Decoder(Protocol):
    """The decompressor of one frame: a member of gzip, a stream of xz or bzip2, a frame of zstd or lz4."""

    @property
    def eof(self) -> bool:
        """Whether the end of the frame was reached, and its checksums were right."""

    @property
    def needs_input(self) -> bool:
        """Whether all output of the present input was taken."""

    @property
    def unused_data(self) -> bytes | None:
        """Input behind the end of the frame."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Take input, and return at most `max_length` bytes of output."""


@attrs.frozen
class Decoders:
    """Makes decoders, which raise `errors` for damaged input."""

    new: Callable[[], Decoder]
    errors: tuple[type[Exception], ...]


class _GzipDecoder:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # 31: gzip, with length and CRC checked

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        # The trailer follows the output: when some of that is held back, input is too.
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def gzip_decoders() -> Decoders:
    """Return decoders of gzip."""
    return Decoders(_GzipDecoder, (zlib.error,))


def bzip2_decoders() -> Decoders:
    """Return decoders of bzip2."""
    return Decoders(bz2.BZ2Decompressor, (OSError,))


def xz_decoders() -> Decoders:
    """Return decoders of xz, which use at most MOST_MEMORY."""
    return Decoders(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MOST_MEMORY), (lzma.LZMAError,))


def zstd_decoders() -> Decoders:
    """Return decoders of zstd, whose windows have at most WINDOW_LOG bits. Raises OperatorError if it is missing."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - of an extra
        else:
            from backports import zstd  # noqa: PLC0415 - the same
    except ImportError as error:
        raise _missing("zstd") from error
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return Decoders(lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError,))


def lz4_decoders() -> Decoders:
    """Return decoders of lz4 frames, whose blocks have at most 4 MiB. Raises OperatorError if it is missing."""
    try:
        import lz4.frame  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise _missing("lz4") from error
    return Decoders(lz4.frame.LZ4FrameDecompressor, (RuntimeError,))


def _missing(kind: str) -> OperatorError:
    return OperatorError(
        f"{kind} cannot be unpacked by what is installed; install the extra: pip install 'aero-storage[compressed]', "
        f"or unpack it by a program: {kind} -dc FILE | aero-storage import - …"
    )
