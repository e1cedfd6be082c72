"""Images that end a little early are refused, where qemu reads zeros; whole ones of odd sizes come in."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.disk_images.sources import examined

from aero_storage.cli.disk_images import confined_exec
from aero_storage.cli.disk_images.convert import import_to
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.image_map import MapReader
from aero_storage.cli.disk_images.open_image import OpenImage
from aero_storage.errors import JsonError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., str]

MI, KI = 2**20, 2**10
TAIL = 64 * KI
CUT = "is cut short; copy it here again"
KINDS = {
    "qcow2": ["-O", "qcow2"],
    "qcow2 512": ["-O", "qcow2", "-o", "cluster_size=512"],
    "qcow2 2M": ["-O", "qcow2", "-o", "cluster_size=2M"],
    "qcow2 compressed": ["-c", "-O", "qcow2"],
    "qcow2 extended": ["-O", "qcow2", "-o", "extended_l2=on"],
    "qcow2 version 2": ["-O", "qcow2", "-o", "compat=0.10"],
    "qcow2 metadata": ["-O", "qcow2", "-o", "preallocation=metadata"],
    "qcow2 falloc": ["-O", "qcow2", "-o", "preallocation=falloc"],
    "qcow2 full": ["-O", "qcow2", "-o", "preallocation=full"],
    "qcow": ["-O", "qcow"],
    "qcow compressed": ["-c", "-O", "qcow"],
    "qed": ["-O", "qed"],
    "vmdk": ["-O", "vmdk"],
    "vmdk streamOptimized": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
    "vdi": ["-O", "vdi"],
    "vhd": ["-O", "vpc", "-o", "force_size=on"],
    "vhdx": ["-O", "vhdx"],
    "parallels": ["-O", "parallels"],
}


def noise(length: int) -> bytes:
    """Return bytes that no compression shortens."""
    return random.Random(length).randbytes(length)


def text(length: int) -> bytes:
    """Return bytes that compress to about the half."""
    return bytes(byte & 0x0F for byte in noise(length))


def disk(path: Path, size: int, tail: bytes) -> bytes:
    """Write a disk with data at its begin and in its end."""
    data = (noise(3 * TAIL) + bytes(size - len(tail) - 3 * TAIL)) + tail
    path.write_bytes(data)
    return data


def made(qemu_img: Run, place: Path, kind: str) -> Path:
    # qemu-img 7.2 writes the whole of a compressed qcow image, and then ends with status 1 without a message.
    with suppress(AssertionError) if kind == "qcow compressed" else nullcontext():
        qemu_img("convert", "-f", "raw", *KINDS[kind], place / "disk.raw", place / "source.img")
    return place / "source.img"


def refusal(path: Path) -> str:
    with pytest.raises(OperatorError) as caught, examined(path):
        pass
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        *[("qcow2", 1), ("qcow2", 512), ("qcow2", 60_000), ("qcow2 512", 60_000)],
        *[("qcow2 2M", 60_000), ("qcow2 compressed", 512), ("qcow2 compressed", 60_000)],
        *[("qcow2 version 2", 512), ("qcow2 metadata", 512), ("qcow2 full", 512)],
        *[("qcow", 1), ("qcow", 60_000), ("qcow", 180_000), ("qcow compressed", 1), ("qcow compressed", 180_000)],
        *[("qed", 512), ("vmdk", 1), ("vmdk", 60_000)],
    ],
)
def test_cut_in_the_last_cluster(tmp_path: Path, qemu_img: Run, kind: str, missing: int) -> None:
    """An image of a disk of whole clusters that lacks some of its last bytes is refused as cut short."""
    disk(tmp_path / "disk.raw", 4 * MI, noise(TAIL))
    path = made(qemu_img, tmp_path, kind)
    os.truncate(path, path.stat().st_size - missing)
    assert "cut short; copy it here again" in refusal(path)


@pytest.mark.parametrize("kind", ["qcow2 compressed", "qcow compressed"])
def test_cut_in_compressed_data(tmp_path: Path, qemu_img: Run, kind: str) -> None:
    """An image whose last cluster is compressed is refused as well, before qemu unpacks what is left."""
    disk(tmp_path / "disk.raw", 4 * MI, text(TAIL))
    path = made(qemu_img, tmp_path, kind)
    os.truncate(path, path.stat().st_size - 513)
    assert refusal(path) == CUT


@pytest.mark.parametrize("tail", [text, noise])
def test_last_sector_of_compressed_data(tmp_path: Path, qemu_img: Run, tail: Callable[[int], bytes]) -> None:
    """Of the last sector, of which the tables do not tell the bytes in use, only bytes that are not in use may go."""
    data = disk(tmp_path / "disk.raw", 4 * MI, tail(TAIL))
    path = made(qemu_img, tmp_path, "qcow2 compressed")
    content = path.read_bytes()
    padding = len(content) - len(content.rstrip(b"\0")) if tail is text else 0
    os.truncate(path, len(content) - padding)
    assert came_in(path, tmp_path) == data
    os.truncate(path, len(content) - padding - 8)  # the last two bytes may be no more than the mark of the end
    assert refusal(path) == CUT


def test_sector_of_zstd(tmp_path: Path, qemu_img: Run) -> None:
    """Of data packed with zstd, which qemu alone writes, the last sector has to be there completely."""
    disk(tmp_path / "disk.raw", 4 * MI, text(TAIL))
    path = tmp_path / "source.img"
    words = ["-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
    try:
        qemu_img("convert", *words, tmp_path / "disk.raw", path)
    except AssertionError as error:
        pytest.skip(f"this qemu has no zstd: {error}")
    os.truncate(path, path.stat().st_size - 511)
    assert refusal(path) == CUT


def test_cut_in_the_second_extent(tmp_path: Path, qemu_img: Run, landlock_abi: int) -> None:  # noqa: ARG001
    """The last of a VMDK disk's sparse files is compared with its own data, and told by its name."""
    with (tmp_path / "disk.raw").open("wb") as file:
        file.truncate(2048 * MI + 4 * MI)
        file.write(noise(MI))  # the first file is the longer one
        file.seek(2048 * MI + 4 * MI - TAIL)
        file.write(noise(TAIL))
    words = ["-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"]
    qemu_img("convert", *words, tmp_path / "disk.raw", tmp_path / "top.vmdk")
    with examined(tmp_path / "top.vmdk") as source:
        assert source.size == 2048 * MI + 4 * MI
    last = tmp_path / "top-s002.vmdk"
    os.truncate(last, last.stat().st_size - 512)
    with pytest.raises(OperatorError) as caught, examined(tmp_path / "top.vmdk"):
        pass
    assert str(caught.value) == f"{last}: {CUT}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [noise, text])
@pytest.mark.parametrize("size", [4 * MI, 4 * MI + 512, 4 * MI + TAIL - 512])
def test_whole_images(tmp_path: Path, qemu_img: Run, kind: str, tail: Callable[[int], bytes], size: int) -> None:
    """A whole image comes in byte for byte, also if its last cluster goes past the end of the disk."""
    data = disk(tmp_path / "disk.raw", size, tail(TAIL))
    assert came_in(made(qemu_img, tmp_path, kind), tmp_path).startswith(data)


@pytest.mark.parametrize("kind", ["qcow2", "qcow2 2M", "qcow", "vmdk"])
def test_cluster_that_ends_with_the_disk(tmp_path: Path, qemu_img: Run, kind: str) -> None:
    """A file that ends where the disk ends in its last cluster, as other programs write it, has lost nothing."""
    data = disk(tmp_path / "disk.raw", 4 * MI + 512, noise(TAIL))
    path = made(qemu_img, tmp_path, kind)
    content = path.read_bytes()
    os.truncate(path, content.rindex(data[-512:]) + 512)
    assert path.stat().st_size < len(content)
    assert came_in(path, tmp_path).startswith(data)


def came_in(path: Path, place: Path) -> bytes:
    with examined(path) as source:
        import_to(source, place / "target.img", lambda _: None)
    return (place / "target.img").read_bytes()


def test_fragmented_disk(tmp_path: Path, qemu_img: Run) -> None:
    """A disk of 1 TiB in 60,000 pieces is examined: no limit of values is met."""
    path = tmp_path / "source.img"
    qemu_img("create", "-q", "-f", "qcow2", path, "1T")
    _scatter(path, 60_000)
    with examined(path) as source:
        assert source.size == 2**40
    os.truncate(path, path.stat().st_size - 1)
    assert CUT in refusal(path)


def _scatter(path: Path, count: int) -> None:
    """Have each second cluster of an empty image lead to one behind the others, in as many tables as that takes."""
    cluster, blocks = 64 * KI, 4  # of reference counts, each for 32768 clusters
    tables = -(-2 * count // (cluster // 8))
    start = -(-path.stat().st_size // cluster)
    data = start + tables + blocks
    with path.open("r+b") as file:
        level1, counts = struct.unpack(">QQ", os.pread(file.fileno(), 16, 40))  # of level 1, of reference counts
        _put(file.fileno(), level1, [(start + each) * cluster | 1 << 63 for each in range(tables)])
        _put(file.fileno(), counts, [(start + tables + each) * cluster for each in range(blocks)])
        os.pwrite(file.fileno(), b"\0\1" * (data + count), (start + tables) * cluster)
        entries = [0] * (2 * count)
        entries[::2] = [(data + each) * cluster | 1 << 63 for each in range(count)]
        _put(file.fileno(), start * cluster, entries)
        file.truncate((data + count) * cluster)


def _put(file: int, place: int, entries: list[int]) -> None:
    os.pwrite(file, struct.pack(f">{len(entries)}Q", *entries), place)


# The reader of the map


def reader(size: int) -> MapReader:
    return MapReader(OpenImage(ImageFile(Path("/images/a.img"), 0, size), "qcow2"))


def fed(size: int, output: bytes, step: int) -> None:
    places = reader(size)
    for start in range(0, len(output), step):
        places.feed(output[start : start + step])
    places.finish()


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_map_in_pieces(step: int) -> None:
    """The map is read in any pieces; data past the end is told, and space past it that reads as zeros is not."""
    entries = [
        {"start": 0, "length": 10, "data": True, "offset": 90},
        {"start": 10, "length": 10, "data": False, "zero": True, "offset": 100},
        {"start": 20, "length": 10, "data": True},
    ]
    output = ("[" + ",\n".join(map(json.dumps, entries)) + "]\n").encode()
    fed(100, output, step)
    with pytest.raises(OperatorError, match=CUT):
        fed(99, output, step)
    fed(0, b"[]\n", step)


@pytest.mark.parametrize("output", [b"[{]\n", b"x" * 100_000, b'[{"data": true, "data": false}]\n'])
def test_map_that_is_not_sound(output: bytes) -> None:
    """What is no map, or has lines without end, is an error."""
    with pytest.raises(JsonError):
        fed(0, output, 10_000)


# Memory


def test_limit_of_memory(tmp_path: Path, qemu_img: Run) -> None:
    """An image that has qemu-img count more clusters than fit into its memory is refused, and is told why."""
    path = tmp_path / "source.img"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "1M")
    os.truncate(path, 600 * 2**30)
    assert refusal(path).startswith("takes qemu-img more than the 2 GiB of memory that it may have")


def test_child_is_limited() -> None:
    """A program that is run has the limit, for good."""
    words = [sys.executable, "-I", "-S", confined_exec.__file__, str(os.getpid()), "-", "/bin/sh", "-c", "ulimit -Hv"]
    said = subprocess.run(words, check=True, capture_output=True, timeout=60).stdout
    assert int(said) * 1024 == confined_exec.MOST_MEMORY
