"""An installation without extras: what serves and manages directories needs none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

_EXTRAS = ("obstore", "xxhash", "OpenSSL", "cryptography", "backports.zstd", "lz4")

_PROGRAM = """
import sys
sys.modules.update(dict.fromkeys({extras!r}))
import {module}
"""


@pytest.mark.parametrize(
    "module", ["aero_storage.service.tap", "aero_storage.service.worker_main", "aero_storage.cli.main"]
)
def test_everything_is_imported(module: str) -> None:
    """The daemon and the command begin where no package of an extra is installed."""
    program = _PROGRAM.format(extras=_EXTRAS, module=module)
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
