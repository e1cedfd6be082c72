"""Clients that ask for long ranges: what docs/how-to/tuning.md says of them, with the range limit and without."""

from __future__ import annotations

import functools
import importlib.util
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
SIZE = 40 * MIB
"""Divided by four, as rclone and axel do, it is more than the limit of 8 MiB."""

IMAGE = random.Random(16).randbytes(SIZE)
READ = """
import sys, fsspec
url, length, *cache = sys.argv[1:]
with fsspec.open(url, **({"cache_type": cache[0]} if cache else {})) as file:
    sys.stdout.buffer.write(file.read(int(length)))
"""


@attrs.frozen
class Served:
    """Addresses of the image: of a daemon with its default limit, and of one with none."""

    limited: str
    unlimited: str


@pytest.fixture(scope="module")
def served(start_daemon: Callable[..., tuple[str, int, Path]], tmp_path_factory: pytest.TempPathFactory) -> Served:
    root = tmp_path_factory.mktemp("long")
    (root / "disk.img").write_bytes(IMAGE)
    limited, unlimited = (start_daemon(root, *flags)[0] for flags in ((), ("--max-range-bytes", "none")))
    return Served(f"{limited}/v1/images/disk.img", f"{unlimited}/v1/images/disk.img")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The place of the client's copy."""
    return tmp_path / "copy.img"


def succeeds(*command: str | Path) -> bool:
    environment = {**os.environ, "LC_ALL": "C", "no_proxy": "*", "HOME": "/nonexistent"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


@pytest.fixture(scope="session")
def rclone(require_tool: Callable[..., str]) -> Callable[..., bool]:
    """Copies a part of a served directory to a file."""
    quick = ("--config", os.devnull, "--retries", "1", "--low-level-retries", "1", "--multi-thread-cutoff", "1M")

    def run(url: str, copy: Path, *flags: str) -> bool:
        directory, _, name = url.rpartition("/")
        return succeeds(path, "copyto", *quick, *flags, "--http-url", f"{directory}/", f":http:{name}", copy)

    path = require_tool("rclone", package="rclone")
    return run


def test_rclone_needs_no_limit(rclone: Callable[..., bool], served: Served, copy: Path) -> None:
    """A quarter of a large file is one range for rclone: it fails at a limit, and copies all without one."""
    assert not rclone(served.limited, copy)
    assert rclone(served.unlimited, copy)
    assert copy.read_bytes() == IMAGE


def test_rclone_with_one_stream_needs_nothing(rclone: Callable[..., bool], served: Served, copy: Path) -> None:
    """`--multi-thread-streams 0` has rclone copy a large file at the limit."""
    assert rclone(served.limited, copy, "--multi-thread-streams", "0")
    assert copy.read_bytes() == IMAGE


def test_axel_without_limit(require_tool: Callable[..., str], served: Served, copy: Path) -> None:
    """Without a limit axel copies the image over four connections; at a limit it would never end."""
    assert succeeds(require_tool("axel", package="axel"), "-q", "-n", "4", "-o", copy, served.unlimited)
    assert copy.read_bytes() == IMAGE


def test_aria2_goes_on_with_one_connection(require_tool: Callable[..., str], served: Served, copy: Path) -> None:
    """aria2 is refused its other connections at the limit, and gets the image over the first."""
    aria2 = functools.partial(succeeds, require_tool("aria2c", package="aria2"), "--no-conf", "-x4", "-s4", "-k1M")
    assert aria2("--dir", copy.parent, "--out", copy.name, served.limited)
    assert copy.read_bytes() == IMAGE


@pytest.fixture(scope="session")
def nbdkit(require_tool: Callable[..., str]) -> Callable[..., bool]:
    """Reads so many bytes of an image through nbdkit's curl plugin, as a guest of qemu would."""
    path, qemu_io = require_tool("nbdkit", package="nbdkit"), require_tool("qemu-io", package="qemu-utils")

    def run(url: str, length: int, *, most: int | None = None) -> bool:
        split, limit = (("--filter=blocksize",), (f"maxdata={most}",)) if most else ((), ())
        read = f'{qemu_io} -r -f raw -c "read 0 {length}" "$uri"'
        return succeeds(path, "-r", "-U", "-", *split, "curl", f"url={url}", *limit, "--run", read)

    return run


def test_nbdkit_needs_no_limit_for_long_requests(nbdkit: Callable[..., bool], served: Served) -> None:
    """Each request to nbdkit is one range, one byte longer; its own filter splits long requests."""
    assert nbdkit(served.limited, 8 * MIB - 512)
    assert not nbdkit(served.limited, 8 * MIB)
    assert nbdkit(served.limited, 8 * MIB, most=4 * MIB)
    assert nbdkit(served.unlimited, 32 * MIB)


def test_qemu_io_needs_no_limit_for_long_reads(require_tool: Callable[..., str], served: Served) -> None:
    """The driver of qemu asks for 256 KiB more than is read."""
    qemu_io = functools.partial(succeeds, require_tool("qemu-io", package="qemu-utils"), "-r", "-f", "raw", "-c")
    assert qemu_io(f"read 0 {8 * MIB - 256 * 1024}", served.limited)
    assert not qemu_io(f"read 0 {8 * MIB}", served.limited)
    assert qemu_io(f"read 0 {32 * MIB}", served.unlimited)


@pytest.fixture(scope="session")
def fsspec(lacking: Callable[[str], NoReturn]) -> Callable[..., bytes]:
    """Reads so many bytes of an image with a cache, its default or the one that is named; b"" if it fails."""
    if not (importlib.util.find_spec("fsspec") and importlib.util.find_spec("aiohttp")):
        lacking("fsspec is not installed (pip install 'fsspec[http]')")

    def run(url: str, length: int, *cache: str) -> bytes:
        command = [sys.executable, "-c", READ, url, str(length), *cache]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        return b"" if done.returncode else done.stdout

    return run


def test_fsspec_needs_no_limit_for_its_default_cache(fsspec: Callable[..., bytes], served: Served) -> None:
    """The default cache of fsspec asks for 5 MiB more than is read, its cache of blocks for nothing more."""
    assert fsspec(served.limited, 3 * MIB) == IMAGE[: 3 * MIB]
    assert fsspec(served.limited, 4 * MIB) == b""
    assert fsspec(served.limited, 16 * MIB, "blockcache") == IMAGE[: 16 * MIB]
    assert fsspec(served.unlimited, 16 * MIB) == IMAGE[: 16 * MIB]
