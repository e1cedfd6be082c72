"""What the tests of sources share."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def _measured(code: str) -> int:

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    program = f"import resource\n{code}\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False, preexec_fn=bound
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.fixture(scope="session")
def most_memory() -> Callable[[str], int]:
    """Give a function that runs a program, and returns the most memory that it took, in bytes."""
    return _measured
