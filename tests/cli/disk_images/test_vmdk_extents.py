"""VMDK disks of several files: the files beside the descriptor file are taken, and no others."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.cli.disk_images.sources import examined, unconfined

from aero_storage.cli.disk_images import vmdk_extents
from aero_storage.cli.disk_images.convert import import_to, opened
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.qemu import QemuImg
from aero_storage.cli.disk_images.sandbox import Sandbox
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aero_storage.cli.disk_images.open_image import OpenImage

SECTOR = 512
SPARSE = b"KDMV" + struct.pack("<LLQ", 1, 3, 8) + bytes(SECTOR)
HEAD = '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID={parent}\ncreateType="{kind}"\n'


def text(*lines: str, kind: str = "monolithicFlat", parent: str = "ffffffff") -> bytes:
    return (HEAD.format(kind=kind, parent=parent) + "".join(f"{line}\n" for line in lines)).encode(
        "utf-8", "surrogateescape"
    )


@attrs.frozen
class Place:
    """A directory with a descriptor file and a flat extent of eight sectors."""

    path: Path

    def descriptor(self, *lines: str, kind: str = "monolithicFlat", parent: str = "ffffffff") -> Path:
        (self.path / "disk.vmdk").write_bytes(text(*lines, kind=kind, parent=parent))
        return self.path / "disk.vmdk"

    def refusal(self, *lines: str, kind: str = "monolithicFlat", parent: str = "ffffffff") -> str:
        """Return why a descriptor file is refused; qemu-img is not run."""
        path = self.descriptor(*lines, kind=kind, parent=parent)
        with pytest.raises(OperatorError) as caught, opened(path, find=lambda: QemuImg("", Sandbox((), 1))):
            pass
        assert str(caught.value).isprintable()
        return str(caught.value).replace(str(self.path), "PLACE")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "flat").write_bytes(b"x" * 8 * SECTOR)
    return Place(tmp_path)


def rewritten(path: Path) -> tuple[str, OpenImage]:
    """Return the descriptor file that qemu-img gets."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with vmdk_extents.opened(ImageFile(path, descriptor, path.stat().st_size)) as image:
            return os.pread(image.first, 10_000, 0).decode(), image
    finally:
        os.close(descriptor)


WHOLE = "make one image of them, where they are: qemu-img convert -f vmdk -O qcow2 disk.vmdk disk-whole.qcow2"


@pytest.mark.parametrize("name", ["/etc/passwd", "sub/flat", "../flat", ".", "..", "nbd://host/x", "//x"])
def test_names_with_a_path(place: Place, name: str) -> None:
    """An extent that does not lie beside the descriptor file is refused with its name."""
    assert place.refusal(f'RW 8 FLAT "{name}" 0') == (
        f'PLACE/disk.vmdk: is a disk of several files, which have to lie beside it, and it names "{name}"; {WHOLE}'
    )


@pytest.mark.parametrize("name", ["no", "nbd:127.0.0.1:10809", "json:{}", "\x1b[2J"])
def test_missing_extents(place: Place, name: str) -> None:
    """What qemu would take for a protocol is the name of a file; one that is missing is told."""
    shown = name.replace("\x1b", r"\x1b")
    assert place.refusal(f'RW 8 FLAT "flat" 0\nRW 8 FLAT "{name}" 0') == (
        f'PLACE/disk.vmdk: its extent "{shown}" cannot be opened: No such file or directory; '
        "copy all files of the disk here"
    )


def test_links(place: Place) -> None:
    """An extent that is a symbolic link is refused, wherever it leads."""
    (place.path / "link").symlink_to("flat")
    assert 'its extent "link" is a symbolic link, and none is followed' in place.refusal('RW 8 FLAT "link" 0')


def test_no_regular_files(place: Place) -> None:
    """A FIFO, for which qemu would wait, or a directory is refused."""
    os.mkfifo(place.path / "fifo")
    (place.path / "directory").mkdir()
    for name in ("fifo", "directory"):
        assert place.refusal(f'RW 8 FLAT "{name}" 0').startswith(f"PLACE/{name}: is no regular file")


@pytest.mark.parametrize(
    "line",
    [
        'RW 9 FLAT "flat" 0',
        'RW 8 FLAT "flat" 1',
        'RW 1 FLAT "flat" 999999999999999',
        'RW 999999999999999 FLAT "flat"',
        'RW 9 VMFS "flat"',
    ],
)
def test_cut_short(place: Place, line: str) -> None:
    """A flat extent shorter than the descriptor file says, of which qemu would read zeros, is refused."""
    assert place.refusal(line) == "PLACE/flat: is cut short; copy it here again"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"x" * 2048, "no magic"),
        (b"KDMV" + bytes(2048), "no capacity: it names others"),
        (SPARSE[:56] + b"\xff" * 8 + bytes(2048), "a footer that is none"),
        (SPARSE[:56] + b"\xff" * 8 + bytes(SECTOR) + b"KDMV" + bytes(2 * SECTOR - 4), "a footer without a capacity"),
    ],
)
def test_sparse_extents(place: Place, data: bytes, reason: str) -> None:
    """A sparse extent whose header or footer is none, or in which qemu would look for further names, is refused."""
    (place.path / "sparse").write_bytes(data)
    said = place.refusal('RW 8 SPARSE "sparse"', kind="twoGbMaxExtentSparse")
    assert said.startswith("PLACE/sparse: is no sparse extent of a VMDK disk"), reason


@pytest.mark.parametrize(
    "line",
    [
        "RW 8 ZERO",
        'RDONLY 8 FLAT "flat" 0',
        "NOACCESS 8 ZERO",
        'RW 8 SESPARSE "flat"',
        'RW 0 FLAT "flat" 0',
        "RW 8 FLAT",
    ],
)
def test_unknown_parts(place: Place, line: str) -> None:
    """A part that qemu would leave out, so that what follows moves up, is refused."""
    assert f'has a part that is not read here, "{line}"' in place.refusal('RW 8 FLAT "flat" 0', line)


@pytest.mark.parametrize("kind", ["custom", "vmfsSparse", "seSparse", "fullDevice", "", "streamOptimized"])
def test_unknown_kinds(place: Place, kind: str) -> None:
    """A kind of disk that holds changes to another, or that is a device, is refused."""
    assert f'of a kind that is not read here, "{kind}"' in place.refusal('RW 8 FLAT "flat" 0', kind=kind)


def test_parents(place: Place) -> None:
    """A disk that holds the changes to another is refused with its name."""
    assert 'needs the parent disk "old.vmdk"' in place.refusal('parentFileNameHint="old.vmdk"', 'RW 8 FLAT "flat" 0')
    assert "needs the parent disk that it does not name" in place.refusal(parent="7")


def test_counts(place: Place) -> None:
    """No extents at all are refused, and so are more than any disk has."""
    assert "which it does not name" in place.refusal("no extents")
    assert "are more than 4096" in place.refusal(*['RW 1 FLAT "flat" 0'] * 4097)


def test_descriptor_file_for_qemu(place: Place) -> None:
    """qemu-img gets a descriptor file of ours: nothing of the text but kinds and numbers is in it."""
    (place.path / "\udcff 2").write_bytes(b"y" * 9 * SECTOR)
    path = place.descriptor('RW 8 FLAT "flat" 0', "ddb.x = 1", ' RW  4 FLAT "\udcff 2" 5\r', 'RW 8 VMFS "flat"')
    written, image = rewritten(path)
    first, second, third = (extent.descriptor for extent in image.extents)
    assert written.splitlines() == [
        *["# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff", 'createType="monolithicFlat"'],
        f'RW 8 FLAT "/proc/self/fd/{first}" 0',
        f'RW 4 FLAT "/proc/self/fd/{second}" 5',
        f'RW 8 VMFS "/proc/self/fd/{third}"',
    ]
    assert [extent.path.name for extent in image.extents] == ["flat", "\udcff 2", "flat"]


def test_links_to_the_descriptor_file(place: Place) -> None:
    """Beside the descriptor file is where it lies, not where a link to it lies."""
    elsewhere = place.path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "flat").write_bytes(b"y" * 8 * SECTOR)
    path = place.descriptor('RW 8 FLAT "flat" 0')
    (elsewhere / "link.vmdk").symlink_to(path)
    _, image = rewritten(elsewhere / "link.vmdk")
    assert image.extents[0].size == 8 * SECTOR


def test_directory_that_is_swapped(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Extents are not looked for in a directory that has come into the place of the descriptor file's."""
    path = place.descriptor('RW 8 FLAT "flat" 0')
    other = tmp_path_factory.mktemp("other")
    (other / "flat").write_bytes(b"secret")
    (other / "disk.vmdk").write_bytes(path.read_bytes())
    descriptor = os.open(path, os.O_RDONLY)
    try:
        place.path.rename(place.path.with_name("moved"))
        place.path.symlink_to(other)
        wrong = pytest.raises(OperatorError, match="was moved while it was imported")
        with wrong, vmdk_extents.opened(ImageFile(path, descriptor, (other / "disk.vmdk").stat().st_size)):
            pass
    finally:
        os.close(descriptor)


def test_descriptors_are_closed(place: Place) -> None:
    """Nothing stays open, whether the disk is taken or refused at its last extent."""
    good = place.descriptor('RW 8 FLAT "flat" 0')
    before = len(list(Path("/proc/self/fd").iterdir()))
    rewritten(good)
    place.refusal('RW 8 FLAT "flat" 0', 'RW 9 FLAT "flat" 0')
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# With the real qemu-img


@pytest.fixture
def split(qemu_img: Callable[..., str], disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a disk of two files, as a descriptor file and flat extents."""
    monkeypatch.chdir(tmp_path)
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", disk, "disk.vmdk")
    data, half = (tmp_path / "disk-flat.vmdk").read_bytes(), disk.stat().st_size // 2
    for name, part in (("one.vmdk", data[:half]), ("two.vmdk", data[half:])):
        (tmp_path / name).write_bytes(part)
    lines = (f'RW {half // SECTOR} FLAT "{name}.vmdk" 0' for name in ("one", "two"))
    (tmp_path / "disk.vmdk").write_bytes(text(*lines, kind="twoGbMaxExtentFlat"))
    return tmp_path / "disk.vmdk"


@pytest.mark.usefixtures("landlock_abi")
def test_several_files(split: Path, disk: Path) -> None:
    """A disk of several files comes in, in their order."""
    target = split.with_name("target")
    with examined(split) as source:
        import_to(source, target, lambda _: None)
    assert target.read_bytes() == disk.read_bytes()


@pytest.mark.usefixtures("landlock_abi")
@pytest.mark.parametrize("when", ["before", "during"])
def test_extents_that_are_swapped(split: Path, when: str) -> None:
    """A file that comes into the place of an extent is not read; that it was replaced is told with its name."""
    target, secret = split.with_name("target"), b"secret!!" * 1024 * 1024

    def swap(_: int = 0) -> None:
        split.with_name("new").write_bytes(secret)
        split.with_name("new").replace(split.with_name("two.vmdk"))

    with examined(split) as source:
        if when == "before":
            swap()
        wrong = pytest.raises(OperatorError, match=r"/two.vmdk: changed while it was imported")
        with wrong:
            import_to(source, target, lambda _: None if when == "before" else swap())
    assert not target.exists()


@pytest.mark.usefixtures("landlock_abi")
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_sparse_extents_cut_short(
    qemu_img: Callable[..., str], disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """A sparse extent whose end is missing, of which qemu would read zeros, is refused."""
    monkeypatch.chdir(tmp_path)
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", disk, "disk.vmdk")
    extent = tmp_path / "disk-s001.vmdk"
    os.truncate(extent, int(extent.stat().st_size * share))
    with pytest.raises(OperatorError, match=r"cut short|cannot be read"), examined(tmp_path / "disk.vmdk"):
        pass


@pytest.mark.usefixtures("qemu_img")
def test_without_landlock(split: Path) -> None:
    """Where nothing confines qemu-img, such a disk is refused, and the message says why."""
    with pytest.raises(OperatorError) as caught, opened(split, find=unconfined):
        pass
    assert str(caught.value) == (
        f"{split}: is a disk of several files, which are read only where Landlock confines qemu-img to them "
        f"(Linux 5.13, if enabled); {WHOLE}"
    )
