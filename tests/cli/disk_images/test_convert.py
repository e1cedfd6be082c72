"""Real images of every format become raw files, byte for byte, or are refused in one line that says what to do."""

from __future__ import annotations

import fcntl
import itertools
import os
import shlex
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.cli.disk_images import hand_made
from tests.cli.disk_images.sources import examined
from tests.disk_bytes import noise_disk
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import disk_usage
from aero_storage.cli.disk_images.convert import import_to
from aero_storage.cli.disk_images.formats import FORMATS
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., str]

MI = 2**20
EVERY = {
    "raw": ("raw", ["-O", "raw"]),
    "qcow2": ("qcow2", ["-O", "qcow2"]),
    "qcow2 version 2": ("qcow2", ["-O", "qcow2", "-o", "compat=0.10"]),
    "qcow2 compressed": ("qcow2", ["-c", "-O", "qcow2"]),
    "qcow2 preallocated": ("qcow2", ["-O", "qcow2", "-o", "preallocation=full"]),
    "qcow2 extended": ("qcow2", ["-O", "qcow2", "-o", "extended_l2=on"]),
    "qcow": ("qcow", ["-O", "qcow"]),
    "qed": ("qed", ["-O", "qed"]),
    "vmdk monolithicSparse": ("vmdk", ["-O", "vmdk"]),
    "vmdk streamOptimized": ("vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]),
    "vdi": ("vdi", ["-O", "vdi"]),
    "vdi static": ("vdi", ["-O", "vdi", "-o", "static=on"]),
    "vhd": ("vhd", ["-O", "vpc"]),
    "vhd exact": ("vhd", ["-O", "vpc", "-o", "force_size=on"]),
    "vhd fixed": ("vhd", ["-O", "vpc", "-o", "subformat=fixed"]),
    "vhdx": ("vhdx", ["-O", "vhdx"]),
    "vhdx fixed": ("vhdx", ["-O", "vhdx", "-o", "subformat=fixed"]),
    "parallels": ("parallels", ["-O", "parallels"]),
}


@attrs.frozen
class Bench:
    """Makes images of the disk, and takes them in."""

    place: Path
    disk: Path
    run: Run

    def image(self, kind: str, name: str = "source.img") -> Path:
        _, words = EVERY[kind]
        self.run("convert", "-f", "raw", *words, self.disk, self.place / name)
        return self.place / name

    def made(self, *words: str) -> None:
        """Run qemu-img in the directory of the images, so that they know each other by bare names."""
        os.chdir(self.place)  # monkeypatch brings the test back
        self.run(*words)

    def brought(self, path: Path, override: str | None = None) -> bytes:
        target = self.place / "brought.img"
        told: list[int] = []
        with examined(path, override) as source:
            import_to(source, target, told.append)
            assert sum(told) == source.size == target.stat().st_size
        assert disk_usage(target) <= disk_usage(self.disk) + 64 * 1024
        return target.read_bytes()

    def is_disk(self, data: bytes) -> bool:
        """Whether these bytes are the disk's; a VHD may be rounded up to whole cylinders."""
        size = self.disk.stat().st_size
        return data[:size] == self.disk.read_bytes() and not any(data[size:]) and len(data) < size + MI


@pytest.fixture
def bench(tmp_path: Path, disk: Path, qemu_img: Run, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, disk, qemu_img)


def refusal(path: Path, override: str | None = None) -> str:
    with pytest.raises(OperatorError) as caught, examined(path, override):
        pass
    said = str(caught.value)
    assert said.isprintable()
    assert said.startswith(f"{path}: ")
    return said.removeprefix(f"{path}: ")


def taken(path: Path, target: Path, override: str | None = None) -> None:
    with examined(path, override) as source:
        import_to(source, target, lambda _: None)


def patch(path: Path, offset: int, data: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return path


# What comes in


@pytest.mark.parametrize("kind", EVERY)
def test_every_format(bench: Bench, kind: str) -> None:
    """An image of any format is known for what it is, and comes in byte for byte, its holes as holes."""
    path = bench.image(kind)
    name, _ = EVERY[kind]
    with examined(path) as source:
        assert (source.path, source.format, source.is_raw) == (path, name, name == "raw")
    data = bench.brought(path)
    assert bench.is_disk(data)
    assert name == "vhd" or len(data) == bench.disk.stat().st_size


HAND_MADE = {"bochs": hand_made.bochs, "dmg": hand_made.dmg}


@pytest.mark.parametrize("name", HAND_MADE)
def test_formats_that_qemu_only_reads(bench: Bench, name: str) -> None:
    """An image of Bochs or Apple comes in byte for byte, found out or named; without its end it is refused."""
    path = bench.place / "source.img"
    path.write_bytes(HAND_MADE[name](bench.disk.read_bytes()))
    with examined(path) as source:
        assert source.format == name
    assert bench.brought(path) == bench.disk.read_bytes()
    (bench.place / "brought.img").unlink()
    assert bench.brought(path, name) == bench.disk.read_bytes()
    os.truncate(path, path.stat().st_size * 9 // 10)
    assert "cut short" in refusal(path) or "is not recognised as a disk" in refusal(path)


def test_qcow2_with_a_bitmap_cut_short(bench: Bench) -> None:
    """Of a bitmap whose end is missing qemu says that it is wrong; the message says that the file is cut short."""
    path = bench.image("qcow2")
    bench.made("bitmap", "--add", "--enable", str(path), "changes")
    bench.run("info", path)
    for share in (0.99, 0.9, 0.5):
        os.truncate(path, int(path.stat().st_size * share))
        assert refusal(path) == "is cut short; copy it here again"


def test_corrupt_qcow2(bench: Bench) -> None:
    """An image that qemu has marked as corrupt is refused with the command that mends it, and comes in then."""
    path = patch(bench.image("qcow2"), 72, struct.pack(">Q", 2))
    said = refusal(path)
    assert said.startswith("is marked as corrupt by qemu; mend a copy of it first: ")
    subprocess.run(shlex.split(said.partition(": ")[2]), check=True, capture_output=True, timeout=60)
    assert bench.is_disk(bench.brought(path))


def test_zstd(bench: Bench) -> None:
    """A qcow2 image packed with zstd comes in, where qemu knows zstd."""
    path = bench.place / "source.img"
    words = ["-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd"]
    try:
        bench.run("convert", *words, bench.disk, path)
    except AssertionError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"this qemu has no zstd: {error}")
    assert bench.is_disk(bench.brought(path))


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in {"qcow", "bochs", "dmg"}])
def test_format_that_is_named(bench: Bench, name: str) -> None:
    """The operator may name the format that it is."""
    kind = "vmdk monolithicSparse" if name == "vmdk" else name
    assert bench.is_disk(bench.brought(bench.image(kind), name))


@pytest.mark.parametrize("kind", ["vhd exact", "vhd fixed"])
def test_vhd_of_virtualbox(bench: Bench, kind: str) -> None:
    """The end of a VHD comes in although its geometry, which VirtualBox rounds down, leaves it out."""
    path = bench.image(kind)
    size = path.stat().st_size
    for offset in [size - 512] if kind == "vhd fixed" else [0, size - 512]:
        footer = bytearray(path.read_bytes()[offset : offset + 512])
        footer[28:32] = b"vbox"
        footer[48:60] = struct.pack(">QHBB", 16 * MI, 481, 4, 17)
        footer[64:68] = bytes(4)
        footer[64:68] = struct.pack(">L", ~sum(footer) & 0xFFFFFFFF)
        patch(path, offset, bytes(footer))
    assert 16 * MI > 481 * 4 * 17 * 512
    assert bench.brought(path) == bench.disk.read_bytes()


def test_raw_that_looks_like_qcow2(bench: Bench) -> None:
    """A file that begins like qcow2 is taken for that, unless the operator says that it is raw."""
    path = bench.image("qcow2")
    with examined(path) as source:
        assert source.format == "qcow2"
    target = bench.place / "as-raw.img"
    taken(path, target, "raw")
    assert target.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("size", [1, 511, 513, 4097, MI + 1])
def test_odd_sizes_of_raw(tmp_path: Path, size: int) -> None:
    """A raw image of any size comes in without a byte more or less."""
    path, target = tmp_path / "source.img", tmp_path / "target.img"
    path.write_bytes(noise_disk(size, size))
    taken(path, target, "raw")
    assert target.read_bytes() == path.read_bytes()


def test_raw_needs_no_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw image comes in without qemu-img; for another the package that has it is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "source.img"
    path.write_bytes(noise_disk(1, 1024))
    taken(path, tmp_path / "target.img")
    path.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(1024))
    with pytest.raises(OperatorError, match="qemu-utils"):
        taken(path, tmp_path / "other.img")


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_everybody_may_read(bench: Bench, kind: str) -> None:
    """The new file can be read by the server whatever the operator's umask, and the source is left alone."""
    path = bench.image(kind)
    before = path.stat()
    mask = os.umask(0o077)
    try:
        taken(path, bench.place / "target.img")
    finally:
        os.umask(mask)
    assert (bench.place / "target.img").stat().st_mode & 0o7777 == 0o644
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_extents(bench: Bench, kind: str, landlock_abi: int) -> None:  # noqa: ARG001 - it has to be there
    """A VMDK disk of several files comes in."""
    bench.made("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", str(bench.disk), "top.vmdk")
    assert bench.is_disk(bench.brought(bench.place / "top.vmdk"))


# What is refused


def test_backing_file(bench: Bench) -> None:
    """An image on top of another is refused, and the command that we give makes it one that comes in."""
    bench.image("raw", "base.img")
    bench.made("create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "top.qcow2")
    mended(bench, bench.place / "top.qcow2", 'needs the backing file "base.img"')


def test_data_file(bench: Bench) -> None:
    """A qcow2 image whose data lie in another file is refused, and can be mended."""
    bench.made("convert", "-f", "raw", "-O", "qcow2", "-o", "data_file=d.raw", str(bench.disk), "top.qcow2")
    mended(bench, bench.place / "top.qcow2", 'needs the data file "d.raw"')


def test_parent_disk(bench: Bench) -> None:
    """A VMDK disk that holds the changes to another is refused, and can be mended."""
    bench.image("vmdk monolithicSparse", "base.vmdk")
    bench.made("create", "-q", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "top.vmdk")
    mended(bench, bench.place / "top.vmdk", 'needs the parent disk "base.vmdk"')


@pytest.mark.parametrize("name", ["qcow2", "qcow"])
def test_encrypted(bench: Bench, name: str) -> None:
    """An encrypted image is refused, and can be mended with the passphrase."""
    (bench.place / "FILE-WITH-THE-PASSPHRASE").write_text("open sesame")
    secret = ["--object", "secret,id=key,file=FILE-WITH-THE-PASSPHRASE"]
    options = ["-o", "encrypt.format=aes,encrypt.key-secret=key"]
    bench.made("convert", *secret, "-f", "raw", "-O", name, *options, str(bench.disk), f"top.{name}")
    mended(bench, bench.place / f"top.{name}", "is encrypted")


def mended(bench: Bench, path: Path, why: str) -> None:
    """Have an image refused for a reason, then do as we are told."""
    said = refusal(path)
    assert said.startswith(why)
    command = shlex.split(said.partition(": ")[2])
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True, timeout=60)
    assert bench.is_disk(bench.brought(path.parent / command[-1]))


def test_part_of_a_disk(bench: Bench) -> None:
    """One of the files that a VMDK disk is spread over is refused."""
    options = ["-o", "subformat=twoGbMaxExtentSparse"]
    bench.made("convert", "-f", "raw", "-O", "vmdk", *options, str(bench.disk), "top.vmdk")
    assert "is one part of a VMDK disk" in refusal(bench.place / "top-s001.vmdk")


@pytest.mark.parametrize("name", [b"json:{}", b"/etc/passwd", b"nbd:127.0.0.1:9", b"\x1b]0;pwned\x07"])
@pytest.mark.parametrize("how", ["backing", "data"])
def test_hostile_names(bench: Bench, name: bytes, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that asks for a file of ours, or for the network, is refused before qemu is even looked for."""
    name = name.ljust(16, b"x")
    if how == "backing":
        bench.made("create", "-q", "-f", "qcow2", "-u", "-b", "b" * 16, "-F", "raw", "top.qcow2", "1M")
    else:
        bench.made("create", "-q", "-f", "qcow2", "-o", f"data_file={'b' * 16}", "top.qcow2", "1M")
    path = bench.place / "top.qcow2"
    path.write_bytes(path.read_bytes().replace(b"b" * 16, name))
    monkeypatch.setenv("PATH", "/nonexistent")
    shown = name.decode().replace("\x1b", "\\x1b").replace("\x07", "\\x07")
    assert f'{how} file "{shown}"' in refusal(path)


def test_second_opinion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where qemu sees another file, a key or a size of zero that we have missed, the image is refused too."""
    path = bench.image("qcow2")
    program = bench.place / "qemu-img"
    monkeypatch.setenv("PATH", str(bench.place), prepend=os.pathsep)
    for more, told in [
        ('"virtual-size": 512, "backing-filename": "/etc/passwd"', 'needs the file "/etc/passwd"'),
        ('"virtual-size": 512, "encrypted": true', "is encrypted"),
        ('"virtual-size": 0', "holds a disk of no bytes"),
    ]:
        program.write_text(f"#!/bin/sh\necho '{{{more}}}'\n")
        program.chmod(0o755)
        assert told in refusal(path)


def test_disk_of_no_bytes(bench: Bench) -> None:
    """An image of nothing is refused."""
    bench.made("create", "-q", "-f", "qcow2", "none.qcow2", "0")
    assert refusal(bench.place / "none.qcow2") == "holds a disk of no bytes; there is nothing to import"


@pytest.mark.parametrize(
    "kind",
    [
        "parallels",
        "qcow2",
        "qcow2 compressed",
        "qed",
        "vmdk monolithicSparse",
        "vmdk streamOptimized",
        "vdi",
        "vdi static",
        "vhd",
        "vhdx",
        "vhdx fixed",
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_cut_short(bench: Bench, kind: str, share: float) -> None:
    """An image whose end is missing is refused, where qemu alone would take zeros for it."""
    path = bench.image(kind)
    os.truncate(path, int(path.stat().st_size * share))
    said = refusal(path)
    assert "cut short" in said or "cannot be read" in said


@pytest.mark.parametrize(
    ("magic", "name"),
    [
        (b"QFI\xfb\0\0\0\3" + bytes(8), "qcow2"),
        (b"QFI\xfb\0\0\0\2" + bytes(8), "qcow2"),
        (b"QFI\xfb\0\0\0\7" + bytes(8), "qcow2"),
        (b"QFI\xfb\0\0\0\1" + bytes(8), "qcow"),
        (b"vhdxfile", "vhdx"),
        (b"QED\0" + bytes(20), "qed"),
        (bytes(64) + struct.pack("<L", 0xBEDA107F), "vdi"),
        (b"conectix", "vhd"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (b"# Disk DescriptorFile\n", "vmdk"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
        (b"Bochs Virtual HD Image", "bochs"),
    ],
)
@pytest.mark.parametrize("rest", [b"", b"\xff" * 100_000, b"\x01" * 5000, b"text\n" * 100], ids=range(4))
def test_garbage_after_a_magic(bench: Bench, magic: bytes, name: str, rest: bytes) -> None:
    """What only begins like an image is refused in one line, whatever follows, and by its name no less."""
    path = bench.place / "source.img"
    path.write_bytes(magic + rest)
    assert len(refusal(path)) < 500
    if name in FORMATS:
        assert len(refusal(path, name)) < 500


def test_vdi_with_a_parent(bench: Bench) -> None:
    """A VDI with a parent is refused before qemu looks at it."""
    path = patch(bench.image("vdi"), 0x1B8, b"\1" * 16)
    assert refusal(path).startswith("holds only differences to a parent disk; make a whole image")


def test_vhdx_with_a_parent(bench: Bench) -> None:
    """A VHDX that holds the changes to another is refused in qemu's words."""
    path = bench.image("vhdx")
    data = path.read_bytes()
    region = data.index(b"metadata")
    parameters = data.index(bytes.fromhex("37 67 a1 ca 36 fa 43 4d b3 b6 33 f0 aa 44 e7 6b"), region)
    (offset,) = struct.unpack_from("<L", data, parameters + 16)
    flags = region + offset + 4
    patch(path, flags, bytes([data[flags] | 2]))
    assert refusal(path).startswith("cannot be read as vhdx: ")


def test_image_in_use(bench: Bench) -> None:
    """The disk of a machine that runs is refused."""
    path = bench.image("qcow2")
    with path.open("rb") as file:
        # The byte that qemu locks in what it writes to; a plain lock would end when examine closes the file.
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0))
        assert "another process using the image" in refusal(path)


# What goes wrong later


@attrs.define
class Interrupting:
    """Raises an exception when some bytes are done."""

    error: BaseException
    calls: Iterator[int] = attrs.field(factory=itertools.count)

    def __call__(self, _: int) -> None:
        if next(self.calls) == 1:
            raise self.error


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()], ids=repr)
def test_interrupted(bench: Bench, kind: str, error: BaseException) -> None:
    """Control-C and any error on the way leave no file behind."""
    target = bench.place / "target.img"
    with examined(bench.image(kind)) as source:
        with pytest.raises(type(error)):
            import_to(source, target, Interrupting(error))
        assert not target.exists()
        import_to(source, target, lambda _: None)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_source_that_changes(bench: Bench, kind: str) -> None:
    """An image that has changed since it was looked at, before or during the work, is not brought in."""
    path = bench.image(kind)
    target = bench.place / "target.img"
    with examined(path) as source:
        with pytest.raises(OperatorError, match="changed while it was imported"):
            import_to(source, target, lambda _: os.utime(path, ns=(0, 0)))
        assert not target.exists()
        with pytest.raises(OperatorError, match="changed while it was imported"):
            import_to(source, target, lambda _: None)
        assert not target.exists()


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_rewrite_that_restores_the_time(bench: Bench, kind: str) -> None:
    """A rewrite that sets the time of the last write back is noticed as well."""
    path = bench.image(kind)
    before = path.stat()

    def rewrite(_: int) -> None:
        patch(path, before.st_size - 1, b"x")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    with examined(path) as source, pytest.raises(OperatorError, match="changed while it was imported"):
        import_to(source, bench.place / "target.img", rewrite)
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (before.st_mtime_ns, before.st_size)


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_target_that_is_there(bench: Bench, kind: str) -> None:
    """A file that is there already is not touched."""
    target = bench.place / "target.img"
    target.write_text("precious")
    with pytest.raises(OperatorError, match=r"target.img: File exists$"):
        taken(bench.image(kind), target)
    assert target.read_text() == "precious"


def test_disk_of_another_size(bench: Bench) -> None:
    """A file that comes out in another size than was promised is an error, and removed."""
    wrong = pytest.raises(OperatorError, match="16777216 bytes came in, not the 4711 of the disk")
    with examined(bench.image("qcow2")) as source, wrong:
        import_to(attrs.evolve(source, size=4711), bench.place / "target.img", lambda _: None)
    assert not (bench.place / "target.img").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that is soon full."""
    place = tmp_path / "small"
    place.mkdir()
    with mounted_tmpfs(place, "1m"):
        yield place


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_full_disk(bench: Bench, small_disk: Path, kind: str) -> None:
    """A disk that is full is told in one line, and nothing is left on it."""
    with pytest.raises(OperatorError, match=r"is too full: \d MiB are free") as caught:
        taken(bench.image(kind), small_disk / "target.img")
    assert str(caught.value).isprintable()
    assert list(small_disk.iterdir()) == []
