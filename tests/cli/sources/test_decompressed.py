"""Compressed streams: every kind, whole and damaged, in any pieces, with bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import sys
from typing import TYPE_CHECKING

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cli.sources.streams import all_of, in_pieces, of

from aero_storage.cli.sources import decoders
from aero_storage.cli.sources.compression import COMPRESSIONS, compression_of
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.errors import OperatorError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

DISK = random.Random(7).randbytes(70_000) + bytes(300_000) + b"the end"
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
}
KINDS = pytest.mark.parametrize("kind", PACK)
SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"notes"


def content_of(data: bytes, piece: int = 1 << 16, most: int = 1 << 16) -> bytes:
    return all_of(decompressed("IT", in_pieces(data, piece))[0], most)


def complaint(data: bytes) -> str:
    with pytest.raises(OperatorError) as caught:
        content_of(data)
    return str(caught.value)


def test_every_kind_is_tested() -> None:
    """The tests below know each kind of compression."""
    assert list(PACK) == [one.name for one in COMPRESSIONS]


@KINDS
def test_content(kind: str) -> None:
    """The content comes out, whatever the pieces are that it comes in and is asked for."""
    packed = PACK[kind](DISK)
    assert compression_of(packed[:64]) == next(one for one in COMPRESSIONS if one.name == kind)
    assert content_of(packed) == DISK
    assert content_of(packed, piece=1009, most=333) == DISK
    assert content_of(PACK[kind](b"")) == b""


@KINDS
def test_several_frames(kind: str) -> None:
    """Files that were compressed one by one and joined have the content of all of them."""
    frames = [PACK[kind](DISK[at : at + 50_000]) for at in range(0, len(DISK), 50_000)]
    assert content_of(b"".join(frames), piece=4096) == DISK


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(list(PACK)), data=st.data())
def test_any_split(kind: str, data: st.DataObject) -> None:
    """Frames, the pieces that they come in and the pieces that are read may have any borders."""
    contents = data.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
    packed = b"".join(map(PACK[kind], contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=6)))
    pieces = [packed[start:end] for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
    most = data.draw(st.integers(1, 100))
    assert all_of(decompressed("IT", of(pieces))[0], most) == b"".join(contents)


@KINDS
def test_cut_short(kind: str) -> None:
    """A file that is cut short anywhere behind its mark is an error, after each byte of its end above all."""
    packed = PACK[kind](DISK)
    for length in (20, 30, len(packed) // 2, *range(len(packed) - 12, len(packed))):
        assert complaint(packed[:length]) == f"IT: the {kind} file is cut short; copy it here again"


@KINDS
def test_cut_short_in_second_frame(kind: str) -> None:
    """The same is true of a frame that is not the first."""
    packed = PACK[kind](DISK)
    assert "cut short" in complaint(packed + packed[:-1])


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_flipped_bits(kind: str) -> None:
    """Each flipped bit of the content is found by a checksum."""
    packed = PACK[kind](DISK)
    chance = random.Random(11)
    for _ in range(30):
        damaged = bytearray(packed)
        damaged[chance.randrange(len(packed) // 10, len(packed))] ^= 1 << chance.randrange(8)
        assert "is damaged" in (said := complaint(bytes(damaged))) or "cut short" in said


def test_flipped_bits_with_checksums() -> None:
    """The checksums of zstd and lz4 are checked where a file has them."""
    checked: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    for packed in (
        zstd.compress(DISK, options=checked),
        lz4.frame.compress(DISK, content_checksum=True),
    ):
        damaged = bytearray(packed)
        damaged[40_000] ^= 4
        assert "is damaged" in complaint(bytes(damaged))


@KINDS
def test_garbage_behind_the_end(kind: str) -> None:
    """Something else behind the last frame is an error, not ignored."""
    said = complaint(PACK[kind](DISK) + b"not a frame")
    assert said.startswith(f"IT: the {kind} file has something else behind its end")


@KINDS
def test_padding(kind: str) -> None:
    """Zeros may follow gzip (tapes) and xz (in fours), and nothing else."""
    packed = PACK[kind](DISK)
    if kind == "gzip":
        assert content_of(packed + bytes(9000) + packed) == DISK + DISK
        return
    if kind == "xz":
        assert content_of(packed + bytes(8)) == DISK
        assert "padding" in complaint(packed + bytes(7))
        return
    assert "something else" in complaint(packed + bytes(8))


@pytest.mark.parametrize("kind", ["zstd", "lz4"])
def test_frames_without_content(kind: str) -> None:
    """Frames without content, with which pzstd begins, are skipped before, between and behind the others."""
    packed = PACK[kind](DISK)
    assert content_of(SKIPPABLE + packed + SKIPPABLE + SKIPPABLE + packed + SKIPPABLE) == DISK + DISK


LONG = bytes(65 << 20)


@pytest.mark.parametrize(
    ("kind", "rest"), [("gzip", LONG), ("xz", LONG), ("zstd", struct.pack("<II", 0x184D2A53, len(LONG)) + LONG)]
)
def test_padding_without_end(kind: str, rest: bytes) -> None:
    """Padding, and frames without content, have a limit, so that a source without an end is given up."""
    assert "more than 64 MiB without any content" in complaint(PACK[kind](DISK) + rest)


def test_raw_content_is_not_compressed() -> None:
    """A file of another kind is returned as it is; so are the beginnings of frames that are none."""
    for head in (DISK, b"BZh9 is no bzip2", b"\x1f\x8b\x08\xff reserved flags", SKIPPABLE, b"", b"\xfd7z"):
        stream = in_pieces(head, 10)
        assert decompressed("IT", stream) == (stream, None)


def test_compressed_twice() -> None:
    """One layer is unpacked; that there is another is said."""
    content, outer = decompressed("IT", in_pieces(gzip.compress(gzip.compress(DISK)), 500))
    assert outer is not None
    with pytest.raises(OperatorError, match="compressed again, with gzip"):
        decompressed("IT", content, nested=True)


def test_window_of_zstd() -> None:
    """A window that would need more memory than allowed is refused, with the pipe that does it."""
    large: dict[int, int] = {zstd.CompressionParameter.window_log: decoders.WINDOW_LOG + 1}
    compressor = zstd.ZstdCompressor(options=large)
    said = complaint(compressor.compress(DISK) + compressor.flush())
    assert said == (
        "IT: the zstd file needs more memory than is allowed; unpack it by "
        "zstd -dc --long=31 FILE | aero-storage import - …"
    )


def test_dictionary_of_xz() -> None:
    """The same is true of the dictionary of xz."""
    filters = [
        {"id": lzma.FILTER_LZMA2, "dict_size": decoders.MOST_MEMORY * 2, "mode": lzma.MODE_FAST, "nice_len": 8}
    ]
    filters[0] |= {"mf": lzma.MF_HC3, "depth": 1}
    try:
        packed = lzma.compress(b"x" * 1000, filters=filters)
    except MemoryError:
        pytest.skip("too little memory to make such a file")
    assert "needs more memory than is allowed; unpack it by xz -dc FILE | aero-storage import -" in complaint(packed)


@pytest.mark.parametrize(("module", "data"), [("lz4", PACK["lz4"](b"x")), ("backports", PACK["zstd"](b"x"))])
def test_missing_package(monkeypatch: pytest.MonkeyPatch, module: str, data: bytes) -> None:
    """Without the packages of the extra the message names it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'aero-storage[compressed]'" in complaint(data)


BOMB = """
import {module}
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.cli.sources.stream import PIECE, Peekable

class Bomb:
    def __init__(self):
        import io
        self.read = io.BytesIO(packed()).read

def packed():
    pieces = (bytes(1 << 20) for _ in range(100))
    {pack}

stream, _ = decompressed("IT", Peekable(Bomb()))
count = 0
while data := stream.read(PIECE):
    count += len(data)
assert count == 100 << 20, count
"""
STREAMING = "c = {make}\n    return b''.join(map(c.compress, pieces)) + c.flush()"
BOMBS = {
    "gzip": ("zlib", STREAMING.format(make="zlib.compressobj(1, wbits=31)")),
    "xz": ("lzma", STREAMING.format(make="lzma.LZMACompressor(preset=0)")),
    "bzip2": ("bz2", STREAMING.format(make="bz2.BZ2Compressor(1)")),
    "zstd": (
        f"sys\nfrom {zstd.__name__} import ZstdCompressor",
        STREAMING.format(make="ZstdCompressor()"),
    ),
    "lz4": (
        "lz4.frame",
        "c = lz4.frame.LZ4FrameCompressor()\n    return c.begin() + b''.join(map(c.compress, pieces)) + c.flush()",
    ),
}


@KINDS
def test_bomb(kind: str, most_memory: Callable[[str], int]) -> None:
    """100 MiB of zeros are read through a fraction of their memory: the output of each step is bounded."""
    module, pack = BOMBS[kind]
    base = most_memory("import aero_storage.cli.sources.decompressed, lz4.frame, lzma, bz2, zlib")
    assert most_memory(BOMB.format(module=module, pack=pack)) - base < 50 << 20
