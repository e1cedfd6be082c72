"""Readers of zip, Parquet and GeoTIFF files that nobody here wrote, over the daemon and through the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.blackbox.harness import running

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


def test_readers(run_node: Callable[..., str], tools: Path, tmp_path: Path) -> None:
    """zip.js, hyparquet and geotiff read files of the daemon by their own requests, and through `asyncBuffer`."""
    images = tmp_path / "images"
    images.mkdir()
    run_node(HERE / "reader-files.mjs", tools, images)
    with running(tmp_path) as daemon:
        facts = {"modules": str(tools), "base": f"http://127.0.0.1:{daemon.port}/v1/images"}
        assert "# pass 3" in run_node("--test", HERE / "readers.test.mjs", READERS=json.dumps(facts))
