"""The demo's image: its parts, without the packages of which it is made."""

from __future__ import annotations

import hashlib
import io
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from aero_storage.cli.demo.boot_disc import CONFIGURATION, LOADER, make_disc
from aero_storage.cli.demo.image import make_image
from aero_storage.cli.demo.initial_ram_disk import MODULES, Entry, archive, disk_starter
from aero_storage.cli.demo.packages import Contents
from aero_storage.cli.demo.root_files import SUMS, files, links, make_root, root_entries
from aero_storage.errors import OperatorError

SHELL = b"#! busybox" * 100
LICENCES = {"busybox": b"GPL"}
E2FS = "/usr/sbin:/sbin"
CODE = b"code".ljust(432, b"c")
ISOLINUX = (bytes(64) + b"\xfb\xc0\x78\x70").ljust(5000, b"i")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("mke2fs", path=E2FS) and shutil.which("debugfs", path=E2FS)):
        pytest.skip("e2fsprogs is not installed")
    path = tmp_path_factory.mktemp("root") / "root.ext4"
    make_root(path, 24, files(SHELL, LICENCES))
    return path


def debugfs(image: Path, request: str) -> str:
    command = [shutil.which("debugfs", path=E2FS) or "", "-R", request, str(image)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_same_files_make_the_same_file_system(root: Path, tmp_path: Path) -> None:
    """Two file systems of the same files are equal to the byte."""
    make_root(tmp_path / "again.ext4", 24, files(SHELL, LICENCES))
    assert (tmp_path / "again.ext4").read_bytes() == root.read_bytes()


def test_programs_are_executable(root: Path) -> None:
    """What the guest starts has the mode for it, and belongs to root."""
    for path in ("/bin/busybox", "/bin/verify", "/etc/init.d/rcS"):
        told = debugfs(root, f"stat {path}")
        assert "Mode:  0755" in told
        assert "User:     0   Group:     0" in told


def test_files_are_in_the_file_system(root: Path) -> None:
    """The file of digests is on the disk as it was made, and so is the text of a licence."""
    assert debugfs(root, f"cat {SUMS}").encode() == files(SHELL, LICENCES)[-1].data
    assert debugfs(root, "cat /usr/share/doc/busybox") == "GPL"


def test_digests_cover_every_file() -> None:
    """The guest's list has the SHA-256 of each file but itself."""
    *others, sums = files(SHELL, LICENCES)
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
    entries = [Entry("bin"), Entry("bin/odd", b"12345"), Entry("empty", b""), Entry("sh", b"busybox", is_link=True)]
    source, found = io.BytesIO(b"".join(archive(entries))), []
    while (head := source.read(110)) and len(head) == 110:
        fields = [int(head[at : at + 8], 16) for at in range(6, 110, 8)]
        name = source.read(fields[11]).rstrip(b"\0").decode()
        source.read(-(110 + fields[11]) % 4)
        data = source.read(fields[6])
        source.read(-fields[6] % 4)
        found.append((name, stat.S_IFMT(fields[1]), data))
    assert found == [
        ("bin", stat.S_IFDIR, b""),
        ("bin/odd", stat.S_IFREG, b"12345"),
        ("empty", stat.S_IFREG, b""),
        ("sh", stat.S_IFLNK, b"busybox"),
        ("TRAILER!!!", stat.S_IFREG, b""),
    ]


def test_kernel_without_a_driver_is_refused() -> None:
    """A kernel whose modules lack the disk's driver is refused by name."""
    with pytest.raises(OperatorError, match="ata_piix"):
        disk_starter(SHELL, {"sd_mod": b"module", "ext4": b"module"})


def test_data_of_a_whole_ram_disk_stays_on_the_disc() -> None:
    """Without a file system of its own the guest reads its data from the disc: the RAM disk has the rest."""
    paths = {entry.path for entry in root_entries(files(SHELL, LICENCES))}
    assert {"bin/busybox", "bin/sh", "etc/inittab", "data"} <= paths
    assert not [path for path in paths if path.startswith("data/")]


def disc_files(disc: bytes) -> dict[str, bytes]:
    """The files of the root directory, as ECMA-119 has them."""
    descriptor = disc[16 * 2048 : 17 * 2048]
    assert descriptor[:6] == b"\x01CD001"
    (block,), (length,) = struct.unpack_from("<I", descriptor, 158), struct.unpack_from("<I", descriptor, 166)
    directory, at, found = disc[block * 2048 : block * 2048 + length], 0, {}
    while directory[at]:
        start, size = struct.unpack_from("<I", directory, at + 2)[0], struct.unpack_from("<I", directory, at + 10)[0]
        name = directory[at + 33 : at + 33 + directory[at + 32]]
        if not directory[at + 25] & 2:
            found[name.decode()] = disc[start * 2048 : start * 2048 + size]
        at += directory[at]
    return found


def test_disc_has_its_files() -> None:
    """The files of the disc are found by its directory, to the byte."""
    disc = make_disc(CODE, {LOADER: ISOLINUX, CONFIGURATION: b"DEFAULT x", "EMPTY": b"", "BIG.BIN": b"b" * 100_000})
    found = disc_files(disc)
    assert found.pop("ISOLINUX.BIN;1")[64:] == ISOLINUX[64:]
    assert found == {"ISOLINUX.CFG;1": b"DEFAULT x", "EMPTY;1": b"", "BIG.BIN;1": b"b" * 100_000}
    assert len(disc) % (1 << 20) == 0


def test_disc_starts_as_a_cd() -> None:
    """The boot catalog leads to ISOLINUX, which is told where it lies and what its sum is ("El Torito" §2)."""
    disc = make_disc(CODE, {LOADER: ISOLINUX})
    record = disc[17 * 2048 : 18 * 2048]
    assert record[7:30] == b"EL TORITO SPECIFICATION"
    (catalog,) = struct.unpack_from("<I", record, 71)
    validation = disc[catalog * 2048 : catalog * 2048 + 32]
    assert sum(struct.unpack("<16H", validation)) & 0xFFFF == 0
    (block,) = struct.unpack_from("<I", disc, catalog * 2048 + 32 + 8)
    loader = disc[block * 2048 : block * 2048 + len(ISOLINUX)]
    volume, place, length, told = struct.unpack_from("<4I", loader, 8)
    words = struct.iter_unpack("<I", loader[64:] + bytes(-len(loader) % 4))
    assert (volume, place, length) == (16, block, len(ISOLINUX))
    assert told == sum(word for (word,) in words) & 0xFFFFFFFF


def test_disc_starts_as_a_hard_disk() -> None:
    """The first sector knows where ISOLINUX lies, and its table where the root begins."""
    disc = make_disc(CODE, {LOADER: ISOLINUX}, b"R" * 4096)
    assert disc[:4] == b"code"
    assert disc[510:512] == b"\x55\xaa"
    (sector,) = struct.unpack_from("<I", disc, 432)
    assert disc[sector * 512 + 64 :].startswith(ISOLINUX[64:])
    (first, first_length), (second, second_length) = (
        struct.unpack_from("<II", disc, 446 + 16 * n + 8) for n in (0, 1)
    )
    assert (first, first_length) == (0, second)
    assert disc[second * 512 : (second + second_length) * 512] == b"R" * 4096


def test_other_loaders_are_refused() -> None:
    """An ISOLINUX that cannot start from a hard disk is refused before anything is written."""
    with pytest.raises(OperatorError, match="hard disk"):
        make_disc(CODE, {LOADER: bytes(5000)})


@pytest.mark.parametrize("with_root", [False, True])
def test_image_of_packages(with_root: bool, request: pytest.FixtureRequest) -> None:  # noqa: FBT001
    """An image has the kernel and what starts it; its data is in the root, or on the disc."""
    if with_root:
        request.getfixturevalue("root")  # skips where no file system can be made
    modules = dict.fromkeys(MODULES, b"module")
    contents = Contents(b"kernel", modules, SHELL, CODE, ISOLINUX, b"code", LICENCES, ())
    found = disc_files(make_image(contents, with_root=with_root))
    assert found["VMLINUZ;1"] == b"kernel"
    assert found["LDLINUX.C32;1"] == b"code"
    assert b"INITRD /initrd.gz" in found["ISOLINUX.CFG;1"]
    assert ("BLOCK-0.BIN;1" in found) is not with_root
