"""tools/demo_image.py, run as the command that it is, and its parts where the command cannot be steered."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "tools" / "demo_image.py"
SIZE = 64 * 1024 * 1024


def run(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *options, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def e2fs_tool(name: str) -> str:
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/sbin", "/usr/sbin"]))
    if path:
        return path
    message = f"{name} is not installed (Debian: apt-get install e2fsprogs)"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_image", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_image_is_a_sound_file_system(tmp_path: Path) -> None:
    """Where mke2fs exists the image is 64 MiB of ext4 that e2fsck finds nothing wrong with."""
    e2fs_tool("mke2fs")
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ext4" in done.stdout
    image = tmp_path / "demo.img"
    assert image.stat().st_size == SIZE
    check = subprocess.run([e2fs_tool("e2fsck"), "-fn", str(image)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr


def test_file_system_holds_the_tree(tmp_path: Path) -> None:
    """The file system holds the README and numbered lines, byte for byte."""
    e2fs_tool("mke2fs")
    run(tmp_path)

    def content(path: str) -> str:
        command = [e2fs_tool("debugfs"), "-R", f"cat {path}", str(tmp_path / "demo.img")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert content("README.txt").startswith("This file system was served by aero-storage.")
    lines = content("data/gamma/lines-1.txt").splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(4500)]


def test_only_the_finished_image_is_left(tmp_path: Path) -> None:
    """No temporary name stays behind, and other users (the daemon's) can read the image."""
    run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.img"]
    assert (tmp_path / "demo.img").stat().st_mode & 0o777 == 0o644


def test_missing_directory_is_made(tmp_path: Path) -> None:
    """A directory that is not there yet is created, as the daemon would."""
    assert run(tmp_path / "new" / "images").returncode == 0
    assert (tmp_path / "new" / "images" / "demo.img").is_file()


@pytest.mark.parametrize("name", ["disk.img", "manifest.json"])
def test_directory_with_an_image_is_left_alone(tmp_path: Path, name: str) -> None:
    """Where there is something to serve already, nothing is written, and the command says why."""
    (tmp_path / name).write_bytes(b"[]")
    done = run(tmp_path)
    assert done.returncode == 0
    assert f"{name} is there" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_hidden_files_and_directories_are_no_images(tmp_path: Path) -> None:
    """A dot file and a directory do not keep the image from being made."""
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "chunked").mkdir()
    run(tmp_path)
    assert (tmp_path / "demo.img").is_file()


def test_urls_name_an_image_that_is_served(tmp_path: Path) -> None:
    """With --base-url the command prints the list, the metadata and the image under that address."""
    (tmp_path / "not an id").touch()
    (tmp_path / "win7.img").touch()
    words = run(tmp_path, "--base-url", "http://127.0.0.1:8080").stdout.split()
    url = "http://127.0.0.1:8080/v1/images"
    assert [word for word in words if word.startswith("http")] == [url, f"{url}/win7.img/meta", f"{url}/win7.img"]


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ('{"images": [{"id": "win7", "file": "w.img"}]}', "win7"),
        ('[{"id": "win8", "file": "w.img"}]', "win8"),
        ("[]", "IMAGE_ID"),
        ('{"images": 5}', "IMAGE_ID"),
        ("{not json", "IMAGE_ID"),
    ],
)
def test_urls_follow_the_manifest(tmp_path: Path, manifest: str, name: str) -> None:
    """With a manifest the id comes from its first entry; a broken one is left to the daemon to report."""
    (tmp_path / "manifest.json").write_text(manifest)
    done = run(tmp_path, "--base-url", "http://h:1")
    assert done.returncode == 0
    assert f"http://h:1/v1/images/{name}/meta\n" in done.stdout


def test_unusable_directory_is_one_clear_line(tmp_path: Path) -> None:
    """A path that is a file ends in status 1 and one line on standard error that names it."""
    (tmp_path / "file").touch()
    done = run(tmp_path / "file")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "file") in done.stderr


def test_failing_mke2fs_is_reported(module: ModuleType, tmp_path: Path) -> None:
    """What mke2fs complains about reaches the user on one line, with its status."""
    broken = tmp_path / "mke2fs"
    broken.write_text("#!/bin/sh\necho disk >&2\necho full >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(module.DemoError, match=r"failed with status 3: disk full$"):
        module.write_ext4(tmp_path / "out.img", str(broken))


def test_pattern_numbers_every_sector(module: ModuleType, tmp_path: Path) -> None:
    """Without mke2fs the image has the same size, and each sector begins with its own number."""
    image = tmp_path / "pattern.img"
    module.write_pattern(image)
    data = image.read_bytes()
    assert len(data) == SIZE
    assert data[510:512] == b"\x55\xaa"  # so an import takes it for a raw disk
    starts = [data[at : at + 8].partition(b"\n")[0] for at in range(0, SIZE, 512)]
    assert starts == [b"%d" % number for number in range(SIZE // 512)]


def test_image_without_mke2fs_is_the_pattern(module: ModuleType, tmp_path: Path) -> None:
    """A machine without mke2fs gets the patterned image, and is told why."""
    assert "no mke2fs" in module.provide_image(tmp_path, None)
    assert (tmp_path / "demo.img").read_bytes()[:2] == b"0\n"
