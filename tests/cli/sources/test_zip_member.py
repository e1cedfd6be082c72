"""A disk out of a ZIP archive: real ones and hostile ones."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from tests.cli.sources.streams import all_of

from aero_storage.cli.sources.members import Choice
from aero_storage.cli.sources.zip_member import is_zip, zip_disk
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

DISK = b"QFI\xfb" + random.Random(3).randbytes(200_000) + bytes(500_000)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


def only(tmp_path: Path, data: bytes, wanted: str | None = None) -> tuple[str, bytes]:
    assert is_zip(data[:64])
    (tmp_path / "it.zip").write_bytes(data)
    descriptor = os.open(tmp_path / "it.zip", os.O_RDONLY)
    try:
        with zip_disk("IT", descriptor, Choice(wanted)) as member:
            content = all_of(member.stream, 50_000)
            assert len(content) == member.size
            return member.name, content
    finally:
        os.close(descriptor)


def complaint(tmp_path: Path, data: bytes, wanted: str | None = None) -> str:
    with pytest.raises(OperatorError) as caught:
        only(tmp_path, data, wanted)
    return str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_content(tmp_path: Path, method: int) -> None:
    """The one disk is found by its name or by its content, among other files and what macOS adds."""
    others = (("README.txt", b"text"), ("__MACOSX/._win.img", b"litter"))
    assert only(tmp_path, zipped(*others, ("win.img", DISK), method=method)) == ("win.img", DISK)
    assert only(tmp_path, zipped(*others, ("folder/win", DISK), method=method)) == ("folder/win", DISK)


def test_self_extracting(tmp_path: Path) -> None:
    """A comment at the end does no harm."""
    data = io.BytesIO(zipped(("win.img", DISK)))
    with zipfile.ZipFile(data, "a") as archive:
        archive.comment = b"made by hand" * 1000
    assert only(tmp_path, data.getvalue()) == ("win.img", DISK)


def test_two_disks(tmp_path: Path) -> None:
    """Two disks are refused, with their names."""
    said = complaint(tmp_path, zipped(("a\x1b.img", DISK), ("b.qcow2", DISK), ("c.txt", b"")))
    assert said.startswith("IT: holds more than one disk image: a\\x1b.img (684 KiB), b.qcow2 (684 KiB); ")
    assert said.endswith("say which one is wanted: --member NAME")


@pytest.mark.parametrize("wanted", ["a.img", "folder/b.qcow2", "b.qcow2", "c.txt"])
def test_chosen_member(tmp_path: Path, wanted: str) -> None:
    """The member that is named is taken, by its whole name or by the last part."""
    members = {"a.img": DISK, "folder/b.qcow2": DISK[:999], "c.txt": b"text"}
    name, content = only(tmp_path, zipped(*members.items()), wanted)
    assert (name.endswith(wanted), content) == (True, members[name])


def test_chosen_member_at_the_top(tmp_path: Path) -> None:
    """A file at the top of the archive can be chosen, also where one in a folder has its name."""
    data = zipped(("a/one.img", DISK[:999]), ("one.img", DISK))
    assert only(tmp_path, data, "./one.img") == ("one.img", DISK)


def test_chosen_member_that_is_not_there(tmp_path: Path) -> None:
    """A name that no file has is told of; a folder is no file."""
    data = zipped(("a.img", DISK), ("b/", b""))
    assert complaint(tmp_path, data, "b/") == "IT: holds no file b/; its disk images: a.img (684 KiB)"


def test_no_disk(tmp_path: Path) -> None:
    """An archive without a disk is refused, with what it holds; one that is empty too."""
    said = complaint(tmp_path, zipped(*((f"{n}.txt", b"") for n in range(50))))
    assert said.startswith("IT: holds no disk image, but 0.txt (0 B), 1.txt (0 B)")
    assert said.endswith("9.txt (0 B) and 40 more; unpack it, and import the image")
    assert "holds no disk image, but nothing" in complaint(tmp_path, zipped())


def test_encrypted(tmp_path: Path) -> None:
    """An encrypted disk is refused in words."""
    data = bytearray(zipped(("win.img", DISK)))
    central = data.rindex(b"PK\x01\x02")
    data[6] |= 1
    data[central + 8] |= 1
    assert complaint(tmp_path, bytes(data)) == "IT: win.img is encrypted; unpack it first"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods(tmp_path: Path, method: int) -> None:
    """Methods whose output zipfile does not bound are refused."""
    said = complaint(tmp_path, zipped(("win.img", DISK), method=method))
    assert said == f"IT: win.img is compressed by method {method}; unpack it first: 7z x FILE"


def test_zip64(tmp_path: Path) -> None:
    """Archives with 64-bit sizes are read."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("win.img", "w", force_zip64=True) as file,
    ):
        file.write(DISK)
    assert only(tmp_path, target.getvalue()) == ("win.img", DISK)


def test_damage(tmp_path: Path) -> None:
    """Flipped bits, wrong sizes and cut files are errors."""
    data = zipped(("win.img", DISK))
    flipped = bytearray(data)
    flipped[100_000] ^= 1
    assert "the ZIP archive is damaged: " in complaint(tmp_path, bytes(flipped))
    assert "the ZIP archive is damaged: " in complaint(tmp_path, data[:-30])
    central = data.rindex(b"PK\x01\x02")
    for claimed in (len(DISK) - 1, len(DISK) + 1):
        wrong = bytearray(data)
        wrong[central + 24 : central + 28] = struct.pack("<L", claimed)
        assert "the ZIP archive is damaged: " in complaint(tmp_path, bytes(wrong))


def test_places_that_are_none(tmp_path: Path) -> None:
    """A member that claims to lie before the beginning of the file is an error in words."""
    data = bytearray(zipped(("win.img", DISK)))
    end = data.rindex(b"PK\x05\x06")
    data[end + 16 : end + 20] = b"\xff\xff\xff\x7f"  # the directory claims to be far behind: all is moved forward
    assert "the ZIP archive is damaged: " in complaint(tmp_path, bytes(data))


def test_member_without_a_name(tmp_path: Path) -> None:
    """A member may have no name."""
    data = zipped(("x", b"text"), ("win.img", DISK))
    for head in (b"PK\x03\x04", b"PK\x01\x02"):
        place = data.index(head) + (26 if head.endswith(b"\x04") else 28)
        name = place + 4 if head.endswith(b"\x04") else place + 18
        data = data[:place] + b"\0\0\1\0" + data[place + 4 : name] + b"x" + data[name + 1 :]
    assert only(tmp_path, data) == ("win.img", DISK)


def test_huge_directory(tmp_path: Path) -> None:
    """A directory of many megabytes is not read into memory, true or claimed."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for n in range(3000):
            archive.writestr(f"{n:05}" + "x" * 1600, b"")
    assert "its directory is too long" in complaint(tmp_path, target.getvalue())


def test_many_members(tmp_path: Path) -> None:
    """An archive of very many members is refused."""
    assert "has more than 10,000 members" in complaint(tmp_path, zipped(*((str(n), b"") for n in range(10_001))))


def test_hostile_names(tmp_path: Path) -> None:
    """A name is a name: it leads nowhere."""
    assert only(tmp_path, zipped(("../../../etc/cron.d/disk.img", DISK)))[1] == DISK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.zip"]
