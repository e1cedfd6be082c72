"""The signs of a raw disk: boot sectors, partition tables, file systems, volumes, optical discs, or all zeros."""

from __future__ import annotations

import struct
from collections.abc import Callable

from aero_storage.image_formats import home_computers
from aero_storage.image_formats.byte_source import ByteSource, Sample

_SECTOR = 512
_KI = 1024

# Name, offset, magic number: signs so long that no other content has them by chance.
_MARKS: tuple[tuple[str, int, bytes], ...] = (
    ("GPT", 512, b"EFI PART"),
    ("GPT", 4096, b"EFI PART"),
    ("SGI disk label", 0, b"\x0b\xe5\xa9\x41"),
    ("NeXT disk label", 0, b"NeXT\0\0\0\0"),
    ("NeXT disk label", 0, b"dlV2\0\0\0\0"),
    ("NeXT disk label", 0, b"dlV3\0\0\0\0"),
    ("DragonFly disk label", 512, b"\x59\x4c\x46\xc4"),
    ("X68000 partition table", 2048, b"X68K"),
    ("X68000 floppy disk", 3, b"X68IPL30"),
    ("X68000 floppy disk", 2, b"Hudson soft 2.00"),
    ("disk of GNU Parted without partitions", 0, b"GNU Parted Loopback 0\0"),
    ("AIX boot record", 0, b"\xc9\xc2\xd4\xc1"),
    ("Xbox disk", 0x600, b"BRFR"),
    ("PlayStation 2 disk", 4, b"APA\0"),
    ("FATX", 0, b"FATX"),
    ("FATX", 0, b"XTAF"),
    ("Acorn ADFS", 513, b"Hugo"),
    ("Acorn ADFS", 1025, b"Hugo"),
    ("Acorn ADFS", 1025, b"Nick"),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
    ("ReFS", 3, b"ReFS\0\0\0\0"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("FAT12", 54, b"FAT12   "),
    ("FAT16", 54, b"FAT16   "),
    ("FAT32", 82, b"FAT32   "),
    ("HPFS", 8192, b"\x49\xe8\x95\xf9\xc5\xe9\x53\xfa"),
    ("XFS", 0, b"XFSB\0\0"),
    ("Btrfs", 64 * _KI + 64, b"_BHRfS_M"),
    ("bcachefs", 4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    ("bcache", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("APFS", 32, b"NXSB"),
    ("ReiserFS", 64 * _KI + 52, b"ReIsErFs"),
    ("ReiserFS", 64 * _KI + 52, b"ReIsEr2Fs"),
    ("ReiserFS", 64 * _KI + 52, b"ReIsEr3Fs"),
    ("ReiserFS", 8 * _KI + 52, b"ReIsErFs"),
    ("Reiser4", 64 * _KI, b"ReIsEr4"),
    ("JFS", 32 * _KI, b"JFS1"),
    ("F2FS", _KI, b"\x10\x20\xf5\xf2"),
    ("EROFS", _KI, b"\xe2\xe1\xf5\xe0"),
    ("VxFS", _KI, b"\xf5\xfc\x01\xa5"),
    ("GFS2", 64 * _KI, b"\x01\x16\x19\x70"),
    ("QNX6", 8 * _KI, b"\x22\x11\x19\x68"),
    ("BeFS", 512 + 32, b"1SFB"),
    ("BeFS", 512 + 32, b"BFS1"),
    ("BeFS", 32, b"BFS1"),
    ("SCO BFS", 0, b"\xce\xfa\xad\x1b"),
    ("SquashFS", 0, b"hsqs"),
    ("SquashFS", 0, b"sqsh"),
    ("cramfs", 0, b"\x45\x3d\xcd\x28"),
    ("cramfs", 0, b"\x28\xcd\x3d\x45"),
    ("romfs", 0, b"-rom1fs-"),
    ("Files-11", 1008, b"DECFILE11"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("VDO", 0, b"dmvdo001"),
    ("dm-verity", 0, b"verity\0\0"),
    ("dm-integrity", 0, b"integrt\0"),
    ("Stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("OpenBSD softraid", 8192, b"marcCRAM"),
    ("Ceph BlueStore", 0, b"bluestore block device\n"),
    ("Android super partition", 4096, b"gDla"),
    ("Linux RAID", 0, b"\xfc\x4e\x2b\xa9\x01\0\0\0"),
    ("Linux RAID", 4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0"),
    ("Amiga PFS", 0, b"PFS\1"),
    ("Amiga PFS", 0, b"PFS\2"),
    ("Amiga SFS", 0, b"SFS\0"),
    ("Amiga Kickstart", 0, b"KICK\0\0\0\0"),
    ("ISO 9660", 32 * _KI + 1, b"CD001"),
    ("CD-I", 32 * _KI + 1, b"CD-I "),
    ("High Sierra", 32 * _KI + 9, b"CDROM"),
    ("Xbox disc", 64 * _KI, b"MICROSOFT*XBOX*MEDIA"),
    ("GameCube disc", 28, b"\xc2\x33\x9f\x3d"),
    ("Wii disc", 24, b"\x5d\x1c\x9e\xa3"),
    ("3DO disc", 0, b"\x01\x5a\x5a\x5a\x5a\x5a\x01"),
    ("Sega disc", 0, b"SEGADISCSYSTEM  "),
    ("Sega disc", 0, b"SEGA SEGASATURN "),
    ("Sega disc", 0, b"SEGA SEGAKATANA "),
)

_UBERBLOCK = frozenset({struct.pack("<Q", 0x00BAB10C), struct.pack(">Q", 0x00BAB10C)})


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _has_boot_signature(source: ByteSource) -> bool:
    return source.read(510, 2) == b"\x55\xaa"


def _is_apple_map(source: ByteSource) -> bool:
    return source.read(0, 2) == b"ER" and any(source.read(at, 2) in {b"PM", b"TS"} for at in (512, 2048))


def _is_bsd_label(source: ByteSource) -> bool:
    magics = (b"\x57\x45\x56\x82", b"\x82\x56\x45\x57")
    return any(
        source.read(at, 4) == magic == source.read(at + 132, 4) for at in (0, 64, 128, 512) for magic in magics
    )


def _is_sun_label(source: ByteSource) -> bool:
    checksum = 0
    for word in struct.unpack(">256H", source.read(0, _SECTOR)):
        checksum ^= word
    return source.read(508, 2) == b"\xda\xbe" and not checksum


def _is_amiga_disk(source: ByteSource) -> bool:
    blocks = (source.read(block * _SECTOR, 4) for block in range(16))
    return b"RDSK" in blocks or (source.read(0, 3) == b"DOS" and source.read(3, 1)[0] <= 7)  # noqa: PLR2004 - variants


def _is_atari_disk(source: ByteSource) -> bool:
    """Return whether there is a partition table of GEMDOS: size of the disk, entries of a flag and three letters."""
    entries = (source.read(0x1C6 + 12 * index, 4) for index in range(4))
    has_size = source.number(">L", 0x1C2) * _SECTOR == source.size > 0
    return has_size or any(entry[0] & 1 and entry[1:] in {b"GEM", b"BGM", b"XGM"} for entry in entries)


def _is_fat(source: ByteSource) -> bool:
    """Return whether there is a FAT without a boot signature: a sound parameter block, and the table it leads to."""
    sector, cluster = source.number("<H", 11), source.number("B", 13)
    reserved, tables, media = source.number("<H", 14), source.number("B", 16), source.number("B", 21)
    if not (128 <= sector <= 4096 and _is_power_of_two(sector) and _is_power_of_two(cluster)):  # noqa: PLR2004
        return False
    is_sound = reserved > 0 and tables in {1, 2} and (media == 0xF0 or media >= 0xF8)  # noqa: PLR2004
    return is_sound and source.read(reserved * sector, 2) == bytes([media, 0xFF])


def _is_dos_1_floppy(source: ByteSource) -> bool:
    """Return whether there is a floppy disk of DOS 1: it has no parameter block, and one of four sizes."""
    table = {160: 0xFE, 180: 0xFC, 320: 0xFF, 360: 0xFD}.get(source.size // _KI)
    return table is not None and not source.size % _KI and source.read(512, 3) == bytes([table, 0xFF, 0xFF])


def _is_ext(source: ByteSource) -> bool:
    is_plausible = source.number("<L", _KI + 24) <= 6 and source.number("<L", _KI + 76) <= 1  # noqa: PLR2004
    return source.read(_KI + 56, 2) == b"\x53\xef" and is_plausible


def _is_hfs(source: ByteSource) -> bool:
    kind, version = source.read(_KI, 2), source.number(">H", _KI + 2)
    if (kind, version) in {(b"H+", 4), (b"HX", 5)}:
        return _is_power_of_two(source.number(">L", _KI + 40))
    block = source.number(">L", _KI + 20)
    return kind in {b"BD", b"\xd2\xd7"} and block > 0 and not block % _SECTOR


def _is_minix(source: ByteSource) -> bool:
    """Return whether there is a super block with its magic number; all versions have zones of one block."""
    return any(_is_minix_in(source, order) for order in "<>")


def _is_minix_in(source: ByteSource, order: str) -> bool:
    if source.number(f"{order}H", _KI + 24) == 0x4D5A:  # noqa: PLR2004 - version 3
        return source.number(f"{order}L", _KI) > 0 and source.number(f"{order}H", _KI + 12) == 0
    is_older = source.number(f"{order}H", _KI + 16) in {0x137F, 0x138F, 0x2468, 0x2478}
    return is_older and source.number(f"{order}H", _KI) > 0 and source.number(f"{order}H", _KI + 10) == 0


def _is_ufs(source: ByteSource) -> bool:
    magics = {0x00011954, 0x19540119}
    return any(source.number(f"{order}L", at * _KI + 0x55C) in magics for at in (0, 8, 64, 256) for order in "<>")


def _is_zfs(source: ByteSource) -> bool:
    """Return whether there is an uberblock: they lie 1 KiB apart, from 128 to 256 KiB."""
    blocks = source.read(128 * _KI, 128 * _KI)
    return any(blocks[at : at + 8] in _UBERBLOCK for at in range(0, len(blocks), _KI))


def _is_nilfs2(source: ByteSource) -> bool:
    return source.number("<L", _KI) == 2 and source.number("<H", _KI + 6) == 0x3434  # noqa: PLR2004 - revision, magic


def _is_ocfs2(source: ByteSource) -> bool:
    return any(source.read(at * _KI, 6) == b"OCFSV2" for at in (1, 2, 4, 8))


def _is_udf(source: ByteSource) -> bool:
    names = {source.read(place * 2048 + 1, 5) for place in range(16, 32)}
    return not names.isdisjoint({b"NSR02", b"NSR03"})


def _is_swap(source: ByteSource) -> bool:
    return any(source.read(page * _KI - 10, 10) in {b"SWAPSPACE2", b"SWAP-SPACE"} for page in (4, 8, 16, 64))


def _is_lvm(source: ByteSource) -> bool:
    labels = range(0, 4 * _SECTOR, _SECTOR)
    return any(source.read(at, 8) == b"LABELONE" and source.read(at + 24, 8) == b"LVM2 001" for at in labels)


def _is_raid_at_end(source: ByteSource) -> bool:
    newer = ((source.size // _SECTOR - 16) & ~7) * _SECTOR
    older = (source.size & ~0xFFFF) - 0x10000
    return source.read(newer, 8) == b"\xfc\x4e\x2b\xa9\x01\0\0\0" or source.read(older, 4) == b"\xfc\x4e\x2b\xa9"


def _is_geom(source: ByteSource) -> bool:
    """Return whether the last sector has the metadata of a GEOM class of FreeBSD, such as an encrypted volume's."""
    return any(source.read(source.size - size, 6) == b"GEOM::" for size in (_SECTOR, 8 * _SECTOR))


_RULES: tuple[tuple[str, Callable[[ByteSource], bool]], ...] = (
    ("boot signature", _has_boot_signature),
    ("Apple partition map", _is_apple_map),
    ("BSD disk label", _is_bsd_label),
    ("Sun disk label", _is_sun_label),
    ("Amiga disk", _is_amiga_disk),
    ("Atari disk", _is_atari_disk),
    ("FAT", _is_fat),
    ("DOS 1 floppy disk", _is_dos_1_floppy),
    ("ext2, ext3 or ext4", _is_ext),
    ("HFS", _is_hfs),
    ("Minix", _is_minix),
    ("UFS", _is_ufs),
    ("ZFS", _is_zfs),
    ("NILFS2", _is_nilfs2),
    ("OCFS2", _is_ocfs2),
    ("UDF", _is_udf),
    ("swap", _is_swap),
    ("LVM2", _is_lvm),
    ("Linux RAID", _is_raid_at_end),
    ("GEOM volume", _is_geom),
    *home_computers.RULES,
)
_ZEROS = "all zeros"

KINDS = frozenset({_ZEROS, *(name for name, _, _ in _MARKS), *(name for name, _ in _RULES)})
"""All that `disk_kind` may return."""


def disk_kind(sample: Sample) -> str | None:
    """Return the sign by which a file is a raw disk, or None if there is none."""
    for name, offset, magic in _MARKS:
        if sample.read(offset, len(magic)) == magic and offset + len(magic) <= sample.size:
            return name
    for name, shows in _RULES:
        if shows(sample):
            return name
    return _ZEROS if sample.is_zero else None
