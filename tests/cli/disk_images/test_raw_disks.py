"""A file is imported as raw only if it looks like a disk, or if the operator says so."""

from __future__ import annotations

import gzip
import random
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.disk_images.sources import examined

from aero_storage.errors import OperatorError

NOISE = random.Random(1).randbytes(8192)
IMPORT = "bring it in: aero-storage import {} --id ID"
HTML = b"<!DOCTYPE html><html><body>Not found</body></html>"


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(OperatorError) as caught, examined(path):
        pass
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("disk img.gz", gzip.compress(NOISE), f"is compressed with gzip; {IMPORT}"),
        (
            "disk.img",
            b"\x04\x22\x4d\x18" + NOISE,
            f"is compressed with lz4; {IMPORT}",
        ),
        ("disk.img", b"\x02\x21\x4c\x18" + NOISE, "is compressed with lz4 (legacy); unpack it first: lz4 -d {}"),
        ("disk.img", b"\x3a\xff\x26\xed" + NOISE, "is an Android sparse image; convert it: simg2img {} disk.img"),
        ("-rf.img", b"EVF\x09\x0d\x0a\xff\0" + NOISE, "is a forensic image (EWF, E01); convert it: ewfexport"),
        ("disk.img", HTML, "is a web page (HTML), saved in place of an image; download the image itself"),
        ("disk-f002.vmdk", NOISE, "is one part of a VMDK disk, by its name; import the descriptor file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    """The message says what the file is and what to do; --format raw takes it all the same."""
    path = tmp_path / name
    told = refusal(path, data)
    assert told.startswith(said.replace("{}", shlex.quote(str(path))))
    assert told.endswith("(--format raw takes it as it is)")
    with examined(path, "raw") as source:
        assert source.size == len(data)


@pytest.mark.parametrize("size", [1, 511, 513, 8192])
def test_unknown_bytes_are_refused(tmp_path: Path, size: int) -> None:
    """What is not recognised is not raw, unless the operator says so."""
    told = refusal(tmp_path / "disk.img", NOISE[:size])
    assert told.startswith(
        "is not recognised as a disk: it has no boot signature, no partition table, no file system"
    )
    assert told.endswith("if it is a raw disk all the same, say so: --format raw takes it as it is")
    with examined(tmp_path / "disk.img", "raw") as source:
        assert source.is_raw


@pytest.mark.parametrize("data", [bytes(1), bytes(4096), NOISE[:510] + b"\x55\xaa" + NOISE[512:]])
def test_raw_disks(tmp_path: Path, data: bytes) -> None:
    """A disk with a boot signature, and one that nobody has written to, need no word of the operator."""
    (tmp_path / "disk.img").write_bytes(data)
    with examined(tmp_path / "disk.img") as source:
        assert source.is_raw


@pytest.mark.parametrize(
    ("words", "package"),
    [
        ("mke2fs -q -t ext2 -b 1024", "e2fsprogs"),
        ("mke2fs -q -t ext2 -r 0", "e2fsprogs"),
        ("mke2fs -q -t ext4 -b 4096", "e2fsprogs"),
        ("mkswap", "util-linux"),
        ("mkfs.minix -1", "util-linux"),
        ("mkfs.minix -2", "util-linux"),
        ("mkfs.minix -3", "util-linux"),
        ("mkfs.bfs", "util-linux"),
    ],
)
def test_real_file_systems(tmp_path: Path, require_tool: Callable[..., str], words: str, package: str) -> None:
    """A file system is a disk as its own program makes it."""
    name, *options = words.split()
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(8 << 20))
    subprocess.run([require_tool(name, package=package), *options, path], check=True, capture_output=True, timeout=60)
    assert any(path.read_bytes())
    with examined(path) as source:
        assert source.is_raw
