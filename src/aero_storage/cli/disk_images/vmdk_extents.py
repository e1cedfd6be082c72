"""Opens a VMDK disk of several files: a text, the descriptor file, names extents, which are the files with the data.

The names are looked up once, here. qemu-img gets another descriptor file, which names the extents by descriptors.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import NoReturn

import attrs

from aero_storage.cli.disk_images import formats
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.open_image import OpenImage, inherited_path
from aero_storage.cli.terminal import printable

_SECTOR = 512
_LONGEST_TEXT = 1024 * 1024  # as in qemu
_MOST_EXTENTS = 4096  # of 2 GiB: 8 TiB
_SPARE_DESCRIPTORS = 64
_FOOTER = 2**64 - 1
_NO_PARENT = 0xFFFFFFFF

_CREATE_TYPES = frozenset({"monolithicFlat", "vmfs", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"})
_CREATE_TYPE = re.compile(r'^\s*createType\s*=\s*"([^"\r\n]*)', re.MULTILINE | re.IGNORECASE)
_PARENT = re.compile(r"parentCID\s*=\s*([0-9a-f]{1,16})", re.IGNORECASE)
_PARENT_NAME = re.compile(r'parentFileNameHint\s*=?\s*"?([^"\r\n]*)', re.IGNORECASE)
_EXTENT = re.compile(
    r'^[ \t]*(RW|RDONLY|NOACCESS)[ \t]+([0-9]{1,15})[ \t]+(\w+)(?:[ \t]+"([^"\r\n]*)"(?:[ \t]+([0-9]{1,15}))?)?',
    re.MULTILINE,
)


@attrs.frozen
class _Extent:
    """A line of the descriptor file; lengths are in sectors."""

    sectors: int
    kind: str
    name: str
    offset: int

    @property
    def end(self) -> int:
        """The end of the data in a flat extent, in bytes."""
        return (self.offset + self.sectors) * _SECTOR


def is_descriptor_file(image: ImageFile, name: str) -> bool:
    """Return whether an image of format `name` is the descriptor file of a VMDK disk."""
    return name == "vmdk" and image.read(0, 4) not in {b"KDMV", b"COWD"}


@contextmanager
def opened(image: ImageFile) -> Iterator[OpenImage]:
    """Open the extents of a descriptor file, all of which have to lie beside it, for a with block.

    Raises OperatorError if one is named with a path, is missing, a link or no regular file, or is cut short.
    """
    text = _text(image)
    _refuse_parent(image, text)
    kind = _create_type(image, text)
    extents = _extents(image, text)
    with ExitStack() as stack:
        files = _open_beside(image, extents, stack)
        for extent, file in zip(extents, files, strict=True):
            _check(extent, file)
        descriptor_file = os.memfd_create("vmdk", os.MFD_CLOEXEC)
        stack.callback(os.close, descriptor_file)
        os.write(descriptor_file, _rewritten(kind, extents, files).encode())
        yield OpenImage(image, "vmdk", files, _starts(extents, files), descriptor_file)


def refuse(image: ImageFile, why: str) -> NoReturn:
    """Raise OperatorError: the disk has several files, and they cannot be opened for a reason."""
    image.refuse(f"is a disk of several files, which {why}; {formats.made_whole(image, 'vmdk')}")


def _text(image: ImageFile) -> str:
    data = image.read(0, min(image.size, _LONGEST_TEXT)).partition(b"\0")[0]
    return data.decode("utf-8", "surrogateescape")  # names of files may be in any encoding


def _refuse_parent(image: ImageFile, text: str) -> None:
    parent, name = _PARENT.search(text), _PARENT_NAME.search(text)
    if name or (parent and int(parent[1], 16) != _NO_PARENT):
        formats.refuse_other_file(image, "vmdk", "the parent disk", name[1] if name else "")


def _create_type(image: ImageFile, text: str) -> str:
    found = _CREATE_TYPE.search(text)
    kind = found[1] if found else ""
    if kind not in _CREATE_TYPES:
        refuse(image, f'are of a kind that is not read here, "{printable(kind)}"')
    return kind


def _extents(image: ImageFile, text: str) -> tuple[_Extent, ...]:
    extents = tuple(_extent(image, line) for line in _EXTENT.finditer(text))
    if not extents:
        refuse(image, "it does not name")
    if len(extents) > _MOST_EXTENTS:
        refuse(image, f"are more than {_MOST_EXTENTS}")
    return extents


def _extent(image: ImageFile, line: re.Match[str]) -> _Extent:
    access, sectors, kind, name, offset = line.groups()
    # qemu leaves out extents that it does not know, and what follows them moves up.
    if access != "RW" or kind not in {"FLAT", "VMFS", "SPARSE"} or not name or not int(sectors):
        refuse(image, f'has a part that is not read here, "{printable(line[0].strip())}"')
    if "/" in name or name in {".", ".."}:
        refuse(image, f'have to lie beside it, and it names "{printable(name)}"')
    return _Extent(int(sectors), kind, name, int(offset or 0))


def _open_beside(image: ImageFile, extents: tuple[_Extent, ...], stack: ExitStack) -> tuple[ImageFile, ...]:
    _allow_descriptors(2 * len(extents) + _SPARE_DESCRIPTORS)
    where = Path(os.path.realpath(image.path))
    folder = os.open(where.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, folder)
    beside = os.stat(where.name, dir_fd=folder, follow_symlinks=False)
    if not os.path.samestat(beside, os.fstat(image.descriptor)):
        image.refuse("was moved while it was imported; stop what moves it, and import it again")
    return tuple(_open_extent(image, extent, folder, stack) for extent in extents)


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of descriptors, which qemu-img inherits, if it is too low for so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _open_extent(image: ImageFile, extent: _Extent, folder: int, stack: ExitStack) -> ImageFile:
    name = os.fsencode(extent.name)
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except (OSError, ValueError) as error:
        shown = printable(extent.name)
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            image.refuse(f'its extent "{shown}" is a symbolic link, and none is followed; move the file itself there')
        reason = error.strerror if isinstance(error, OSError) else "no name of a file"
        image.refuse(f'its extent "{shown}" cannot be opened: {reason}; copy all files of the disk here')
    stack.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    file = ImageFile(image.path.with_name(extent.name), descriptor, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        file.refuse("is no regular file, and cannot be an extent of a disk")
    return file


def _starts(extents: tuple[_Extent, ...], files: tuple[ImageFile, ...]) -> tuple[int, ...]:
    """Return where in the disk each extent begins; qemu takes the capacity of a sparse one from its header."""
    sectors = (
        file.number("<Q", 12) if extent.kind == "SPARSE" else extent.sectors
        for extent, file in zip(extents, files, strict=True)
    )
    return tuple(accumulate((each * _SECTOR for each in sectors), initial=0))[:-1]


def _check(extent: _Extent, file: ImageFile) -> None:
    if extent.kind == "SPARSE":
        _check_sparse(file)
    elif extent.end > file.size:
        file.refuse("is cut short; copy it here again")


def _check_sparse(file: ImageFile) -> None:
    """Raise OperatorError unless the file is an extent that names no other; qemu takes such names in any of them."""
    headers = [0, file.size - 2 * _SECTOR] if file.number("<Q", 56) == _FOOTER else [0]
    for header in headers:
        if file.read(header, 4) != b"KDMV" or not file.number("<Q", header + 12):
            file.refuse("is no sparse extent of a VMDK disk, or a damaged one; copy it here again")


def _rewritten(kind: str, extents: tuple[_Extent, ...], files: tuple[ImageFile, ...]) -> str:
    lines = (
        f'RW {extent.sectors} {extent.kind} "{inherited_path(file.descriptor)}"'
        + (f" {extent.offset}" if extent.kind == "FLAT" else "")
        for extent, file in zip(extents, files, strict=True)
    )
    head = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="{kind}"\n'
    return head + "".join(f"{line}\n" for line in lines)
