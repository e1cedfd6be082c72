"""`list` and `catalog check` warn of what works, and of which somebody should know; warnings change no status."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk

from aero_storage.atomic_files import disk_usage
from aero_storage.cli import directory_repository, listed_image, watching
from aero_storage.cli.output import Output

Command = Callable[..., CommandResult]
DISK = noise_disk(5, 64 * 1024)
QCOW2 = b"QFI\xfb" + struct.pack(">L", 3) + bytes(4096)
VHD = bytes(8192) + b"conectix" + bytes(504)
MIB = 1 << 20


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def checked(command: Command, *words: str) -> dict[str, list[str]]:
    """Return the warnings of `catalog check`, which finds no problem."""
    said = command("catalog", "check", *words, "--json")
    assert (said.status, said.json["problems"]) == (0, {})
    found: dict[str, list[str]] = said.json["warnings"]
    return found


def catalog(root: Path, **more: Any) -> None:
    entry = {"id": "disk", "file": "disk.img", "name": "Disk", **more}
    (root / "manifest.json").write_text(json.dumps({"images": [entry]}))


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (QCOW2, "disk.img is qcow2, emulators need raw; bring it in: aero-storage import {} --id disk"),
        (VHD, "disk.img is vhd, emulators need raw; bring it in: aero-storage import {} --id disk"),
        (gzip.compress(DISK), "disk.img is compressed with gzip; bring it in: aero-storage import {} --id disk"),
        (b"<html><body>Not found", "disk.img is a web page (HTML), saved in place of an image; download the image"),
        (b"plain words, in a file of text\n", "disk.img is text; name the disk image in its place"),
        (DISK, None),
        (DISK[512:], None),
        (bytes(4096), None),
        (b"", None),
    ],
    ids=["qcow2", "vhd", "gzip", "page", "text", "disk", "noise", "zeros", "empty"],
)
def test_content(command: Command, root: Path, data: bytes, warning: str | None) -> None:
    """An image that no emulator can read is told of, with the command that mends it; noise may be a raw disk."""
    (root / "disk.img").write_bytes(data)
    catalog(root)
    found = checked(command)
    expected = (warning or "").replace("{}", str(root / "disk.img"))
    assert len(found) == (1 if warning else 0)
    assert warning is None or found["disk"][0].startswith(expected)
    listed = command("list", "--json")
    assert (listed.status, listed.json[0]["warnings"]) == (0, found.get("disk", []))
    assert (expected in command("list").err) is True
    assert (f"warning: disk: {expected}" in command("catalog", "check").out) is (warning is not None)


def test_command_that_is_told(command: Command, root: Path) -> None:
    """The command of the warning is one that brings in the file, whatever its name."""
    name = "it's a disk.qcow2"
    (root / name).write_bytes(QCOW2)
    catalog(root, file=name)
    told = checked(command)["disk"][0].partition("bring it in: ")[2]
    assert shlex.split(told) == ["aero-storage", "import", str(root / name), "--id", "disk"]


def test_only_head_and_tail_are_read(command: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file the first 64 KiB and the last 4 KiB are read, and no more."""
    read: list[tuple[int, int]] = []
    pread = os.pread

    def recording(descriptor: int, length: int, offset: int) -> bytes:
        read.append((offset, length))
        return pread(descriptor, length, offset)

    with (root / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    catalog(root)
    monkeypatch.setattr(os, "pread", recording)
    checked(command, "--max-range-bytes", "none")
    assert read == [(0, 64 * 1024), ((1 << 40) - 4096, 4096)]


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_file_that_is_exchanged(
    command: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A FIFO or a link that takes the place of a file between two looks is neither waited for nor followed."""
    (root / "disk.img").write_bytes(DISK)
    (tmp_path / "outside").write_bytes(QCOW2)
    catalog(root)

    def exchange(path: Path) -> int:
        used = disk_usage(path)
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(tmp_path / "outside")
        return used

    monkeypatch.setattr(directory_repository, "disk_usage", exchange)
    said = command("catalog", "check", "--json")
    assert said.json["warnings"] == {}
    assert (said.status, bool(said.json["problems"])) == ((0, False) if kind == "fifo" else (1, True))


@pytest.mark.parametrize(
    ("size", "words", "is_told"),
    [
        (8 * MIB, [], False),
        (8 * MIB + 1, [], True),
        (8 * MIB + 1, ["--max-range-bytes", "none"], False),
        (4097, ["--max-range-bytes", "4096"], True),
    ],
)
def test_limit_of_ranges(command: Command, root: Path, size: int, words: list[str], *, is_told: bool) -> None:
    """An image that is longer than the longest range is told of, with the setting that lifts the limit."""
    with (root / "disk.img").open("wb") as file:
        file.truncate(size)
    catalog(root)
    told = checked(command, *words).get("disk", [])
    assert [("--max-range-bytes none" in text, "rclone" in text) for text in told] == [(True, True)] * is_told


def test_keys_that_nobody_knows(command: Command, root: Path) -> None:
    """A key that is written wrongly is told of with the right one."""
    (root / "disk.img").write_bytes(DISK)
    catalog(root, pubilc=False, mine=1)
    assert checked(command)["disk"] == [
        "its key pubilc is not known, and nobody reads it; did you mean public?",
        "its key mine is not known, and nobody reads it",
    ]
    assert "did you mean public?" in command("list").err


@pytest.mark.parametrize(("public", "warned"), [(True, True), (False, False)])
def test_private_cache_of_a_public_image(command: Command, root: Path, *, public: bool, warned: bool) -> None:
    """`private_cache` says nothing of a public image, which is told."""
    (root / "disk.img").write_bytes(DISK)
    catalog(root, public=public, private_cache="browser")
    told = [text for text in checked(command).get("disk", []) if "private_cache" in text]
    assert told == ["its key private_cache has no effect, as the image is public"] * warned


def test_left_out_of_the_listing(command: Command, root: Path, tmp_path: Path) -> None:
    """Without a catalog, all that the directory listing leaves out is told of, and why."""
    for name in ("disk.img", "my disk.img", "größe.img", "manifest.json.bak", ".hidden", "x" * 129):
        (root / name).write_bytes(DISK)
    (root / "folder").mkdir()
    (root / "chunked").mkdir()
    (root / "profiles").mkdir()
    os.mkfifo(root / "fifo")
    (root / "inside.img").symlink_to("disk.img")
    (root / "outside.img").symlink_to(tmp_path)
    told = {name: text for name, (text,) in checked(command).items()}
    assert {name: text.partition(";")[0] for name, text in told.items()} == {
        "my disk.img": f"left out: its name is no image id: that {RULE}",
        "größe.img": f"left out: its name is no image id: that {RULE}",
        "x" * 129: f"left out: its name is no image id: that {RULE}",
        "manifest.json.bak": "left out: names that begin with manifest.json are kept for the catalog",
        "folder": "left out: the directory listing shows no folders",
        "fifo": "left out: it is no regular file",
        "inside.img": "left out: the directory listing follows no symbolic links",
        "outside.img": "left out: it is a symbolic link that leads out of the images root",
    }
    assert "warning: inside.img: left out" in command("list").err
    assert "warning: folder: left out" in command("list", "--json").err
    assert [row["id"] for row in command("list", "--json").json] == ["disk.img"]


RULE = "must be 1 to 128 characters of A-Z a-z 0-9 . _ - and not '.' or '..'"


def test_nothing_is_left_out_of_a_catalog(command: Command, root: Path) -> None:
    """With a catalog, or without a listing, other files are nobody's business."""
    (root / "disk.img").write_bytes(DISK)
    (root / "folder").mkdir()
    assert command("catalog", "check", "--require-manifest", "--json").json["warnings"] == {}
    catalog(root)
    assert checked(command) == {}


def test_many_alike_are_one_line(command: Command, root: Path) -> None:
    """A warning about many files is one line of bounded length; the JSON document has all of them."""
    for number in range(500):
        (root / f"folder{number:03}").mkdir()
    (line,) = [line for line in command("catalog", "check").out.splitlines() if "left out" in line]
    assert line.startswith("warning: folder000, folder001, folder002, folder003, folder004 and 495 more: left out")
    assert len(checked(command)) == 500


def test_hostile_names(command: Command, root: Path) -> None:
    """Names of files and keys reach the terminal without their control characters."""
    (root / "\x1b]0;evil\x07").write_bytes(DISK)
    said = command("list")
    assert ("evil" in said.err, "\x1b" in said.err + said.out) == (True, False)
    (root / "disk.img").write_bytes(DISK)
    catalog(root, **{"\x1b]0;evil\x07": 1})
    said = command("catalog", "check")
    assert ("evil" in said.out, "\x1b" in said.err + said.out) == (True, False)


def test_progress(command: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes longer than two seconds says which image it is at, also while one read waits for a disk."""
    (root / "disk.img").write_bytes(DISK)
    catalog(root)
    told = threading.Event()
    say = Output.say

    def saying(output: Output, remark: str) -> None:
        say(output, remark)
        told.set()

    def wait_for_notice(*_: object, **__: object) -> list[str]:
        assert told.wait(20)
        return []

    monkeypatch.setattr(watching, "NOTICE_SECONDS", 0.01)
    monkeypatch.setattr(Output, "say", saying)
    monkeypatch.setattr(listed_image, "image_warnings", wait_for_notice)
    assert "Looking at 1 of 1 images: disk" in command("catalog", "check").err
