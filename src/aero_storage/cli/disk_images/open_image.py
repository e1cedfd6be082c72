"""A disk image as qemu-img gets it: as descriptors that it inherits, never as a name that could lead elsewhere."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path

import attrs

from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.sparse_copy import Stamp, require_same

_DESCRIPTORS = "/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"
"""Where a process opens its descriptors by path; /dev/fd is that of the BSDs and macOS."""

_INHERITED = re.compile(_DESCRIPTORS + r"/([^'\",:;\s]*)")


def inherited_path(descriptor: int) -> str:
    """Return the path by which a child opens a file that it inherits."""
    return f"{_DESCRIPTORS}/{descriptor}"


@attrs.frozen
class OpenImage:
    """An image of one file; or a VMDK disk of several, with a descriptor file that we have written for qemu-img."""

    file: ImageFile
    """The file that the operator named."""
    format: str
    """One of `formats.detect`."""
    extents: tuple[ImageFile, ...] = ()
    starts: tuple[int, ...] = ()
    """Where in the disk each of the extents begins, in bytes."""
    descriptor_file: int | None = None
    """A file in memory that names the extents by their descriptors; None for an image of one file."""

    @property
    def path(self) -> Path:
        """The path of the image, for messages."""
        return self.file.path

    @property
    def first(self) -> int:
        """The descriptor of the file that qemu-img opens first."""
        return self.file.descriptor if self.descriptor_file is None else self.descriptor_file

    @property
    def readable(self) -> tuple[int, ...]:
        """Descriptors of the files that qemu-img may open. Files in memory are always allowed."""
        return tuple(extent.descriptor for extent in self.extents) or (self.file.descriptor,)

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that qemu-img inherits."""
        return tuple({self.first, *self.readable})

    def file_at(self, start: int) -> ImageFile:
        """Return the file that has the data of the disk's byte `start`."""
        return self.extents[bisect_right(self.starts, start) - 1] if self.extents else self.file

    def is_own(self, name: str) -> bool:
        """Return whether a file name in qemu-img's output is that of a file of this image."""
        return name in {inherited_path(descriptor) for descriptor in self.inherited}

    def named(self, text: str) -> str:
        """Return a message of qemu-img with the names of the files in place of inherited descriptors.

        Relative names, which qemu-img looks up where the descriptors are, are shown as they are in the image.
        """
        names: Mapping[str, Path] = {
            str(self.first): self.file.path,
            **{str(extent.descriptor): extent.path for extent in self.extents},
        }
        return _INHERITED.sub(lambda found: str(names.get(found[1], found[1])), text)


@attrs.frozen
class Stamps:
    """The states of an image's files when it was examined."""

    files: tuple[tuple[ImageFile, Stamp], ...]

    @classmethod
    def of(cls, *files: ImageFile) -> Stamps:
        """Return the stamps of files that have just been opened."""
        return cls(tuple((file, Stamp.of(file.descriptor)) for file in files))

    def with_files(self, *files: ImageFile) -> Stamps:
        """Return these stamps and those of further files, which have just been opened."""
        return Stamps((*self.files, *Stamps.of(*files).files))

    def require_same(self) -> None:
        """Raise OperatorError if one of the files has changed."""
        for file, stamp in self.files:
            require_same(file.path, stamp, file.descriptor)
