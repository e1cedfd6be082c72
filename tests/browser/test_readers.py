"""Readers of zip, Parquet and GeoTIFF files that nobody here wrote, over the daemon and through the client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.blackbox.harness import running

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
READERS = Path(sys.executable).parents[1] / "readers"
SECONDS = 120


def test_readers(node: str, lacking: Callable[[str], NoReturn], tmp_path: Path) -> None:
    """zip.js, hyparquet and geotiff read files of the daemon by their own requests, and through `asyncBuffer`."""
    if not READERS.is_dir():
        lacking("the readers are not installed (make readers)")
    images = tmp_path / "images"
    images.mkdir()
    subprocess.run([node, HERE / "reader-files.mjs", READERS, images], check=True, timeout=SECONDS)
    with running(tmp_path) as daemon:
        facts = {"modules": str(READERS), "base": f"http://127.0.0.1:{daemon.port}/v1/images"}
        done = subprocess.run(
            [node, "--test", HERE / "readers.test.mjs"],
            env={**os.environ, "NODE_OPTIONS": "", "READERS": json.dumps(facts)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 3" in done.stdout
