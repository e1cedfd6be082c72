"""tools/os_image: the parts of the disk, without the packages from which it is built."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from tools.os_image import __main__ as program
from tools.os_image.disk import write_disk
from tools.os_image.initial_ram_disk import Entry, archive, ram_disk
from tools.os_image.packages import ImageError, newest
from tools.os_image.root_files import SUMS, files, links, make_root

SHELL = b"#! busybox" * 100
E2FS = "/usr/sbin:/sbin"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("mke2fs", path=E2FS) and shutil.which("debugfs", path=E2FS)):
        pytest.skip("e2fsprogs is not installed")
    path = tmp_path_factory.mktemp("root") / "root.ext4"
    make_root(path, 24, SHELL)
    return path


def debugfs(image: Path, request: str) -> str:
    command = [shutil.which("debugfs", path=E2FS) or "", "-R", request, str(image)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_same_files_make_the_same_file_system(root: Path, tmp_path: Path) -> None:
    """Two file systems of the same files are equal to the byte."""
    make_root(tmp_path / "again.ext4", 24, SHELL)
    assert (tmp_path / "again.ext4").read_bytes() == root.read_bytes()


def test_programs_are_executable(root: Path) -> None:
    """What the guest starts has the mode for it, and belongs to root."""
    for path in ("/bin/busybox", "/bin/verify", "/etc/init.d/rcS"):
        told = debugfs(root, f"stat {path}")
        assert "Mode:  0755" in told
        assert "User:     0   Group:     0" in told


def test_files_are_in_the_file_system(root: Path) -> None:
    """The file of digests is on the disk as it was made."""
    assert debugfs(root, f"cat {SUMS}").encode() == files(SHELL)[-1].data


def test_digests_cover_every_file() -> None:
    """The guest's list has the SHA-256 of each file but itself."""
    *others, sums = files(SHELL)
    told = [line.split("  ") for line in sums.data.decode().splitlines()]
    assert {path: digest for digest, path in told} == {
        file.path: hashlib.sha256(file.data).hexdigest() for file in others
    }


def test_links_lead_to_busybox() -> None:
    """Every command is a link to BusyBox, and init is one."""
    assert {str(Path(path).parent / target) for path, target in links().items()} == {"/bin/busybox"}
    assert "/sbin/init" in links()


def test_archive_is_read_by_its_format() -> None:
    """Names, modes and bytes come back from the archive, each part at a multiple of four."""
    entries = [Entry("bin"), Entry("bin/odd", b"12345"), Entry("empty", b"")]
    source, found = io.BytesIO(b"".join(archive(entries))), []
    while (head := source.read(110)) and len(head) == 110:
        fields = [int(head[at : at + 8], 16) for at in range(6, 110, 8)]
        name = source.read(fields[11]).rstrip(b"\0").decode()
        source.read(-(110 + fields[11]) % 4)
        data = source.read(fields[6])
        source.read(-fields[6] % 4)
        found.append((name, stat.S_ISDIR(fields[1]), data))
    assert found == [
        ("bin", True, b""),
        ("bin/odd", False, b"12345"),
        ("empty", False, b""),
        ("TRAILER!!!", False, b""),
    ]


def test_kernel_without_a_driver_is_refused(tmp_path: Path) -> None:
    """A kernel whose modules lack the disk's driver is refused by name."""
    for name in ("sd_mod", "ext4"):
        (tmp_path / f"{name}.ko").write_bytes(b"module")
    with pytest.raises(ImageError, match="ata_piix"):
        ram_disk(SHELL, tmp_path)


def test_newest_kernel_goes_by_numbers() -> None:
    """6.1.0-10 is newer than 6.1.0-9; kernels of other kinds do not count."""
    names = [
        "linux-image-6.1.0-9-686 - Linux",
        "linux-image-6.1.0-10-686 - Linux",
        "linux-image-6.1.0-11-686-pae - x",
    ]
    assert newest(names) == "6.1.0-10-686"
    with pytest.raises(ImageError, match="no kernel"):
        newest([])


def test_partitions_are_where_the_table_says(tmp_path: Path) -> None:
    """The table of the first sector gives the places of both partitions, the FAT one its own place too."""
    boot, base = b"F" * (1 << 20), b"R" * 4096
    write_disk(tmp_path / "disk", b"code", boot, base)
    disk = (tmp_path / "disk").read_bytes()
    (first, first_length), (second, second_length) = (
        struct.unpack_from("<II", disk, 446 + 16 * n + 8) for n in (0, 1)
    )
    assert disk[510:512] == b"\x55\xaa"
    assert disk[second * 512 : (second + second_length) * 512] == base
    partition = bytearray(disk[first * 512 : (first + first_length) * 512])
    assert struct.unpack_from("<I", partition, 0x1C) == (first,)
    partition[0x1C:0x20] = b"FFFF"
    assert partition == boot


def test_damaged_disk_is_built_anew(tmp_path: Path) -> None:
    """What lies there counts only while sources and digests agree."""
    for name in (program.DISK, *program.FIRMWARE):
        (tmp_path / name).write_bytes(name.encode())
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in (program.DISK, *program.FIRMWARE)}
    facts = tmp_path / program.FACTS
    facts.write_text(json.dumps({"sources": program.sources(), "files": digests}))
    assert program.is_current(tmp_path)
    facts.write_text(json.dumps({"sources": "older", "files": digests}))
    assert not program.is_current(tmp_path)
    facts.write_text(json.dumps({"sources": program.sources(), "files": digests}))
    (tmp_path / program.DISK).write_bytes(b"damaged")
    assert not program.is_current(tmp_path)
