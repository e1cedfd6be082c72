"""Images of floppy disks and old hard disks that hold more than the sectors of the disk."""

from __future__ import annotations

from aero_storage.image_formats.signatures.signature import Signature, by_magic, weakly

_HXC = "convert it: hxcfe -finput:{} -conv:RAW_LOADER -foutput:disk.img"
_EMULATOR = "convert it to sectors by an emulator or by HxC"
_DISK_COPY = ("a DiskCopy 4.2 image", "cut its header off: tail -c +85 {} > disk.img")


def _anex86(*sector_sizes: int) -> tuple[Signature, ...]:
    """Return signatures of Anex86, one for each size of sectors: a header of 4 KiB with its own size and that one."""
    remedy = "cut its header off: tail -c +4097 {} > disk.img"
    return tuple(
        Signature(
            "an image of Anex86 (FDI, HDI)",
            remedy,
            marks=((0, bytes(4)), (8, b"\0\x10\0\0"), (16, size.to_bytes(4, "little"))),
            is_weak=True,
        )
        for size in sector_sizes
    )


FLOPPIES: tuple[Signature, ...] = (
    *by_magic("an HFE floppy image", _HXC, b"HXCPICFE", b"HXCHFEV3", b"HXCMFM\0"),
    *by_magic("an IPF floppy image", _HXC, b"CAPS\0\0\0\x0c"),
    *by_magic("a flux image of an Apple floppy disk", _EMULATOR, b"WOZ1\xff", b"WOZ2\xff", b"MOOF\xff"),
    *by_magic("a flux image of an Apple floppy disk", _EMULATOR, b"A2R1", b"A2R2", b"A2R3"),
    *by_magic("a 2MG image", "cut its header off: tail -c +65 {} > disk.img", b"2IMG"),
    *by_magic("an ImageDisk image", "convert it: imd2raw {} disk.img", b"IMD 0.", b"IMD 1."),
    *weakly("a TeleDisk image", _HXC, b"TD\0", b"td\0"),
    *by_magic("a DSK image of a CPC", _HXC, b"MV - CPC", b"EXTENDED CPC DSK"),
    *by_magic("an Oric floppy image", _EMULATOR, b"MFM_DISK"),
    *by_magic("an 86F floppy image", _EMULATOR, b"86BF"),
    *by_magic("a floppy image of PCE", _EMULATOR, b"PSI\x20\0\0\0", b"PRI\x20\0\0\0"),
    *by_magic("a floppy image of the Spectrum", _EMULATOR, b"SINCLAIR", b"UDI!", b"Formatted Disk Image file"),
    *by_magic("a floppy image of an Atari", _HXC, b"RSY\0\3\0", b"AT8X"),
    *weakly("a floppy image of an Atari", _HXC, b"\x0e\x0f\0", b"\x96\x02"),
    *by_magic("a floppy image of a Commodore", _EMULATOR, b"GCR-1541", b"GCR-1571", b"P64-1541"),
    *by_magic("a DMS archive of an Amiga disk", "unpack it: xdms u {}", b"DMS!"),
    *by_magic("an ADF image with tracks", _HXC, b"UAE--ADF", b"UAE-1ADF"),
    *by_magic("a floppy image of the X68000", _EMULATOR, b"DIFC HEADER", at=171),
    *by_magic("a floppy image of PC-98", _EMULATOR, b"VFD1."),
    *_anex86(0x200, 0x400),
    *weakly("a CopyQM image", _HXC, b"CQ\x14"),
    *weakly("a SaveDskF image", "restore it by LOADDSKF", b"\xaa\x58\xf0", b"\xaa\x59\xf0", b"\xaa\x5a\xf0"),
    *weakly("a SuperCard Pro image", _HXC, b"SCP"),
    *weakly(*_DISK_COPY, b"\0\2\1\0", b"\1\x22\1\0", b"\2\x22\1\0", b"\3\x22\1\0", b"\1\x24\1\0", at=80),
)
