"""Real disk images, made by the programs that people make them with."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.command_output import CommandResult

from aero_storage.cli import image_files
from aero_storage.cli.main import run
from aero_storage.cli.output import Output
from aero_storage.linux import landlock

if TYPE_CHECKING:
    from collections.abc import Callable

# Debian keeps mke2fs out of the PATH of users who are not root.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/sbin", "/usr/sbin"])
TEXT = "".join(f"{n} gamma\n" for n in range(60_000))


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No daemon has to take a new catalog here, and no setting comes from outside."""
    monkeypatch.setattr(image_files, "SETTLE_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AERO_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Give a function that runs one command line."""

    def call(*words: str | Path) -> CommandResult:
        status = run([str(word) for word in words], Output())
        printed = capsys.readouterr()
        return CommandResult(status, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def require_tool() -> Callable[..., str]:
    """Give a function that finds a program, or ends the test: skipped on a user's machine, failed in CI."""

    def find(name: str, *, package: str) -> str:
        if path := shutil.which(name, path=PLACES):
            return path
        reason = f"{name} is not installed (Debian: apt-get install {package})"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI it must be there")
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def qemu_img(require_tool: Callable[..., str]) -> Callable[..., str]:
    """Give a function that runs the real qemu-img and returns what it printed."""
    program = require_tool("qemu-img", package="qemu-utils")

    def run(*words: str | Path) -> str:
        command = [program, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def landlock_abi() -> int:
    """Return the version of Landlock's ABI, or end the test if the kernel has none."""
    version = landlock.abi_version()
    if not version:
        reason = "this kernel has no Landlock"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI it must be there")
        pytest.skip(reason)
    return version


@pytest.fixture(scope="session")
def disk(require_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a raw ext4 image of 16 MiB that holds a text, noise, and more holes than both."""
    place = tmp_path_factory.mktemp("disk")
    files = place / "files"
    files.mkdir()
    (files / "text").write_text(TEXT)
    (files / "noise").write_bytes(random.Random(4711).randbytes(1_500_000))
    image = place / "disk.img"
    mke2fs = require_tool("mke2fs", package="e2fsprogs")
    command = [mke2fs, "-q", "-t", "ext4", "-d", str(files), str(image), "16M"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return image
