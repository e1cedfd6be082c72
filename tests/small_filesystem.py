"""File systems that are soon full, for tests of what a full disk does."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def mounted_tmpfs(place: Path, size: str) -> Iterator[None]:
    """Mount a tmpfs of a size such as `1m` for a with block; skip the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=60)
