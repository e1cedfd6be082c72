"""What is left where the system is not Linux: a Python from which all that is Linux's own was taken."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from tests.disk_bytes import bootable

if TYPE_CHECKING:
    from collections.abc import Callable

WITHOUT_LINUX = Path(__file__).parent / "without_linux"
SIZE = 3 << 20
QEMU_IMG = shutil.which("qemu-img")

IMPORTS = """
import importlib, pkgutil
import aero_storage
for module in pkgutil.walk_packages(aero_storage.__path__, "aero_storage."):
    if module.name != "aero_storage.__main__":
        importlib.import_module(module.name)
print("all imported")
"""
MISSING = """
import ctypes, errno, fcntl, os, select, socket, tempfile
from aero_storage.linux.hole_punching import punch_hole
from aero_storage.linux.inotify import Inotify
from aero_storage.linux.landlock import abi_version
from aero_storage.linux.sparse_files import data_extents
assert not any(hasattr(os, name) for name in ("sendfile", "O_PATH", "memfd_create", "SEEK_DATA", "sched_getaffinity"))
assert not hasattr(select, "epoll") and not hasattr(socket, "AF_NETLINK") and not os.path.exists("/proc/self")
with tempfile.TemporaryFile() as file:
    file.truncate(100_000)
    assert list(data_extents(file.fileno(), 0, 100_000)) == [(0, 100_000)]
    for call in (lambda: punch_hole(file.fileno(), 0, 4096), lambda: fcntl.fcntl(file, 37, bytes(32))):
        try:
            call()
        except OSError as error:
            assert error.errno in (errno.EOPNOTSUPP, errno.EINVAL)
        else:
            raise AssertionError
watches = Inotify(None)
watches.start(None)
assert watches.add(0) is None and watches.error == "the system has no inotify"
assert abi_version() == 0
print("all missing")
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    paths = [str(WITHOUT_LINUX), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**ours, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(tmp_path), "AWS_SKIP_SIGNATURE": "true"}


@pytest.fixture
def python(environ: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs such a Python."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, words)]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def command(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Give a function that runs a command, which has to succeed."""

    def run(*words: str | Path) -> str:
        done = python("-m", "aero_storage", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def disk(path: Path) -> Path:
    path.write_bytes(bootable(random.Random(7).randbytes(SIZE)))
    return path


def test_all_modules_are_imported(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """No module asks for Linux when it is imported."""
    done = python("-c", IMPORTS)
    assert (done.stdout, done.returncode) == ("all imported\n", 0), done.stderr


def test_linux_is_missing(python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """The child lacks all that these tests are about, and our wrappers say so."""
    done = python("-c", MISSING)
    assert (done.stdout, done.returncode) == ("all missing\n", 0), done.stderr


def test_images_from_import_to_removal(command: Callable[..., str], tmp_path: Path) -> None:
    """A raw disk, also behind a symbolic link, is imported, published, verified, listed, checked and removed."""
    source = disk(tmp_path / "disk.raw")
    (tmp_path / "link.raw").symlink_to("disk.raw")
    command("import", source, "--id", "disk")
    command("import", tmp_path / "link.raw", "--id", "linked")
    command("publish", "disk")
    assert "SHA-256 " + hashlib.sha256(source.read_bytes()).hexdigest() in command("verify", "disk")
    assert "published" in command("list")
    command("catalog", "check")
    command("remove", "disk", "--yes")
    (kept,) = (tmp_path / "images" / "imported").glob("*/*.img")
    assert kept.read_bytes() == source.read_bytes()


@pytest.mark.skipif(QEMU_IMG is None and os.environ.get("CI") != "true", reason="qemu-img is not installed")
def test_a_qcow2_is_converted(command: Callable[..., str], tmp_path: Path) -> None:
    """Without Landlock qemu-img works on a private copy, through paths of descriptors that other systems have."""
    source, made = disk(tmp_path / "disk.raw"), tmp_path / "disk.qcow2"
    subprocess.run([QEMU_IMG or "qemu-img", "convert", "-O", "qcow2", source, made], check=True, timeout=60)
    command("import", made, "--id", "disk")
    (image,) = (tmp_path / "images" / "imported" / "disk").glob("*.img")
    assert image.read_bytes() == source.read_bytes()


def test_serve(environ: dict[str, str], tmp_path: Path) -> None:
    """The daemon serves in the foreground, with workers too, and ends cleanly."""
    root = tmp_path / "root"
    root.mkdir()
    disk(root / "disk.img")
    words = [sys.executable, "-m", "aero_storage", "serve", str(root), "--port", "0", "--workers", "2"]
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        lines = iter(running.stdout)
        url = next(line.strip() for line in lines if "://" in line)
        for _ in range(2):
            next(line for line in lines if "catalog loaded" in line)
        with urlopen(f"{url}v1/images/disk.img", timeout=60) as answer:
            assert answer.read() == (root / "disk.img").read_bytes()
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in rest) == (0, False), rest


def test_what_needs_linux_says_so(python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """A block cache, and workers over a bucket, are refused in one line that names Linux."""
    bucket = ("serve", "s3://bucket", "--port", "0")
    for flags in (("--cache-dir", str(tmp_path / "cache")), ("--workers", "2")):
        done = python("-m", "aero_storage", *bucket, *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert "Linux" in done.stderr
