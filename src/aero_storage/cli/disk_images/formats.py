"""Detects the format of a disk image, and whether it needs other files, from its bytes and without qemu.

qemu never detects a format itself, and never opens an image that names another file: a raw disk could begin with the
header of a qcow2 image whose backing file is /etc/passwd.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import attrs

from aero_storage.cli.disk_images.opening import STANDARD_INPUT, open_source
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import ByteSource
from aero_storage.image_formats.containers import SIGNS, VHD, container, vhd_footer

RAW = "raw"
FORMATS: Mapping[str, str] = {
    RAW: "raw",
    "qcow2": "qcow2",
    "qcow": "qcow",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
    "qed": "qed",
    "parallels": "parallels",
    "bochs": "bochs",
    "dmg": "dmg",
}
"""The formats that an operator may name → qemu's names of them."""

NO_FILE = "FILE"
"""Stands in commands for what came from elsewhere and is no file of the operator."""

_SECTOR = 512
_LONGEST_NAME = 1023  # of a backing file, in qemu

_QCOW2_CORRUPT = 1 << 1
_QCOW2_EXTERNAL_DATA = 1 << 2
_QCOW2_DATA_FILE_NAME = 0x44415441
_VMDK_DESCRIPTOR_SECTORS = 20  # qemu reads as many
_VMDK_FOOTER = 2**64 - 1
_VMDK_NO_PARENT = 0xFFFFFFFF
_VHD_DIFFERENCING = 4
_VDI_VERSION = 0x00010001
_VDI_WITH_PARENT = {3, 4}  # the types "undo" and "differencing"
_QED_BACKING = 1 << 0


@attrs.frozen
class ImageFile(ByteSource):
    """A regular file, open for reading; `size` is in bytes."""

    path: Path
    descriptor: int
    size: int
    is_temporary: bool = False
    """Whether it holds what came from elsewhere; no file has the name in `path` then."""

    @property
    def word(self) -> str:
        """The file as a word of the shell, for a command that the operator may give."""
        return NO_FILE if self.is_temporary else quoted(self.path)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of the file, with zeros beyond its end."""
        data = os.pread(self.descriptor, length, offset) if 0 <= offset < self.size else b""
        return data.ljust(length, b"\0")

    def refuse(self, why: str) -> NoReturn:
        """Raise OperatorError about this file."""
        raise OperatorError(f"{printable(self.path, None)}: {why}")


@contextmanager
def opened(path: Path) -> Iterator[ImageFile]:
    """Open a source image for a with block; a symbolic link is followed, unless it is another user's.

    Raises OperatorError if it cannot be read, is empty, or is not a regular file.
    """
    try:
        descriptor = open_source(path)
    except OSError as error:
        raise OperatorError(f"{printable(path, None)}: cannot be opened: {error.strerror}") from error
    try:
        yield _regular(path, descriptor)
    finally:
        os.close(descriptor)


def _regular(path: Path, descriptor: int) -> ImageFile:
    status = os.fstat(descriptor)
    image = ImageFile(path, descriptor, status.st_size)
    if stat.S_ISDIR(status.st_mode):
        image.refuse("is a directory; name the image file in it")
    if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
        image.refuse(f"is a device; make a file of it first: dd if={quoted(path)} of=disk.img bs=16M conv=sparse")
    if not stat.S_ISREG(status.st_mode):
        image.refuse(f"is no regular file; pipe it in: aero-storage import - --id ID < {quoted(path)}")
    if not image.size:
        image.refuse("is empty; there is nothing to import")
    return image


def detect(image: ImageFile) -> str:
    """Return the format by its magic number, a key of FORMATS; raw if there is none."""
    return container(image) or RAW


def choose(image: ImageFile, override: str | None) -> str:
    """Return the format to read an image in: the detected one, or `override`, a key of FORMATS.

    Raises OperatorError if `override` contradicts the file.
    """
    if override is None:
        return detect(image)
    if override not in FORMATS:
        raise OperatorError(f"{printable(override)}: no format that can be imported; they are {', '.join(FORMATS)}")
    if override != RAW and not SIGNS[override](image):
        image.refuse(f"is no {override} image (it looks like {detect(image)}); leave out --format {override}")
    return override


def refuse_incomplete(image: ImageFile, name: str) -> None:
    """Raise OperatorError unless this file of format `name` contains the whole disk, unencrypted."""
    check = _CHECKS.get(name)
    if check is not None:
        check(image)


def refuse_other_file(image: ImageFile, name: str, kind: str, other: str) -> NoReturn:
    """Raise OperatorError: the image needs another file, a `kind` of file that is never opened."""
    needed = f'{kind} "{printable(other)}"' if other else f"{kind} that it does not name"
    image.refuse(f"needs {needed}, not opened; make one image of both, where they are: {_convert(image.path, name)}")


def refuse_encrypted(image: ImageFile, name: str) -> NoReturn:
    """Raise OperatorError: the image cannot be read without a key."""
    source = f"driver={name},encrypt.key-secret=key,file.filename={image.path.name.replace(',', ',,')}"
    image.refuse(
        "is encrypted; decrypt it first: qemu-img convert --object secret,id=key,file=FILE-WITH-THE-PASSPHRASE "
        f"-O qcow2 --image-opts {shlex.quote(printable(source, None))} {quoted(_whole(image.path))}"
    )


def made_whole(image: ImageFile, name: str) -> str:
    """Return the words that tell how to make one file of an image of several."""
    return f"make one image of them, where they are: {_convert(image.path, name)}"


def _convert(path: Path, name: str) -> str:
    return f"qemu-img convert -f {name} -O qcow2 {quoted(path.name)} {quoted(_whole(path))}"


def _whole(path: Path) -> str:
    return f"{path.stem}-whole.qcow2"


def quoted(name: str | Path) -> str:
    """Return a file name as one printable word of a command line; FILE for what came by standard input."""
    shown = printable(name, None)
    if shown.startswith(STANDARD_INPUT):
        shown = f"FILE{shown.removeprefix(STANDARD_INPUT)}"
    return shlex.quote(f"./{shown}" if shown.startswith("-") or ":" in shown.partition("/")[0] else shown)


def _check_qcow(image: ImageFile) -> None:
    _check_qcow_backing(image, "qcow")
    if image.number(">L", 36):
        refuse_encrypted(image, "qcow")


def _check_qcow2(image: ImageFile) -> None:
    _check_qcow_backing(image, "qcow2")
    features = image.number(">Q", 72) if image.number(">L", 4) > 2 else 0  # noqa: PLR2004 - version 2 ends before
    if features & _QCOW2_EXTERNAL_DATA:
        refuse_other_file(image, "qcow2", "the data file", _qcow2_data_file(image))
    if features & _QCOW2_CORRUPT:
        command = f"qemu-img check -r all {image.word}"
        image.refuse(f"is marked as corrupt by qemu; mend a copy of it first: {command}")
    if image.number(">L", 32):
        refuse_encrypted(image, "qcow2")


def _check_qcow_backing(image: ImageFile, name: str) -> None:
    if offset := image.number(">Q", 8):
        length = min(image.number(">L", 16), _LONGEST_NAME)
        refuse_other_file(image, name, "the backing file", image.text(offset, length))


def _qcow2_data_file(image: ImageFile) -> str:
    """Find the name among the header extensions: type, length, data in steps of eight bytes."""
    offset, end = image.number(">L", 100), min(image.size, 1 << 16)
    while offset < end:
        kind, length = image.number(">L", offset), image.number(">L", offset + 4)
        if kind == _QCOW2_DATA_FILE_NAME:
            return image.text(offset + 8, min(length, _LONGEST_NAME))
        offset += 8 + (length + 7) // 8 * 8
    return ""


def _check_qed(image: ImageFile) -> None:
    if image.number("<Q", 16) & _QED_BACKING:
        offset, length = image.number("<L", 56), min(image.number("<L", 60), _LONGEST_NAME)
        refuse_other_file(image, "qed", "the backing file", image.text(offset, length))


def _check_vmdk(image: ImageFile) -> None:
    magic = image.read(0, 4)
    if magic == b"COWD":  # one extent of a disk, written by ESX, mostly of a snapshot
        _refuse_part(image)
    if magic != b"KDMV":
        _refuse_descriptor(image, image.text(0, _VMDK_DESCRIPTOR_SECTORS * _SECTOR))
    _check_sparse_vmdk(image, 0)
    if image.number("<Q", 56) == _VMDK_FOOTER:  # then qemu uses the header in the footer
        _check_sparse_vmdk(image, image.size - 2 * _SECTOR)


def _check_sparse_vmdk(image: ImageFile, header: int) -> None:
    offset = image.number("<Q", header + 28) * _SECTOR
    text = image.text(offset, _VMDK_DESCRIPTOR_SECTORS * _SECTOR) if offset else ""
    if not image.number("<Q", header + 12):  # no capacity: qemu uses the extents in the text
        _refuse_descriptor(image, text)
    parent = re.search(r"parentCID\s*=\s*([0-9a-f]{1,16})", text, re.IGNORECASE)
    hint = re.search(r'parentFileNameHint\s*=?\s*"?([^"\r\n]*)', text, re.IGNORECASE)
    if hint or (parent and int(parent[1], 16) != _VMDK_NO_PARENT):
        refuse_other_file(image, "vmdk", "the parent disk", hint[1] if hint else "")
    if not text:
        _refuse_part(image)


def _refuse_descriptor(image: ImageFile, text: str) -> NoReturn:
    extent = re.search(r'^\s*\w+\s+\d+\s+\w+\s+"([^"\r\n]*)', text, re.MULTILINE)
    refuse_other_file(image, "vmdk", "the extent", extent[1] if extent else "")


def _refuse_part(image: ImageFile) -> NoReturn:
    command = _convert(Path("DISK.vmdk"), "vmdk")
    image.refuse(f"is one part of a VMDK disk; make a whole image from the disk's descriptor file: {command}")


def _check_vhd(image: ImageFile) -> None:
    footer = vhd_footer(image)
    fixed = image.read(0, 8) != VHD
    header = footer if fixed else 0
    if image.number(">L", header + 60) == _VHD_DIFFERENCING:
        command = f"Convert-VHD -Path {quoted(image.path.name)} -DestinationPath {quoted(image.path.stem)}-whole.vhdx"
        image.refuse(
            f"holds only differences to a parent disk; make a whole image, where both are, in PowerShell: {command}"
        )
    if image.read(footer, 8) != VHD or (fixed and image.number(">Q", header + 48) > footer):
        refuse_cut(image)


def _check_vdi(image: ImageFile) -> None:
    """Compare lengths, as qemu reads zeros past the end of a file cut short; the allocated blocks are contiguous."""
    if image.number("<L", 0x44) != _VDI_VERSION:  # qemu says better what is wrong with it
        return
    if image.number("<L", 0x4C) in _VDI_WITH_PARENT or any(image.read(0x1A8, 32)):  # the UUIDs of the parent
        command = f"VBoxManage clonemedium disk {quoted(image.path.name)} {quoted(image.path.stem)}-whole.vdi"
        image.refuse(f"holds only differences to a parent disk; make a whole image, where both are: {command}")
    block = image.number("<L", 0x178) + image.number("<L", 0x17C)
    if image.number("<L", 0x158) + image.number("<L", 0x184) * block > image.size:
        refuse_cut(image)


def refuse_cut(image: ImageFile) -> NoReturn:
    """Raise OperatorError: the file is cut short."""
    image.refuse("is cut short; copy it here again")


_CHECKS: Mapping[str, Callable[[ImageFile], None]] = {
    "qcow": _check_qcow,
    "qcow2": _check_qcow2,
    "qed": _check_qed,
    "vdi": _check_vdi,
    "vhd": _check_vhd,
    "vmdk": _check_vmdk,
}
