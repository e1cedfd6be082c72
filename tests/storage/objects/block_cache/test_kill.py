"""Workers that are killed while they fill the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.storage.objects.block_cache.filling_process import LIMIT, objects
from tests.storage.objects.block_cache.workers import BLOCK, daemon, worker_of

ROOT = Path(__file__).parents[4]
RUNS, KILLS = 2, 10


def test_kills(tmp_path: Path) -> None:
    """However often workers are killed in a fill: no byte is wrong, neither for those that live nor afterwards."""
    path = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{ROOT}"}
    for run in range(RUNS):
        with daemon(path):
            program = ["-m", "tests.storage.objects.block_cache.filling_process", str(path), str(run), str(KILLS)]
            subprocess.run([sys.executable, *program], env=environment, cwd=ROOT, check=True, timeout=120)
    with daemon(path):
        worker = worker_of(path, LIMIT)
        for which, origin in enumerate(objects()):
            opened = worker.open(origin, f"{which}.img")
            assert worker.sent(opened) == origin.data
            opened.close()
        assert worker.directory.allocated() <= LIMIT + BLOCK
        worker.stop()
