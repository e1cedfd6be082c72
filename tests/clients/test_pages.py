"""What README and docs/ show: commands work when pasted, examples are valid, listed fields are those there are."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from tests.docs.pages import PROJECT, README, blocks

from aero_storage.catalog.parser import parse_manifest
from aero_storage.delivery.routes import ROUTES

HOW_TO = PROJECT / "docs" / "how-to"
REFERENCE = PROJECT / "docs" / "reference"
BINARIES = Path(sys.executable).parent
BASE = "http://localhost:8080"

# `make` is what runs these tests, .ci/run tries the rest of that block; pip needs a network.
ELSEWHERE = re.compile("^(make|python3 -m venv) ", re.MULTILINE)
DAEMON = re.compile("^twistd --nodaemon ", re.MULTILINE)
APART = {"private-images.md", "who-read-what.md"}  # test_private_images.py pastes these
PAGES = [README, *(page for page in sorted(HOW_TO.glob("*.md")) if page.name not in APART)]
SHOWN = [(page.name, block) for page in PAGES for block in blocks(page, "sh")]
PASTED = [(name, block) for name, block in SHOWN if not ELSEWHERE.search(block) and not DAEMON.search(block)]
DAEMONS = [(name, block) for name, block in SHOWN if DAEMON.search(block)]


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    return clean | {"PATH": f"{BINARIES}{os.pathsep}{clean['PATH']}"}


@contextmanager
def running(block: str, place: Path) -> Iterator[str]:
    """Paste commands of which the last is the daemon, at a port of its own; give its base URL."""
    process = subprocess.Popen(
        ["bash", "-euc", block.replace("twistd", "exec twistd").replace("127.0.0.1:8080", "127.0.0.1:0")],
        cwd=place,
        env=environment() | {"AERO_STORAGE_LISTEN_ADDR": "127.0.0.1:0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = (line for line in process.stdout if line.startswith("{"))
        address = next(event["address"] for event in map(json.loads, lines) if event["message"] == "listening")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        data: bytes = response.read()
        return data


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands are pasted: a directory that has the project's etc/."""
    made = tmp_path_factory.mktemp("pages")
    shutil.copytree(PROJECT / "etc", made / "etc")
    return made


@pytest.fixture(scope="module")
def pasted(
    demo_daemon: tuple[str, int, Path], place: Path, require_tool: Callable[..., str]
) -> dict[tuple[str, str], str]:
    """Paste all blocks one after the other into one shell's directory; what each printed."""
    require_tool("curl", package="curl")
    printed: dict[tuple[str, str], str] = {}
    for name, block in PASTED:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(BASE, demo_daemon[0])],
            cwd=place,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {block}\n{done.stdout}{done.stderr}"
        printed[name, block] = done.stdout
    return printed


def output_of(pasted: dict[tuple[str, str], str], page: str, command: str) -> str:
    (printed,) = [text for (name, block), text in pasted.items() if name == page and command in block]
    return printed


def test_first_requests(pasted: dict[tuple[str, str], str], place: Path, demo_bytes: bytes) -> None:
    """List, HEAD and a range do what the README says."""
    printed = output_of(pasted, "README.md", "curl")
    assert '"id":"demo.img"' in printed
    assert f"Content-Length: {len(demo_bytes)}" in printed
    assert (place / "superblock.bin").read_bytes() == demo_bytes[1024:2048]


@pytest.mark.parametrize("page", ["README.md", "doctor.md", "nginx-and-cdn.md"])
def test_doctor(pasted: dict[tuple[str, str], str], page: str) -> None:
    """The doctor finds nothing wrong with the demo."""
    assert " 0 warnings, 0 failures, " in output_of(pasted, page, "aero-storage doctor")


def test_check_of_the_configuration(pasted: dict[tuple[str, str], str]) -> None:
    """The sample configuration is accepted, and each setting is shown."""
    printed = output_of(pasted, "install.md", "--check-config")
    assert re.search(r"^require_manifest += true +\(flag --require-manifest\)$", printed, re.MULTILINE)


def test_metrics_are_shown(pasted: dict[tuple[str, str], str]) -> None:
    """The guide to metrics shows those of the daemon."""
    assert "aero_storage_places_used_ratio " in output_of(pasted, "metrics-and-alerts.md", "/metrics")


@pytest.mark.parametrize(("page", "block"), [shown for shown in DAEMONS if "import" not in shown[1]])
def test_daemons_start(page: str, block: str, tmp_path: Path) -> None:
    """A daemon that is started as a page says is alive, and ends with status 0."""
    with running(block, tmp_path) as base:
        assert fetched(f"{base}/healthz") == b'{"status":"ok"}', page


def test_from_qcow2_to_the_browser(
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    demo_image: Path,
    demo_bytes: bytes,
    tmp_path: Path,
) -> None:
    """The README's three commands lead from a qcow2 file to chunks with digests."""
    qemu_img = require_tool("qemu-img", package="qemu-utils")
    run_tool(qemu_img, "convert", "-f", "raw", "-O", "qcow2", demo_image, tmp_path / "win98.qcow2")
    (block,) = [block for _, block in DAEMONS if "aero-storage import" in block]
    assert block.count("\n") == 3
    with running(block, tmp_path) as base:
        chunked = f"{base}/v1/images/win98/chunked"
        manifest = json.loads(fetched(f"{chunked}/manifest.json"))
        chunk = fetched(f"{chunked}/{manifest['version']}/chunks/00000000.bin")
        assert chunk == demo_bytes[: manifest["chunkSize"]]
        assert hashlib.sha256(chunk).hexdigest() == manifest["chunks"][0]["sha256"]


def test_what_is_copied_is_there() -> None:
    """Each file of etc/ that a command of a page names exists."""
    pages = (README, *sorted((PROJECT / "docs").rglob("*.md")))
    shown = [block for page in pages for language in ("sh", "shell") for block in blocks(page, language)]
    named = {name for block in shown for name in re.findall(r"(?<=\s)etc/[^\s`]+", block)}
    assert len(named) >= 4
    assert all(list(PROJECT.glob(name)) for name in named), named


def test_catalog_example() -> None:
    """The catalog that is shown is a valid one, with every key in the table."""
    page = REFERENCE / "catalog.md"
    (example,) = blocks(page, "json")
    assert [image.id for image in parse_manifest(example.encode()).images] == ["win98", "private-lab"]
    assert json.loads(example)["images"][0]["etag"] == '"win98-se-3"'
    table = page.read_text(encoding="utf-8").partition("| Key |")[2].partition("\n\n")[0]
    keys = {key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert keys > {key for entry in json.loads(example)["images"] for key in entry}


def test_every_route_is_described() -> None:
    """Every route is in the table of the HTTP interface."""
    page = (REFERENCE / "http.md").read_text(encoding="utf-8")
    table = page.partition("## §2 ")[2].partition("\n### ")[0].replace("`…/", "`/v1/images/:image_id/")
    assert [route.template for route in ROUTES if f"`{route.template}`" not in table] == []


def test_every_field_of_the_log_is_described(demo_daemon: tuple[str, int, Path]) -> None:
    """The lines of a range and of a refused one have the fields of the table, and no others."""
    base, _, log = demo_daemon
    page = (REFERENCE / "http.md").read_text(encoding="utf-8")
    table = page.partition("## §8 ")[2].partition("\n| `reason` | Status |")[0]
    described = {"timestamp", "level", "message", *re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)}
    for condition in ({}, {"If-Match": '"another"'}):
        named = {"X-Request-Id": "fields", "X-Aero-User-Id": "somebody", "Range": "bytes=0-9", **condition}
        with suppress(HTTPError):
            urllib.request.urlopen(urllib.request.Request(f"{base}/v1/images/demo.img", headers=named)).close()
    deadline = time.monotonic() + 10
    while len(lines := re.findall(r'^\{.*"request_id": "fields".*\}$', log.read_text(), re.MULTILINE)) < 2:
        assert time.monotonic() < deadline, "the lines have not been written"
        time.sleep(0.02)
    fields = set[str]().union(*(json.loads(line) for line in lines))
    # There is no range over the limit here, no object store, and no lease.
    assert fields | {"max_range_bytes", "origin_bytes", "lease"} == described
