"""The operator's whole way: from a virtual machine's disk to the bytes that clients get, whatever gets in between."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
from tests.disk_bytes import noise_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = Path(sys.executable).parent / "aero-storage"
RANGE = 4 << 20
FORMATS = ["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc"]
KILLS = 10


def get(url: str, **headers: str) -> bytes:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        data: bytes = response.read()
        return data


def by_ranges(url: str) -> bytes:
    size = json.loads(get(f"{url}/meta"))["size_bytes"]
    ranges = (f"bytes={first}-{min(first + RANGE, size) - 1}" for first in range(0, size, RANGE))
    return b"".join(get(url, Range=one) for one in ranges)


def by_chunks(url: str, version: str = "") -> bytes:
    base = f"{url}/chunked{version}"
    manifest = json.loads(get(f"{base}/manifest.json"))
    names = (f"{index:0{manifest['chunkIndexWidth']}}.bin" for index in range(manifest["chunkCount"]))
    return b"".join(get(f"{base}/chunks/{name}") for name in names)


@pytest.fixture(scope="module")
def formats_daemon(
    start_daemon: Callable[..., tuple[str, int, Path]],
    operate: Callable[..., str],
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    demo_image: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Path]:
    """Import the demo image from every format; of each id there is a published and a virtual one."""
    qemu_img = require_tool("qemu-img", package="qemu-utils")
    place = tmp_path_factory.mktemp("formats")
    root = place / "images"
    for name in FORMATS:
        source = place / f"disk.{name}"
        size = ["-o", "force_size=on"] if name == "vpc" else []
        run_tool(qemu_img, "convert", "-f", "raw", "-O", name, *size, demo_image, source)
        for kind in ("published", "virtual"):
            operate(root, "import", source, "--id", f"{name}-{kind}")
        operate(root, "publish", f"{name}-published", "--chunk-size", "1MiB")
    return f"{start_daemon(root, '--virtual-chunks')[0]}/v1/images", root


@pytest.mark.parametrize("name", FORMATS)
def test_from_any_format_to_any_delivery(
    formats_daemon: tuple[str, Path],
    operate: Callable[..., str],
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    demo_bytes: bytes,
    tmp_path: Path,
    name: str,
) -> None:
    """Whole, in ranges, in published and in virtual chunks the image is the one that went in, and sound."""
    url, root = formats_daemon
    published, virtual = f"{url}/{name}-published", f"{url}/{name}-virtual"
    assert get(published) == demo_bytes
    assert by_ranges(published) == demo_bytes
    assert by_chunks(published) == demo_bytes
    assert by_chunks(virtual) == demo_bytes
    version = json.loads(get(f"{published}/chunked/manifest"))["version"]
    (tmp_path / "back.img").write_bytes(by_chunks(published, f"/{version}"))
    run_tool(require_tool("e2fsck", package="e2fsprogs"), "-fn", tmp_path / "back.img")
    for target in (f"{name}-published", f"{published}/chunked/manifest.json", f"{virtual}/chunked/manifest"):
        assert json.loads(operate(root, "verify", target, "--json"))["ok"], target


def test_equal_content_is_one_version(formats_daemon: tuple[str, Path]) -> None:
    """Whatever format an image came in, its version is that of its content."""
    url = formats_daemon[0]
    manifests = [json.loads(get(f"{url}/{name}-published/chunked/manifest")) for name in FORMATS]
    assert len({manifest["version"] for manifest in manifests}) == 1


def test_verify_through_the_network(formats_daemon: tuple[str, Path], operate: Callable[..., str]) -> None:
    """A URL is checked as a client sees it; what is not there ends with status 1."""
    url, root = formats_daemon
    report = json.loads(
        operate(root, "verify", f"{url}/raw-published/chunked/manifest.json", "--sample", "3", "--json")
    )
    assert (report["ok"], report["chunks"]) == (True, 3)
    report = json.loads(operate(root, "verify", f"{url}/none/chunked/manifest.json", "--json", status=1))
    assert "404" in report["error"]


# Interrupted at any moment


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two images that differ in every block."""
    place = tmp_path_factory.mktemp("sources")
    for number in (1, 2):
        block = noise_disk(number, 1 << 20)
        with (place / f"{number}.raw").open("wb") as file:
            for index in range(64):
                file.write(index.to_bytes(8, "big") + bytes([number]) + block[9:])
    return place / "1.raw", place / "2.raw"


def run_until(seconds: float, root: Path, *words: str | Path) -> bool:
    """Run `aero-storage`, and kill it where it takes longer; whether it came to its end."""
    environment = os.environ | {"AERO_STORAGE_IMAGE_ROOT": str(root)}
    process = subprocess.Popen(
        [COMMAND, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False
    return True


class Watch:
    """A client that reads the image again and again, each time whole, and looks at what it gets."""

    def __init__(self, url: str, versions: list[bytes]) -> None:
        self.url, self.versions, self.reads, self.stopped = url, versions, 0, False

    def run(self) -> list[str]:
        faults: list[str] = []
        while not self.stopped:
            try:
                faults += self.look()
            except OSError as error:
                faults.append(f"{error!r}")
            self.reads += 1
        return faults

    def look(self) -> Iterator[str]:
        if get(self.url) not in self.versions:
            yield "neither the old image nor the new one"
        if b'"ok"' not in get(self.url.partition("/v1")[0] + "/readyz"):
            yield "not ready"
        version = self.version()
        try:
            if by_chunks(self.url, f"/{version}") not in self.versions:
                yield "chunks of no version"
        except HTTPError as error:
            # Virtual chunks of an image that has changed are gone, and by then the manifest says so.
            if error.code != 404 or version == self.version():
                yield f"{version}: {error!r}"

    def version(self) -> str:
        return str(json.loads(get(f"{self.url}/chunked/manifest"))["version"])


@pytest.mark.parametrize("what", ["import", "publish"])
def test_killed_at_any_moment(
    start_daemon: Callable[..., tuple[str, int, Path]],
    operate: Callable[..., str],
    sources: tuple[Path, Path],
    tmp_path: Path,
    what: str,
) -> None:
    """Killed at ten moments, nobody ever saw a broken image, and the next run ends well and leaves nothing behind."""
    root = tmp_path / "images"
    operate(root, "import", sources[0], "--id", "disk")
    operate(root, "publish", "disk", "--chunk-size", "1MiB")
    url = f"{start_daemon(root, '--virtual-chunks')[0]}/v1/images/disk"
    watch = Watch(url, [source.read_bytes() for source in sources])
    words: tuple[str | Path, ...] = ("publish", "disk", "--chunk-size", "512KiB")
    if what == "import":
        words = ("import", sources[1], "--id", "disk")
    moments = random.Random(what)
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(watch.run)
        try:
            for _ in range(KILLS):
                run_until(moments.uniform(0.15, 1.0), root, *words)
            operate(root, *words)
        finally:
            watch.stopped = True
        assert watching.result() == []
    assert watch.reads > 1
    operate(root, "publish", "disk")
    checked = json.loads(operate(root, "catalog", "check", "--max-range-bytes", "none", "--json"))
    assert (checked["images"], checked["problems"], checked["warnings"]) == (1, {}, {})
    kept = "the catalog names no such version; its URLs still lead to it"
    assert [one for one in checked["leftovers"] if one["reason"] != kept] == []
    assert json.loads(operate(root, "verify", "disk", "--json"))["ok"]
    assert [path for path in root.rglob("*~*") if path.name != ".aero-storage~"] == []
    expected = 1 if what == "publish" else 2
    assert get(url) == watch.versions[expected - 1]


def test_interrupted_by_the_operator(operate: Callable[..., str], sources: tuple[Path, Path], tmp_path: Path) -> None:
    """Control-C and SIGTERM end it with 128 + n and leave the root as it was, without waiting for the next run."""
    root = tmp_path / "images"
    operate(root, "import", sources[0], "--id", "disk")
    before = sorted(path for path in root.rglob("*") if path.is_file())
    for number in (signal.SIGINT, signal.SIGTERM):
        environment = os.environ | {"AERO_STORAGE_IMAGE_ROOT": str(root)}
        process = subprocess.Popen([COMMAND, "publish", "disk"], env=environment, stderr=subprocess.PIPE)
        while not [path for path in root.glob("chunked/disk/*~/*") if path.name != "lock"]:
            assert process.poll() is None, "it was over before it could be interrupted"
        process.send_signal(number)
        said = process.communicate(timeout=20)[1]
        if process.returncode == 0:
            operate(root, "remove", "disk", "--chunks-only")
            continue
        assert (process.returncode, b"interrupted" in said) == (128 + number, True)
        assert sorted(path for path in root.rglob("*") if path.is_file()) == before
