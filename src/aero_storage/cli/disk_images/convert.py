"""Converts a disk image of any format to a raw file: examines it first, then copies or converts it completely.

All files of the image are opened once, and stay open to the end. Other files that get their names are not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, FreeSpace
from aero_storage.chunks.file_digest import TrailingDigest
from aero_storage.cli.disk_images import formats, vmdk_extents
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.lengths import refuse_cut_short
from aero_storage.cli.disk_images.open_image import OpenImage, Stamps
from aero_storage.cli.disk_images.qemu import QemuImageInfo, QemuImg, find_qemu_img
from aero_storage.cli.disk_images.raw_disks import require_disk
from aero_storage.cli.disk_images.sparse_copy import Advance, copy_sparse, shares_blocks
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.sizes import format_size

_MODE = 0o644
_PRIVATE_MODE = 0o600
_COPY = "source.copy"

FindQemuImg = Callable[[], QemuImg]
SpaceAround = Callable[[int], FreeSpace]


@attrs.frozen
class Candidate:
    """An open image whose own headers name no file that is not open, before qemu-img has looked at it."""

    image: OpenImage
    stamps: Stamps
    format_override: str | None
    qemu_img: QemuImg | None
    """None for a raw image, which needs none."""

    @property
    def needs_copy(self) -> bool:
        """Whether qemu-img, as nothing confines it, may only look at a copy that nobody else can write to."""
        return self.qemu_img is not None and not self.qemu_img.is_confined


@attrs.frozen
class ImportSource:
    """An open image that can be imported; `format` is one of `formats.detect`, `size` is the disk's, in bytes."""

    candidate: Candidate
    size: int

    @property
    def path(self) -> Path:
        """The path that the operator gave."""
        return self.candidate.image.path

    @property
    def format(self) -> str:
        """The format of the image."""
        return self.candidate.image.format

    @property
    def is_raw(self) -> bool:
        """Whether the file is the raw disk and needs no conversion."""
        return self.format == formats.RAW


@contextmanager
def opened(path: Path, format_override: str | None = None, find: FindQemuImg = find_qemu_img) -> Iterator[Candidate]:
    """Open an image for a with block, in its detected format or in `format_override` (a key of `formats.FORMATS`).

    Raises OperatorError if it cannot be imported: missing, cut short, encrypted, or with parts in other files.
    """
    with formats.opened(path) as file, candidate_of(file, format_override, find) as candidate:
        yield candidate


@contextmanager
def candidate_of(
    file: ImageFile, override: str | None = None, find: FindQemuImg = find_qemu_img
) -> Iterator[Candidate]:
    """Look at an image that is open for a with block, as `opened` does."""
    stamps = Stamps.of(file)
    name = formats.choose(file, override)
    if name == formats.RAW:
        if override is None:
            require_disk(file)
        yield Candidate(OpenImage(file, name), stamps, override, None)
    elif vmdk_extents.is_descriptor_file(file, name):
        qemu_img = _confined(file, find)
        with vmdk_extents.opened(file) as image:
            yield Candidate(image, stamps.with_files(*image.extents), override, qemu_img)
    else:
        formats.refuse_incomplete(file, name)
        refuse_cut_short(file, name)
        yield Candidate(OpenImage(file, name), stamps, override, find())


def _confined(file: ImageFile, find: FindQemuImg) -> QemuImg:
    """Return qemu-img. Raises OperatorError if nothing confines it: an extent may name further files."""
    qemu_img = find()
    if not qemu_img.is_confined:
        vmdk_extents.refuse(file, "are read only where Landlock confines qemu-img to them (Linux 5.13, if enabled)")
    return qemu_img


@contextmanager
def private_copy(candidate: Candidate, place: Directory, advance: Advance) -> Iterator[Candidate]:
    """Copy an image into a directory of ours for a with block, and look at the copy as `opened` does at the image.

    The copy has no name. Raises OperatorError if it does not fit there, or if the image changes.
    """
    file, qemu_img = candidate.image.file, candidate.qemu_img
    assert qemu_img is not None  # noqa: S101 - see needs_copy
    descriptor = place.open_file(_COPY, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
    try:
        place.unlink(_COPY)
        _require_space(file, descriptor)
        ((_, stamp),) = candidate.stamps.files
        copy_sparse(file.path, file.descriptor, stamp, descriptor, advance, FreeSpace.around(descriptor))
        copy = ImageFile(file.path, descriptor, file.size)
        with candidate_of(copy, candidate.format_override, lambda: qemu_img) as copied:
            yield copied
    finally:
        os.close(descriptor)


def _require_space(file: ImageFile, target: int) -> None:
    needed = os.fstat(file.descriptor).st_blocks * 512
    there = os.fstatvfs(target)
    if needed > there.f_bavail * there.f_frsize:
        file.refuse(
            f"has to be copied into the images root first, which takes {format_size(needed)}, "
            f"and only {format_size(there.f_bavail * there.f_frsize)} are free there"
        )


def examine(candidate: Candidate) -> ImportSource:
    """Have qemu-img look at an image. Raises OperatorError if it is damaged, encrypted, or names other files."""
    image, qemu_img = candidate.image, candidate.qemu_img
    if qemu_img is None:
        return ImportSource(candidate, image.file.size)
    info = qemu_img.info(image)
    _refuse_by(image, info)
    qemu_img.check(image)
    qemu_img.require_whole(image)
    return ImportSource(candidate, info.size)


def _refuse_by(image: OpenImage, info: QemuImageInfo) -> None:
    """Raise OperatorError by qemu's reading of the header, which may differ from ours."""
    if info.others:
        formats.refuse_other_file(image.file, image.format, "the file", info.others[0])
    if info.encrypted:
        formats.refuse_encrypted(image.file, image.format)
    if not info.size:
        image.file.refuse("holds a disk of no bytes; there is nothing to import")


def import_to(  # noqa: PLR0913 - from where, to where, how
    source: ImportSource,
    target: Path,
    advance: Advance,
    shown: Path | None = None,
    *,
    digested: bool = False,
    space_around: SpaceAround = FreeSpace.around,
) -> str | None:
    """Write the disk in `source` to the new file `target`, raw, sparse and synced; `advance` adds up to its size.

    With `digested`, returns the SHA-256 of `target`, in hex; None if `target` has to be read for it, as another
    program wrote it. `shown` is the path of `target` in messages, if they have to show another one. `space_around`
    gives the free space around the descriptor of `target`.

    Raises OperatorError if that fails, or if the source has changed since it was opened, or before the file system
    is full; `target` is removed then.
    """
    try:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            return _write_raw(source, descriptor, advance, space_around(descriptor), digested=digested)
        except BaseException:
            target.unlink()
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        where = printable(f"{source.path}: cannot be brought into {shown or target}", None)
        raise OperatorError(f"{where}: {error.strerror}") from error


def _write_raw(
    source: ImportSource, descriptor: int, advance: Advance, space: FreeSpace, *, digested: bool
) -> str | None:
    os.fchmod(descriptor, _MODE)  # independent of the umask: the daemon is another user
    candidate = source.candidate
    candidate.stamps.require_same()
    try:
        sha256 = _write(source, descriptor, advance, space, digested=digested)
    except OperatorError:
        candidate.stamps.require_same()  # then that is the reason
        raise
    candidate.stamps.require_same()
    os.fsync(descriptor)
    written = os.fstat(descriptor).st_size
    if written != source.size:
        name = printable(source.path, None)
        raise OperatorError(f"{name}: {written} bytes came in, not the {source.size} of the disk")
    return sha256


def _write(
    source: ImportSource, descriptor: int, advance: Advance, space: FreeSpace, *, digested: bool
) -> str | None:
    image, qemu_img = source.candidate.image, source.candidate.qemu_img
    if qemu_img is not None:
        qemu_img.convert(image, descriptor, advance, source.size, space.require)
        return None
    ((file, stamp),) = source.candidate.stamps.files
    if not shares_blocks(file.descriptor, descriptor):
        space.require(os.fstat(file.descriptor).st_blocks * 512)
    with TrailingDigest.of(descriptor) if digested else nullcontext() as digest:
        copy_sparse(file.path, file.descriptor, stamp, descriptor, advance, space, digest)
        return None if digest is None else digest.finish()
