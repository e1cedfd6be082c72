"""Formats told from bytes, and images refused because not all of them is in their file."""

from __future__ import annotations

import os
import re
import shlex
import socket
import struct
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.cli.disk_images.formats import (
    FORMATS,
    ImageFile,
    choose,
    detect,
    opened,
    refuse_incomplete,
)
from aero_storage.cli.disk_images.lengths import refuse_cut_short
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTOR = 512
DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=5c0f71cd
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
RW 16384 FLAT "disk-flat.vmdk" 0
"""
MAGICS = [
    b"QFI\xfb\0\0\0\1",
    b"QFI\xfb\0\0\0\2",
    b"QFI\xfb\0\0\0\3",
    b"KDMV",
    b"COWD",
    DESCRIPTOR,
    b"QED\0",
    b"vhdxfile",
    b"WithoutFreeSpace",
    b"Bochs Virtual HD Image",
]


def filled(size: int, *parts: tuple[int, bytes]) -> bytes:
    """Zeros with a few parts at their offsets."""
    data = bytearray(size)
    for offset, part in parts:
        data[offset : offset + len(part)] = part
    return bytes(data)


def qcow2(*parts: tuple[int, bytes], version: int = 3) -> bytes:
    return filled(4096, (0, b"QFI\xfb" + struct.pack(">L", version)), (100, struct.pack(">L", 104)), *parts)


def qcow(*parts: tuple[int, bytes]) -> bytes:
    return qcow2(*parts, version=1)


def backing(name: bytes, offset: int = 1000) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    return (8, struct.pack(">QL", offset, len(name))), (offset, name)


def vmdk(text: bytes, *parts: tuple[int, bytes], capacity: int = 16384) -> bytes:
    header = b"KDMV" + struct.pack("<LLQQQQ", 1, 3, capacity, 128, 1, 20)
    return filled(32 * SECTOR, (0, header), (SECTOR, text), *parts)


def vmdk_with_footer(text: bytes) -> bytes:
    """A harmless header that gives way to the one in the footer, whose descriptor is `text`."""
    footer = b"KDMV" + struct.pack("<LLQQQQ", 1, 3, 16384, 128, 21, 20)
    whole = vmdk(sparse(), (56, b"\xff" * 8)) + bytes(32 * SECTOR)
    return filled(len(whole), (0, whole), (21 * SECTOR, text), (len(whole) - 2 * SECTOR, footer))


def sparse(parent: bytes = b"ffffffff", more: bytes = b"") -> bytes:
    return b'# Disk DescriptorFile\nversion=1\nparentCID=%s\ncreateType="monolithicSparse"\n%s' % (parent, more)


def vhd(kind: int, size: int = 4096) -> bytes:
    return filled(SECTOR, (0, b"conectix"), (48, struct.pack(">Q", size)), (60, struct.pack(">L", kind)))


def vdi(allocated: int, length: int, *parts: tuple[int, bytes]) -> bytes:
    numbers = (0x158, struct.pack("<L", 1024)), (0x178, struct.pack("<LLLL", 4096, 0, 8, allocated))
    return filled(length, (64, struct.pack("<LL", 0xBEDA107F, 0x00010001)), *numbers, *parts)


def qed(name: bytes = b"") -> bytes:
    parts = (16, struct.pack("<Q", bool(name))), (56, struct.pack("<LL", 64, len(name))), (64, name)
    return filled(4096, (0, b"QED\0"), *parts)


def bochs(*used: int, size: int, kind: bytes = b"Growing") -> bytes:
    """An image of 64 extents of 4096 bytes, of which some are used; each has 512 bytes of bitmap before it."""
    catalog = struct.pack("<64L", *used, *(64 - len(used)) * [2**32 - 1])
    numbers = struct.pack("<LLLLLLQ", 0x20000, 512, 64, 1, 4096, 0, 64 * 4096)
    return filled(size, (0, b"Bochs Virtual HD Image"), (32, b"Redolog"), (48, kind), (64, numbers), (512, catalog))


def parallels(*entries: int, size: int, magic: bytes = b"WithoutFreeSpace", cluster: int = 8) -> bytes:
    """An image of three clusters, the last of which has one sector; `entries` are where they are, 0 for nowhere."""
    numbers = struct.pack("<LLLLLQ", 2, 16, 1, cluster, 3, 2 * cluster + 1)
    return filled(size, (0, magic), (16, numbers), (64, struct.pack("<3L", *entries)))


def dmg(data_end: int, list_end: int, parts: int = 1, size: int = 4096) -> bytes:
    """A trailer behind so many bytes; `data_end` and `list_end` are what it says of data and property list."""
    head = b"koly" + struct.pack(">LL", 4, 512)
    ends = (
        (24, struct.pack(">QQ", 0, data_end)),
        (216, struct.pack(">QQ", 0, list_end)),
        (56, struct.pack(">LL", 1, parts)),
    )
    return bytes(size) + filled(SECTOR, (0, head), *ends)


def bitmaps(directory: int, table: int) -> bytes:
    """A qcow2 image of 4096 bytes with one bitmap, whose directory and table are at these offsets."""
    extension = struct.pack(">LLLLQQ", 0x23852875, 24, 1, 0, 32, directory)
    entry = struct.pack(">QLLBBHL", table, 1, 2, 1, 16, 1, 0) + b"b"
    return qcow2((104, extension), (directory, entry))[:4096]


@contextmanager
def seen(data: bytes, name: str = "disk.img") -> Iterator[ImageFile]:
    """Hold bytes as a file in memory."""
    descriptor = os.memfd_create(name)
    try:
        os.write(descriptor, data)
        yield ImageFile(Path("/images") / name, descriptor, len(data))
    finally:
        os.close(descriptor)


def refusal(data: bytes, name: str, file: str = "disk.img") -> str:
    with seen(data, file) as image, pytest.raises(OperatorError) as caught:
        require_whole(image, name)
    return str(caught.value)


def require_whole(image: ImageFile, name: str) -> None:
    refuse_incomplete(image, name)
    refuse_cut_short(image, name)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (qcow2(), "qcow2"),
        (qcow2(version=2), "qcow2"),
        (qcow2(version=4), "qcow2"),  # qemu says better than we what is wrong with it
        (qcow(), "qcow"),
        (vmdk(sparse()), "vmdk"),
        (b"COWD" + bytes(4096), "vmdk"),
        (DESCRIPTOR, "vmdk"),
        (b"\r\n" + DESCRIPTOR.lower(), "vmdk"),
        (vdi(0, 4096), "vdi"),
        (b"vhdxfile" + bytes(4096), "vhdx"),
        (vhd(3) + bytes(4096) + vhd(3), "vhd"),
        (bytes(4096) + vhd(2), "vhd"),
        (bytes(4096) + vhd(2)[:511], "vhd"),
        (qed(), "qed"),
        (b"WithoutFreeSpace" + bytes(4096), "parallels"),
        (b"WithouFreSpacExt" + bytes(4096), "parallels"),
        (bochs(size=4096), "bochs"),
        (dmg(0, 0), "dmg"),
        (qcow2() + vhd(2), "qcow2"),
    ],
)
def test_formats_by_magic(data: bytes, name: str) -> None:
    """Every format that we know is told by its own magic, the one at the start before the one at the end."""
    with seen(data) as image:
        assert detect(image) == name


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"QFI",
        b"QFI\xfa\0\0\0\3",
        bytes(4096),
        b"conectiX" + bytes(1000),
        bytes(4096) + vhd(2) + bytes(SECTOR),
        b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa",
        b"# A disk descriptor file",
        bytes(60) + struct.pack("<L", 0xBEDA107F),
        b"WithoutFreeSpacX" + bytes(4096),
        bytes(4096) + b"koly" + bytes(508),  # without the length of the trailer
        dmg(0, 0) + b"x",
    ],
)
def test_all_else_has_no_format(data: bytes) -> None:
    """Bytes without a magic at its place are no format of qemu's, however few."""
    with seen(data) as image:
        assert detect(image) == "raw"


def test_operators_choice() -> None:
    """The operator may call anything raw, and names a format among those whose magic is there."""
    with seen(qcow2() + vhd(2)) as both:
        assert [choose(both, name) for name in ("raw", "qcow2", "vhd", None)] == ["raw", "qcow2", "vhd", "qcow2"]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "raw"])
def test_choice_that_cannot_be(name: str) -> None:
    """A format whose magic is missing is refused with what the file looks like."""
    with seen(bytes(4096)) as image, pytest.raises(OperatorError) as caught:
        choose(image, name)
    assert str(caught.value) == (
        f"/images/disk.img: is no {name} image (it looks like raw); leave out --format {name}"
    )


def test_choice_of_no_format() -> None:
    """A format that we do not take is refused with those that we do."""
    with seen(bytes(4096)) as image, pytest.raises(OperatorError, match="they are raw, qcow2, qcow, vmdk, vdi, vhd"):
        choose(image, "iso")


@pytest.mark.parametrize(
    ("data", "name", "needed"),
    [
        (qcow2(*backing(b"base.qcow2")), "qcow2", 'the backing file "base.qcow2"'),
        (qcow2(*backing(b"base.qcow2"), version=2), "qcow2", 'the backing file "base.qcow2"'),
        (qcow2(*backing(b"/etc/passwd")), "qcow2", 'the backing file "/etc/passwd"'),
        (qcow2(*backing(b"json:{}")), "qcow2", 'the backing file "json:{}"'),
        (qcow2(*backing(b"")), "qcow2", "the backing file that it does not name"),
        (qcow2(*backing(b"base", offset=4094))[:4096], "qcow2", 'the backing file "ba"'),
        (qcow2(*backing(b"base", offset=2**63)[:1]), "qcow2", "the backing file that it does not name"),
        (qcow2(*backing(b"\x1b[2J\xff\n")), "qcow2", r'the backing file "\x1b[2J\xff\n"'),
        (qcow2(*backing(b"x" * 500)), "qcow2", f'the backing file "{"x" * 80}…"'),
        (qcow2((72, struct.pack(">Q", 4))), "qcow2", "the data file that it does not name"),
        (
            qcow2(
                (72, struct.pack(">Q", 5)),
                (104, struct.pack(">LL5s", 0xE2792ACA, 5, b"qcow2")),
                (120, struct.pack(">LL", 0x44415441, 8) + b"disk.raw"),
            ),
            "qcow2",
            'the data file "disk.raw"',
        ),
        (qcow(*backing(b"base.img")), "qcow", 'the backing file "base.img"'),
        (qed(b"base.img"), "qed", 'the backing file "base.img"'),
        (DESCRIPTOR, "vmdk", 'the extent "disk-flat.vmdk"'),
        (b'RW 1 FLAT "nbd:host:1" 0', "vmdk", 'the extent "nbd:host:1"'),
        (b"# Disk DescriptorFile", "vmdk", "the extent that it does not name"),
        (vmdk(DESCRIPTOR, capacity=0), "vmdk", 'the extent "disk-flat.vmdk"'),
        (vmdk(sparse(b"9e6c17da")), "vmdk", "the parent disk that it does not name"),
        (vmdk(sparse(b"9E6C17DA", b'parentFileNameHint="old.vmdk"')), "vmdk", 'the parent disk "old.vmdk"'),
        (vmdk(sparse(more=b'parentFileNameHint="/etc/passwd"')), "vmdk", 'the parent disk "/etc/passwd"'),
        (vmdk_with_footer(sparse(more=b'parentFileNameHint="old.vmdk"')), "vmdk", 'the parent disk "old.vmdk"'),
    ],
)
def test_other_files(data: bytes, name: str, needed: str) -> None:
    """An image that needs another file is refused with the file's name, in print, and the command that mends it."""
    assert refusal(data, name) == (
        f"/images/disk.img: needs {needed}, not opened; make one image of both, where they are: "
        f"qemu-img convert -f {name} -O qcow2 disk.img disk-whole.qcow2"
    )


@pytest.mark.parametrize(
    "data",
    [b"COWD" + bytes(4096), vmdk(b""), filled(4096, (0, b"KDMV"), (12, b"\1"))],
    ids=["ESX", "split", "no text"],
)
def test_parts_of_disks(data: bytes) -> None:
    """One extent of a VMDK disk, of which qemu would make a disk with holes, is refused."""
    assert refusal(data, "vmdk") == (
        "/images/disk.img: is one part of a VMDK disk; make a whole image from the disk's descriptor file: "
        "qemu-img convert -f vmdk -O qcow2 DISK.vmdk DISK-whole.qcow2"
    )


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (qcow2((32, struct.pack(">L", 1))), "qcow2"),
        (qcow2((32, struct.pack(">L", 2)), version=2), "qcow2"),
        (qcow((36, struct.pack(">L", 1))), "qcow"),
    ],
)
def test_encrypted(data: bytes, name: str) -> None:
    """An encrypted image is refused with the command that decrypts it."""
    assert refusal(data, name) == (
        "/images/disk.img: is encrypted; decrypt it first: "
        "qemu-img convert --object secret,id=key,file=FILE-WITH-THE-PASSPHRASE -O qcow2 "
        f"--image-opts driver={name},encrypt.key-secret=key,file.filename=disk.img disk-whole.qcow2"
    )


@pytest.mark.parametrize("data", [vhd(4) + bytes(1024) + vhd(4), bytes(4096) + vhd(4)])
def test_differencing_vhd(data: bytes) -> None:
    """A VHD that holds only differences, which qemu would read as a whole disk, is refused."""
    said = refusal(data, "vhd")
    assert "holds only differences to a parent disk" in said
    assert "Convert-VHD -Path disk.img -DestinationPath disk-whole.vhdx" in said


@pytest.mark.parametrize(
    "parts",
    [(0x4C, b"\4"), (0x4C, b"\3"), (0x1A8, b"\1"), (0x1B8 + 15, b"\1")],
    ids=["type", "undo", "link", "parent"],
)
def test_vdi_with_a_parent(parts: tuple[int, bytes]) -> None:
    """A VDI that holds only differences is refused with the command that makes it whole."""
    assert refusal(vdi(0, 4096, parts), "vdi") == (
        "/images/disk.img: holds only differences to a parent disk; make a whole image, where both are: "
        "VBoxManage clonemedium disk disk.img disk-whole.vdi"
    )


def test_corrupt_qcow2() -> None:
    """A qcow2 image that qemu has marked as corrupt is refused with the command that repairs it."""
    assert refusal(qcow2((72, struct.pack(">Q", 2))), "qcow2") == (
        "/images/disk.img: is marked as corrupt by qemu; mend a copy of it first: "
        "qemu-img check -r all /images/disk.img"
    )


def test_bochs_image_that_needs_another() -> None:
    """A Bochs image of changes to another one is refused."""
    assert "needs another image; commit it by bximage first" in refusal(bochs(size=4096, kind=b"Undoable"), "bochs")


def test_dmg_in_parts() -> None:
    """A DMG in several files is refused."""
    assert "is one part of a DMG in several" in refusal(dmg(0, 0, parts=2), "dmg")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (vhd(3) + bytes(1024), "vhd"),
        (bytes(2048) + vhd(2, 4096), "vhd"),
        (vdi(2, 1024 + 2 * 4096 - 1), "vdi"),
        (qcow2((36, struct.pack(">LQ", 2, 4088))), "qcow2"),
        (qcow2((48, struct.pack(">QL", 4096, 1))), "qcow2"),
        (qcow2((60, struct.pack(">LQ", 1, 8192))), "qcow2"),
        (bitmaps(4080, 0), "qcow2"),
        (bitmaps(2048, 4089), "qcow2"),
        (bochs(0, 1, size=512 + 256 + 2 * 4608 - 1), "bochs"),
        (parallels(8, 16, 0, size=24 * 512 - 1), "parallels"),
        (parallels(8, 0, 16, size=16 * 512), "parallels"),
        (parallels(1, 2, 3, size=25 * 512 - 1, magic=b"WithouFreSpacExt"), "parallels"),
        (dmg(4097, 0), "dmg"),
        (dmg(0, 5000), "dmg"),
    ],
)
def test_cut_short(data: bytes, name: str) -> None:
    """Images whose end is missing, of which qemu would read zeros, are refused where the format tells."""
    assert refusal(data, name) == "/images/disk.img: is cut short; copy it here again"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (qcow2(), "qcow2"),
        (qcow2((72, struct.pack(">Q", 4)), version=2), "qcow2"),  # no features in version 2: these bytes mean nothing
        (qcow(), "qcow"),
        (vmdk(sparse()), "vmdk"),
        (vmdk(sparse(b"FFFFFFFF")), "vmdk"),
        (vmdk_with_footer(sparse()), "vmdk"),
        (vhd(3) + bytes(1024) + vhd(3), "vhd"),
        (bytes(4096) + vhd(2), "vhd"),
        (bytes(4096) + vhd(2)[:511], "vhd"),
        (vdi(2, 1024 + 2 * 4096), "vdi"),
        (qcow2((36, struct.pack(">LQ", 1, 4088)), (48, struct.pack(">QL", 4088, 1))), "qcow2"),
        (bitmaps(2048, 4088), "qcow2"),
        (bochs(0, 1, size=512 + 256 + 2 * 4608), "bochs"),
        (bochs(size=512 + 256), "bochs"),
        (dmg(4096, 4096), "dmg"),
        (b"WithoutFreeSpace", "parallels"),
        (parallels(8, 16, 0, size=24 * 512), "parallels"),
        (parallels(8, 0, 16, size=17 * 512), "parallels"),
        (parallels(1, 2, 3, size=25 * 512, magic=b"WithouFreSpacExt"), "parallels"),
        (parallels(0, 0, 0, size=4096), "parallels"),
        (qed(), "qed"),
        (b"vhdxfile", "vhdx"),
        (qcow2(*backing(b"base")), "raw"),
    ],
)
def test_whole_images(data: bytes, name: str) -> None:
    """Images that are all in their file pass; in a raw one nothing is read at all."""
    with seen(data) as image:
        require_whole(image, name)


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("my disk.img", "'my disk.img'"),
        ("-rf.img", "./-rf.img"),
        ("nbd:host.img", "./nbd:host.img"),
        ("it's;$(x).img", shlex.quote("it's;$(x).img")),
    ],
)
def test_commands_can_be_pasted(file: str, word: str) -> None:
    """The command names the file so that neither the shell nor qemu takes it for something else."""
    assert f"-O qcow2 {word} " in refusal(qcow2(*backing(b"base")), "qcow2", file)


@given(
    st.sampled_from(MAGICS),
    st.dictionaries(st.integers(4, 200), st.binary(min_size=1, max_size=8), max_size=8),
    st.integers(1, 2048),
)
def test_hostile_headers(magic: bytes, parts: dict[int, bytes], size: int) -> None:
    """Whatever follows a magic, and wherever the file ends, an image passes or is refused in one printable line."""
    with seen(filled(4096, (0, magic), *parts.items())[:size]) as image:
        try:
            require_whole(image, detect(image))
        except OperatorError as error:
            assert str(error).isprintable()  # noqa: PT017 - either way is right


# What is no image at all


def complaint(path: Path) -> str:
    with pytest.raises(OperatorError) as caught, opened(path):
        pass
    return str(caught.value).replace(str(path), "IT", 1)


def test_no_such_file(tmp_path: Path) -> None:
    """A file that is not there is told."""
    assert complaint(tmp_path / "no.img") == "IT: cannot be opened: No such file or directory"


@pytest.mark.parametrize("name", ["nbd:127.0.0.1:10809", "json:{}", "c:/x"])
def test_no_such_file_by_any_other_name(name: str) -> None:
    """What qemu would take for a protocol is the name of a file that is not there."""
    assert complaint(Path(name)) == "IT: cannot be opened: No such file or directory"


def test_directory(tmp_path: Path) -> None:
    """A directory is told."""
    assert complaint(tmp_path) == "IT: is a directory; name the image file in it"


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is told."""
    (tmp_path / "empty.img").touch()
    assert complaint(tmp_path / "empty.img") == "IT: is empty; there is nothing to import"


def test_device() -> None:
    """A device is told, with the command that makes a file of it."""
    assert complaint(Path("/dev/null")) == (
        "IT: is a device; make a file of it first: dd if=/dev/null of=disk.img bs=16M conv=sparse"
    )


def test_fifo(tmp_path: Path) -> None:
    """A FIFO is told, and nobody waits for a writer."""
    os.mkfifo(tmp_path / "fifo")
    said = complaint(tmp_path / "fifo")
    assert said == f"IT: is no regular file; pipe it in: aero-storage import - --id ID < {tmp_path}/fifo"


def test_socket(tmp_path: Path) -> None:
    """A socket is told."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert complaint(tmp_path / "socket") == "IT: cannot be opened: No such device or address"


def test_link(tmp_path: Path) -> None:
    """A link is followed; one that leads nowhere is told."""
    (tmp_path / "disk.img").write_bytes(qcow2())
    (tmp_path / "link.img").symlink_to("disk.img")
    (tmp_path / "lost.img").symlink_to("no.img")
    with opened(tmp_path / "link.img") as image:
        assert (detect(image), image.size) == ("qcow2", 4096)
    assert "No such file" in complaint(tmp_path / "lost.img")


def test_unreadable_names(tmp_path: Path) -> None:
    """A name that is no text or holds line ends makes one printable line."""
    with pytest.raises(OperatorError) as caught, opened(tmp_path / os.fsdecode(b"a\nb\xff")):
        pass
    assert re.search(r"/a\\nb\\udcff: cannot be opened", str(caught.value))
    assert str(caught.value).isprintable()


@given(st.text(), st.integers(0, 100))
def test_printable(text: str, most: int) -> None:
    """Foreign text becomes one printable line of a bounded length; what is printable and short stays as it is."""
    shown = printable(text, most)
    assert shown.isprintable()
    assert len(shown) <= most + 1
    if text.isprintable() and len(text) <= most:
        assert shown == text
