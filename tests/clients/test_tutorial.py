"""docs/tutorial/first-image.md, from its first command to the page that it ends with, in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.docs.pages import PROJECT, blocks

TUTORIAL = PROJECT / "docs" / "tutorial" / "first-image.md"
BASE = "http://localhost:8080"
STARTS = ("make run\n", "python3 -m http.server 8000 --directory page\n")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]


class QuietHandler(SimpleHTTPRequestHandler):
    """What `python3 -m http.server` does, without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing on standard error."""


@pytest.fixture(scope="module")
def shown(
    require_tool: Callable[..., str],
    start_daemon: Callable[..., tuple[str, int, Path]],
    demo_image: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, str, Path]:
    """Paste all commands, in order, beside a running daemon: its base URL, what was printed, and the directory."""
    for tool, package in (("curl", "curl"), ("qemu-img", "qemu-utils"), ("mke2fs", "e2fsprogs")):
        require_tool(tool, package=package)
    place = tmp_path_factory.mktemp("tutorial")
    (place / "docs").symlink_to(PROJECT / "docs")
    (place / ".venv").symlink_to(Path(sys.executable).parents[1])
    (place / "images").mkdir()
    shutil.copyfile(demo_image, place / "images" / "demo.img")
    base, _, _ = start_daemon(place / "images")
    base = base.replace("127.0.0.1", "localhost")
    commands = [block for block in blocks(TUTORIAL, "sh") if block not in STARTS]
    assert len(commands) == len(blocks(TUTORIAL, "sh")) - len(STARTS)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "".join(commands).replace(BASE, base)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return base, done.stdout, place


def test_the_image_is_brought_in(shown: tuple[str, str, Path]) -> None:
    """List and range answer as the text shows."""
    _, printed, place = shown
    assert '"id":"demo.img"' in printed
    assert re.search(r"^lab +My first image +8 GiB +\S+ \S+ +published +public", printed, re.MULTILINE)
    assert "Content-Range: bytes 1024-2047/8589934592" in printed
    assert (place / "superblock.bin").read_bytes()[120:125] == b"first"


def test_the_page_reads_it(shown: tuple[str, str, Path], require_tool: Callable[..., str], tmp_path: Path) -> None:
    """The page, on another origin, says in a browser what the text says that it does."""
    chromium = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    expected = next(block for block in blocks(TUTORIAL, "text") if block.startswith("The image has"))
    handler = partial(QuietHandler, directory=str(shown[2] / "page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            address = f"http://localhost:{server.server_port}/"
            options = [*FLAGS, f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", address]
            done = subprocess.run([chromium, *options], capture_output=True, text=True, timeout=60, check=False)
        finally:
            server.shutdown()
            thread.join()
    assert f'<pre id="said">{expected}</pre>' in done.stdout, f"{done.stdout}{done.stderr[-2000:]}"
