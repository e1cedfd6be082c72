"""Workers that are killed while they fill the cache."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.storage.objects.block_cache.filling_process import LIMIT, objects
from tests.storage.objects.block_cache.workers import BLOCK, daemon, worker_of

ROOT = Path(__file__).parents[4]
KILLS = 20


def _start(path: Path, seed: int) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.storage.objects.block_cache.filling_process", str(path), str(seed)]
    environment = {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{ROOT}"}
    process = subprocess.Popen(program, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"filling\n"
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "a worker found a wrong byte, or failed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_kills(tmp_path: Path) -> None:
    """However often workers are killed in a fill: no byte is wrong, neither for those that live nor afterwards."""
    chance = random.Random(1)
    path = tmp_path / "cache"
    for run in range(2):
        with daemon(path):
            survivor = _start(path, run)
            for number in range(KILLS // 2):
                killed = _start(path, 100 * run + number)
                time.sleep(chance.uniform(0, 0.02))  # the kill is to come at any moment of a fill
                _kill(killed)
            _kill(survivor)
    with daemon(path):
        worker = worker_of(path, LIMIT)
        for which, origin in enumerate(objects()):
            opened = worker.open(origin, f"{which}.img")
            assert worker.sent(opened) == origin.data
            opened.close()
        assert worker.directory.allocated() <= LIMIT + BLOCK
        worker.stop()
