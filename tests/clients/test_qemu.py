"""qemu's HTTP block driver against the running daemon."""

from __future__ import annotations

import functools
import json
import re
import subprocess
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def qemu_img(require_tool: Callable[..., str], lacking: Callable[[str], NoReturn]) -> str:
    path = require_tool("qemu-img", package="qemu-utils")
    # Port 9 is of no matter: a build without the driver refuses before it connects.
    probe = subprocess.run(
        [path, "info", "http://127.0.0.1:9/"], capture_output=True, text=True, timeout=30, check=False
    )
    if "Unknown protocol" in probe.stderr:
        lacking("qemu has no HTTP driver (Debian: apt-get install qemu-block-extra)")
    return path


@pytest.fixture(scope="session")
def qemu_io(qemu_img: str, require_tool: Callable[..., str], run_tool: Callable[..., str]) -> Callable[..., str]:
    assert qemu_img  # has the driver, which both share
    return functools.partial(run_tool, require_tool("qemu-io", package="qemu-utils"), "-r", "-f", "raw")


def test_info_tells_the_size(qemu_img: str, run_tool: Callable[..., str], image_url: str, demo_bytes: bytes) -> None:
    """`qemu-img info` opens the image and sees its true size."""
    info = json.loads(run_tool(qemu_img, "info", "--output=json", image_url))
    assert (info["format"], info["virtual-size"]) == ("raw", len(demo_bytes))


def test_convert_copies_the_image(
    qemu_img: str, run_tool: Callable[..., str], image_url: str, demo_bytes: bytes, tmp_path: Path
) -> None:
    """`qemu-img convert` from the daemon gives the image byte for byte."""
    copy = tmp_path / "copy.img"
    # At its usual 8 reads at a time, qemu 7.2's driver now and then waits for ever on answers that it has: in 35 of
    # 400 runs against nginx, in 15 of 300 against us. At one read at a time, in none of 700.
    run_tool(qemu_img, "convert", "-m", "1", "-f", "raw", "-O", "raw", image_url, copy)
    assert copy.read_bytes() == demo_bytes


def test_compare_finds_no_difference(
    qemu_img: str, run_tool: Callable[..., str], image_url: str, demo_image: Path
) -> None:
    """`qemu-img compare` holds the served image identical to the file."""
    assert "Images are identical." in run_tool(qemu_img, "compare", "-f", "raw", "-F", "raw", demo_image, image_url)


@pytest.mark.parametrize("shift", [0, 512, 65_536])
def test_reads_are_exact(
    qemu_io: Callable[..., str], image_url: str, demo_bytes: bytes, text_offset: int, shift: int
) -> None:
    """A guest's read, as qemu-io makes it, returns the bytes at its offset."""
    start = text_offset + shift
    said = qemu_io("-c", f"read -v {start} 1024", image_url)
    dump = re.findall(r"^[0-9a-f]+:  ((?:[0-9a-f]{2} )+)", said, flags=re.MULTILINE)
    assert bytes.fromhex("".join(dump)) == demo_bytes[start : start + 1024]


def test_read_of_the_last_sector(qemu_io: Callable[..., str], image_url: str, demo_bytes: bytes) -> None:
    """The last sector can be read, and nothing past it."""
    size = len(demo_bytes)
    assert f"read 512/512 bytes at offset {size - 512}" in qemu_io("-c", f"read {size - 512} 512", image_url)
    assert "read failed" in qemu_io("-c", f"read {size} 512", image_url, accept=(0, 1))
