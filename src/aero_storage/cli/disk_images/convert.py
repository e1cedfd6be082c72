"""Converts a disk image of any format to a raw file: examines it first, then copies or converts it completely."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from aero_storage.cli.disk_images import formats, qemu
from aero_storage.cli.disk_images.lengths import refuse_cut_short
from aero_storage.cli.disk_images.raw_disks import require_disk
from aero_storage.cli.disk_images.sparse_copy import Advance, Stamp, copy_sparse, require_same
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

_MODE = 0o644


@attrs.frozen
class ImportSource:
    """An image that can be imported; `format` is one of `formats.detect`, `size` is the disk's, in bytes."""

    path: Path
    format: str
    size: int
    stamp: Stamp
    """The state of the file when it was examined; the import fails if it changes."""

    @property
    def is_raw(self) -> bool:
        """Whether the file is the raw disk and needs no conversion."""
        return self.format == formats.RAW


def examine(path: Path, format_override: str | None = None) -> ImportSource:
    """Examine an image in its detected format, or in `format_override` (a key of `formats.FORMATS`).

    Raises OperatorError if it cannot be imported: missing, damaged, encrypted, or with parts in other files.
    """
    with formats.opened(path) as image:
        name = formats.choose(image, format_override)
        stamp = Stamp.of(image.descriptor)
        if name == formats.RAW:
            if format_override is None:
                require_disk(image)
            return ImportSource(path, name, image.size, stamp)
        formats.refuse_incomplete(image, name)
        refuse_cut_short(image, name)
        info = qemu.info(path, name)
        _refuse_by(image, name, info)
    qemu.check(path, name)
    return ImportSource(path, name, info.size, stamp)


def _refuse_by(image: formats.ImageFile, name: str, info: qemu.QemuImageInfo) -> None:
    """Raise OperatorError by qemu's reading of the header, which may differ from ours."""
    if info.others:
        formats.refuse_other_file(image, name, "the file", info.others[0])
    if info.encrypted:
        formats.refuse_encrypted(image, name)
    if not info.size:
        image.refuse("holds a disk of no bytes; there is nothing to import")


def import_to(source: ImportSource, target: Path, advance: Advance, shown: Path | None = None) -> None:
    """Write the disk in `source` to the new file `target`, raw, sparse and synced; `advance` adds up to its size.

    `shown` is the path of `target` in messages, if they have to show another one.

    Raises OperatorError if that fails, or if the source has changed since it was examined; `target` is removed then.
    """
    try:
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            _write_raw(source, descriptor, advance)
        except BaseException:
            target.unlink()
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        where = printable(f"{source.path}: cannot be brought into {shown or target}", None)
        raise OperatorError(f"{where}: {error.strerror}") from error


def _write_raw(source: ImportSource, descriptor: int, advance: Advance) -> None:
    os.fchmod(descriptor, _MODE)  # independent of the umask: the daemon is another user
    if source.is_raw:
        copy_sparse(source.path, source.stamp, descriptor, advance)
    else:
        require_same(source.path, source.stamp, source.path)
        qemu.convert(source.path, source.format, descriptor, advance, source.size)
        require_same(source.path, source.stamp, source.path)
    os.fsync(descriptor)
    written = os.fstat(descriptor).st_size
    if written != source.size:
        name = printable(source.path, None)
        raise OperatorError(f"{name}: {written} bytes came in, not the {source.size} of the disk")
