"""The members of an archive: which of them are disks, and what a message says of the others."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NoReturn

import attrs

from aero_storage.cli.sizes import format_size
from aero_storage.cli.sources.compression import COMPRESSIONS, compression_of
from aero_storage.cli.sources.stream import Peekable
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import Sample
from aero_storage.image_formats.containers import container

MOST_MEMBERS = 10_000
"""An archive with more members is refused."""

HEAD_BYTES = 64 * 1024
"""So many first bytes of a member are looked at."""

_SUFFIXES = frozenset(
    {
        *(".vmdk", ".qcow2", ".qcow", ".qed", ".vdi", ".vhd", ".vhdx", ".hdd", ".hds", ".dmg"),
        *(".img", ".ima", ".raw", ".dd", ".dsk", ".iso"),
    }
)
_COMPRESSED = frozenset(suffix for one in COMPRESSIONS for suffix in one.suffixes)
_RAW_SIGNS = ((510, b"\x55\xaa"), (512, b"EFI PART"), (0x8001, b"CD001"))
"""Of raw disks, where there is no name to go by: the boot sector, GPT, ISO 9660. Weaker ones may be of any file."""

_SHOWN = 10
_SHOWN_LENGTH = 60


@attrs.frozen
class Member:
    """The one disk in an archive; `size` is in bytes, `name` is what the archive calls it, never a path of ours."""

    name: str
    size: int
    stream: Peekable


def is_litter(name: str) -> bool:
    """Return whether a member only has what macOS keeps beside files of the same name."""
    path = PurePosixPath(name)
    return path.name.startswith("._") or "__MACOSX" in path.parts


def has_disk_name(name: str) -> bool:
    """Return whether a member is named like a disk image, compressed or not."""
    path = PurePosixPath(name.lower())
    if path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return path.suffix in _SUFFIXES


def has_disk_content(head: bytes) -> bool:
    """Return whether a member begins like a disk image; a compressed one does not."""
    is_raw = any(head.startswith(sign, offset) for offset, sign in _RAW_SIGNS)
    is_disk = is_raw or container(Sample(head, b"", len(head))) is not None
    return is_disk and compression_of(head) is None


@attrs.define
class Listing:
    """The members found in the archive `archive` until now: how many are disks, and the first names for a message."""

    archive: str
    disks: int = attrs.field(init=False, default=0)
    _members: int = attrs.field(init=False, default=0)
    _shown_disks: list[str] = attrs.field(init=False, factory=list)
    _shown: list[str] = attrs.field(init=False, factory=list)

    def add(self, name: str, size: int, *, is_disk: bool) -> None:
        """Take a member into the list. Raises OperatorError if there are too many."""
        self._members += 1
        self.disks += is_disk
        if self._members > MOST_MEMBERS:
            raise OperatorError(
                f"{self.archive}: has more than {MOST_MEMBERS:,} members; unpack it, and import the disk itself"
            )
        shown = self._shown_disks if is_disk else self._shown
        if len(shown) < _SHOWN:
            shown.append(f"{printable(name, _SHOWN_LENGTH)} ({format_size(size)})")

    def refuse(self) -> NoReturn:
        """Raise OperatorError: there is no disk, or more than one."""
        if not self.disks:
            names = _names(self._shown, self._members)
            raise OperatorError(f"{self.archive}: holds no disk image, but {names}; unpack it, and import the image")
        names = _names(self._shown_disks, self.disks)
        raise OperatorError(
            f"{self.archive}: holds more than one disk image: {names}; unpack it, and import the one that is wanted"
        )


def _names(shown: list[str], count: int) -> str:
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return (", ".join(shown) or "nothing") + more
