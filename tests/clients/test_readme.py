"""The README: what it shows works when pasted, what it lists is what there is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from aero_storage.catalog.parser import parse_manifest
from aero_storage.cli.main import command
from aero_storage.delivery.routes import ROUTES
from aero_storage.metrics import Metrics, Registry
from aero_storage.settings import markdown_table

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
BINARIES = Path(sys.executable).parent


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


# `make` is what runs these tests, and what .ci/run tries by itself; what ends in a daemon is tried below; what is for
# root, and changes the machine, is tried in parts: test_runit, test_systemd, test_container.
ELSEWHERE = re.compile("^(make|twistd --nodaemon|useradd|cp|docker) ", re.MULTILINE)
PASTED = [block for block in blocks("sh") if not ELSEWHERE.search(block)]


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    return clean | {"PATH": f"{BINARIES}{os.pathsep}{clean['PATH']}"}


@pytest.fixture(scope="module")
def pasted(
    demo_daemon: tuple[str, int, Path],
    tmp_path_factory: pytest.TempPathFactory,
    require_tool: Callable[..., str],
) -> dict[str, str]:
    """Paste all shell blocks one after the other into one shell's directory; what each printed."""
    require_tool("curl", package="curl")
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(PROJECT / "etc", place / "etc")
    printed: dict[str, str] = {}
    for block in PASTED:
        script = block.replace("http://localhost:8080", demo_daemon[0])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=place,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        printed[block] = done.stdout
    printed["superblock"] = (place / "superblock.bin").read_bytes().hex()
    printed["image"] = str(place / "demo.img")
    return printed


def output_of(pasted: dict[str, str], command: str) -> str:
    (block,) = [block for block in PASTED if command in block]
    return pasted[block]


def test_first_requests(pasted: dict[str, str], demo_bytes: bytes) -> None:
    """List, metadata, HEAD and a range do what the text says."""
    printed = output_of(pasted, "/meta")
    assert '"id":"demo.img"' in printed
    assert f"Content-Length: {len(demo_bytes)}" in printed
    assert pasted["superblock"] == demo_bytes[1024:2048].hex()


def test_conditional_request(pasted: dict[str, str]) -> None:
    """The conditional request ends as promised."""
    assert output_of(pasted, "If-None-Match") == "304\n"


def test_doctor(pasted: dict[str, str]) -> None:
    """The doctor finds nothing wrong with the demo."""
    assert " 0 warnings, 0 failures, " in output_of(pasted, "aero-storage doctor")


def test_whole_image(pasted: dict[str, str], demo_bytes: bytes) -> None:
    """The download is the image, and the file system in it is sound."""
    assert Path(pasted["image"]).read_bytes() == demo_bytes
    assert "Pass 5" in output_of(pasted, "e2fsck")


def test_from_qcow2_to_the_browser(
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    demo_image: Path,
    demo_bytes: bytes,
    tmp_path: Path,
) -> None:
    """The three commands lead from a qcow2 file to chunks with digests."""
    qemu_img = require_tool("qemu-img", package="qemu-utils")
    run_tool(qemu_img, "convert", "-f", "raw", "-O", "qcow2", demo_image, tmp_path / "win98.qcow2")
    (block,) = [block for block in blocks("sh") if "aero-storage import" in block]
    assert block.count("\n") == 3
    process = subprocess.Popen(
        ["bash", "-euc", block.replace("twistd", "exec twistd")],
        cwd=tmp_path,
        env=environment() | {"AERO_STORAGE_LISTEN_ADDR": "127.0.0.1:0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = (line for line in process.stdout if line.startswith("{"))
        address = next(event["address"] for event in map(json.loads, lines) if event["message"] == "listening")
        chunked = f"http://{address}/v1/images/win98/chunked"
        manifest = json.loads(fetched(f"{chunked}/manifest.json"))
        chunk = fetched(f"{chunked}/{manifest['version']}/chunks/00000000.bin")
        assert chunk == demo_bytes[: manifest["chunkSize"]]
        assert hashlib.sha256(chunk).hexdigest() == manifest["chunks"][0]["sha256"]
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        data: bytes = response.read()
        return data


def test_commands_table() -> None:
    """Every command of the operator is in the table, and no other."""
    shown = set(re.findall(r"^\| `aero-storage ([a-z]+)", README, re.MULTILINE))
    assert shown == set(command.commands)


def test_check_of_the_configuration(pasted: dict[str, str]) -> None:
    """The sample configuration is accepted, and each setting is shown."""
    printed = output_of(pasted, "--check-config")
    assert re.search(r"^require_manifest += true +\(flag --require-manifest\)$", printed, re.MULTILINE)


def test_catalog_example() -> None:
    """The catalog that is shown is a valid one."""
    (example,) = blocks("json")
    assert [image.id for image in parse_manifest(example.encode()).images] == ["win98", "private-lab"]
    assert json.loads(example)["images"][0]["etag"] == '"win98-se-3"'


def test_settings_table() -> None:
    """The table of settings is the one that the code makes."""
    assert markdown_table().strip() in README


def test_metrics_table() -> None:
    """Every metric of ours is in the table, and no other."""
    registry = Registry()
    Metrics(registry, "1", 0)
    names = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    table = README.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    first_cells = "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == {name for name in names if not name.startswith("process_")}


def test_endpoints_table() -> None:
    """Every route is in the table of endpoints."""
    for route in ROUTES:
        path = route.template.replace(":image_id", "ID").replace(":version", "VERSION").replace(":chunk_name", "NAME")
        shown = README.replace("…/VERSION/", "/v1/images/ID/chunked/VERSION/").replace("…/", "/v1/images/ID/")
        assert f"`{path.removesuffix('.json')}" in shown, path


def test_what_is_copied_is_there() -> None:
    """Each file of etc/ that a command of the README names exists."""
    named = {name for block in blocks("sh") for name in re.findall(r"(?<=\s)etc/\S+", block)}
    assert len(named) >= 4
    assert all(list(PROJECT.glob(name)) for name in named), named


def test_links_lead_somewhere() -> None:
    """Each relative link names a file of the project."""
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert targets
    assert all((PROJECT / target).exists() for target in targets)
