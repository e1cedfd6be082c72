"""The image formats that qemu reads, by their magic numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aero_storage.image_formats.byte_source import ByteSource

SECTOR = 512
VHD = b"conectix"
KOLY = b"koly"
BOCHS = b"Bochs Virtual HD Image\0"
PARALLELS_OLD = b"WithoutFreeSpace"
PARALLELS_NEW = b"WithouFreSpacExt"

_QCOW = b"QFI\xfb"
_VMDK_TEXT = b"# disk descriptorfile"
_VDI = 0xBEDA107F


def vhd_footer(source: ByteSource) -> int:
    """Return the offset of a VHD's footer; old images have 511 bytes of it."""
    return (source.size - 1) // SECTOR * SECTOR


def udif_trailer(source: ByteSource) -> int:
    """Return the offset of the trailer of Apple's UDIF (DMG)."""
    return source.size - SECTOR


def _is_vmdk(source: ByteSource) -> bool:
    return source.read(0, 4) in {b"KDMV", b"COWD"} or source.read(0, 4096).lstrip().lower().startswith(_VMDK_TEXT)


def _is_udif(source: ByteSource) -> bool:
    trailer = udif_trailer(source)
    return source.read(trailer, 4) == KOLY and source.number(">L", trailer + 8) == SECTOR  # the trailer's own size


SIGNS: Mapping[str, Callable[[ByteSource], bool]] = {
    "qcow2": lambda source: source.read(0, 4) == _QCOW and source.number(">L", 4) != 1,
    "qcow": lambda source: source.read(0, 4) == _QCOW and source.number(">L", 4) == 1,
    "vmdk": _is_vmdk,
    "vdi": lambda source: source.number("<L", 64) == _VDI,
    "vhdx": lambda source: source.read(0, 8) == b"vhdxfile",
    "qed": lambda source: source.read(0, 4) == b"QED\0",
    "parallels": lambda source: source.read(0, 16) in {PARALLELS_OLD, PARALLELS_NEW},
    "bochs": lambda source: source.read(0, len(BOCHS)) == BOCHS,
    "dmg": _is_udif,  # the last two have their sign at the end, which may be at the end of any file
    "vhd": lambda source: VHD in (source.read(0, 8), source.read(vhd_footer(source), 8)),
}
"""The formats that an operator may name, but for raw → whether a file is of it. The first that shows counts."""


def container(source: ByteSource) -> str | None:
    """Return the format of an image that qemu reads, a key of SIGNS; None if it is none."""
    return next((name for name, shows in SIGNS.items() if shows(source)), None)
