"""Programs of e2fsprogs, which make and fill the guest's file system where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from aero_storage.errors import OperatorError

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/opt/e2fsprogs/sbin:/opt/homebrew/opt/e2fsprogs/sbin"
"""Debian keeps them out of the PATH of users who are not root, Homebrew out of everybody's."""

NEEDED = ("mke2fs", "debugfs", "e2fsck")
_SECONDS = 300.0


def are_installed() -> bool:
    """Return whether all programs are there."""
    return all(shutil.which(name, path=SYSTEM_PATH) for name in NEEDED)


def run(words: Sequence[str | Path], environ: dict[str, str]) -> str:
    """Run a program and return its complaints. Raises OperatorError if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of NEEDED, with words of ours
            [shutil.which(str(words[0]), path=SYSTEM_PATH) or words[0], *words[1:]],
            env={**environ, "PATH": SYSTEM_PATH},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            umask=0o022,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise OperatorError(f"{words[0]} cannot be used: {error}") from error
    if done.returncode:
        raise OperatorError(f"{words[0]} ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    return done.stderr
