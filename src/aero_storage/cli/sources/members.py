"""The members of an archive: which of them are disks, and what a message says of the others."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NoReturn

import attrs

from aero_storage.cli.sources.compression import COMPRESSIONS, compression_of
from aero_storage.cli.sources.stream import Peekable
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import Sample
from aero_storage.image_formats.containers import container
from aero_storage.sizes import format_size

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


@attrs.frozen
class Choice:
    """Which member of an archive is wanted, and how much there may be beside it."""

    wanted: str | None = None
    """Its name, or the last part of it, unless this has a `/` in it; None: the only disk."""
    most_others: int = 1 << 40
    """Limit of the bytes of other members that are read past."""

    def is_met_by(self, name: str, *, is_disk: bool) -> bool:
        """Return whether a file of the archive is the one that is wanted."""
        if self.wanted is None:
            return is_disk
        named = _from_top if "/" in self.wanted else last_of
        return named(self.wanted) in {named(name), named(printable(name, None))}


def _from_top(name: str) -> str:
    return name.removeprefix("./")


def last_of(name: str) -> str:
    """Return the last part of the name of a file in an archive."""
    return name.rpartition("/")[2]


@attrs.define
class Listing:
    """The members found in `archive` until now: how many are wanted, and the first names for a message."""

    archive: str
    choice: Choice
    found: int = attrs.field(init=False, default=0)
    """Files that are the wanted one."""
    _disks: int = attrs.field(init=False, default=0)
    _members: int = attrs.field(init=False, default=0)
    _shown_disks: list[str] = attrs.field(init=False, factory=list)
    _shown: list[str] = attrs.field(init=False, factory=list)

    def take(self, name: str, size: int, *, is_disk: bool, is_file: bool) -> bool:
        """Take a member into the list; return whether it is wanted. Raises OperatorError if there are too many."""
        self._members += 1
        self._disks += is_disk
        if self._members > MOST_MEMBERS:
            raise OperatorError(
                f"{self.archive}: has more than {MOST_MEMBERS:,} members; unpack it, and import the disk itself"
            )
        shown = self._shown_disks if is_disk else self._shown
        if len(shown) < _SHOWN:
            shown.append(f"{printable(name, _SHOWN_LENGTH)} ({format_size(size)})")
        is_wanted = is_file and self.choice.is_met_by(name, is_disk=is_disk)
        self.found += is_wanted
        return is_wanted

    def refuse(self) -> NoReturn:
        """Raise OperatorError: the wanted file is not there, or there is more than one."""
        raise OperatorError(f"{self.archive}: {self._reason_for_choice() or self._reason()}")

    def _reason(self) -> str:
        if not self._disks:
            return f"holds no disk image, but {self._names_of_all()}; unpack it, and import the image"
        return f"holds more than one disk image: {self._names_of_disks()}; say which one is wanted: --member NAME"

    def _reason_for_choice(self) -> str | None:
        if self.choice.wanted is None:
            return None
        many = "more than one file {}; name it with its folder, ./ for the top" if self.found else "no file {}"
        disks = self._names_of_disks() if self._disks else f"none, but {self._names_of_all()}"
        return f"holds {many.format(printable(self.choice.wanted))}; its disk images: {disks}"

    def _names_of_disks(self) -> str:
        return _names(self._shown_disks, self._disks)

    def _names_of_all(self) -> str:
        return _names(self._shown, self._members)


def _names(shown: list[str], count: int) -> str:
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return (", ".join(shown) or "nothing") + more
