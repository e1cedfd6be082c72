"""Raw disks are told by a boot sector, a partition table, a file system or volume, or nothing but zeros."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.image_formats import disks, home_computers
from aero_storage.image_formats.byte_source import HEAD_BYTES, Sample, sample
from aero_storage.image_formats.recognition import Recognition, recognise

KI, MI = 1024, 1 << 20
NOISE = random.Random(13).randbytes(2 * MI)  # without a sign, as test_noise shows
Parts = list[tuple[int, bytes]]


def noisy(size: int, *parts: tuple[int, bytes]) -> bytes:
    """Noise with a few parts at their offsets."""
    data = bytearray(NOISE[:size])
    for offset, part in parts:
        data[offset : offset + len(part)] = part
    return bytes(data)


def seen(data: bytes) -> Recognition:
    return recognise(sample(lambda offset, length: data[offset : offset + length], len(data)), "disk.img")


def sun_label() -> bytes:
    label = bytearray(NOISE[:508]) + b"\xda\xbe"
    checksum = 0
    for (word,) in struct.iter_unpack(">H", label):
        checksum ^= word
    return bytes(label) + checksum.to_bytes(2, "big")


def fat(media: int = 0xF0, reserved: int = 1) -> Parts:
    block = struct.pack("<HBHBHHBH", 512, 2, reserved, 2, 112, 1440, media, 3)
    return [(11, block), (reserved * 512, bytes([media, 0xFF, 0xFF]))]


def ext(revision: int = 1) -> Parts:
    return [(1024 + 24, struct.pack("<L", 2)), (1024 + 56, b"\x53\xef"), (1024 + 76, struct.pack("<L", revision))]


KINDS: list[tuple[str, Parts]] = [
    ("boot signature", [(510, b"\x55\xaa")]),
    ("GPT", [(512, b"EFI PART")]),
    ("GPT", [(4096, b"EFI PART")]),
    ("Apple partition map", [(0, b"ER\x02\0"), (512, b"PM\0\0")]),
    ("Apple partition map", [(0, b"ER\x08\0"), (2048, b"PM\0\0")]),
    ("BSD disk label", [(512, b"\x57\x45\x56\x82"), (512 + 132, b"\x57\x45\x56\x82")]),
    ("BSD disk label", [(64, b"\x82\x56\x45\x57"), (64 + 132, b"\x82\x56\x45\x57")]),
    ("Sun disk label", [(0, sun_label())]),
    ("SGI disk label", [(0, b"\x0b\xe5\xa9\x41")]),
    ("Amiga disk", [(0, b"RDSK\0\0\0\x40")]),
    ("Amiga disk", [(15 * 512, b"RDSK\0\0\0\x40")]),
    ("Amiga disk", [(0, b"DOS\0")]),
    ("Amiga disk", [(0, b"DOS\7")]),
    ("FAT12", [(54, b"FAT12   ")]),
    ("FAT16", [(54, b"FAT16   ")]),
    ("FAT32", [(82, b"FAT32   ")]),
    ("FAT", fat()),
    ("FAT", fat(0xF9, 2)),
    ("NTFS", [(3, b"NTFS    ")]),
    ("exFAT", [(3, b"EXFAT   ")]),
    ("BitLocker", [(3, b"-FVE-FS-")]),
    ("ext2, ext3 or ext4", ext()),
    ("ext2, ext3 or ext4", ext(0)),
    ("XFS", [(0, b"XFSB\0\0\x10\0")]),
    ("Btrfs", [(65536 + 64, b"_BHRfS_M")]),
    ("bcachefs", [(4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"))]),
    ("ZFS", [(128 * KI, struct.pack("<Q", 0x00BAB10C))]),
    ("ZFS", [(255 * KI, struct.pack(">Q", 0x00BAB10C))]),
    ("HFS", [(1024, b"H+\0\4"), (1024 + 40, struct.pack(">L", 4096))]),
    ("HFS", [(1024, b"HX\0\5"), (1024 + 40, struct.pack(">L", 4096))]),
    ("HFS", [(1024, b"BD"), (1024 + 20, struct.pack(">L", 512))]),
    ("HFS", [(1024, b"\xd2\xd7"), (1024 + 20, struct.pack(">L", 1024))]),
    ("APFS", [(32, b"NXSB")]),
    ("UFS", [(8192 + 0x55C, struct.pack("<L", 0x00011954))]),
    ("UFS", [(65536 + 0x55C, struct.pack("<L", 0x19540119))]),
    ("UFS", [(8192 + 0x55C, struct.pack(">L", 0x00011954))]),
    ("Minix", [(1024, struct.pack("<HHHHHHLH", 480, 1440, 1, 1, 19, 0, 268966912, 0x138F))]),
    ("Minix", [(1024, struct.pack("<LHHHHHHLLH", 480, 0, 1, 1, 19, 0, 0, 268966912, 1440, 0x4D5A))]),
    ("ReiserFS", [(65536 + 52, b"ReIsEr2Fs")]),
    ("JFS", [(32768, b"JFS1")]),
    ("F2FS", [(1024, b"\x10\x20\xf5\xf2")]),
    ("NILFS2", [(1024, struct.pack("<LHH", 2, 0, 0x3434))]),
    ("OCFS2", [(8192, b"OCFSV2")]),
    ("HPFS", [(8192, b"\x49\xe8\x95\xf9\xc5\xe9\x53\xfa")]),
    ("BeFS", [(512 + 32, b"1SFB")]),
    ("SCO BFS", [(0, struct.pack("<L", 0x1BADFACE))]),
    ("SquashFS", [(0, b"hsqs")]),
    ("EROFS", [(1024, b"\xe2\xe1\xf5\xe0")]),
    ("cramfs", [(0, b"\x45\x3d\xcd\x28")]),
    ("ProDOS", [(1024, b"\0\0\3\0\xf5"), (1024 + 35, b"\x27\x0d")]),
    ("Files-11", [(1008, b"DECFILE11B")]),
    ("swap", [(4096 - 10, b"SWAPSPACE2")]),
    ("swap", [(65536 - 10, b"SWAPSPACE2")]),
    ("LVM2", [(512, b"LABELONE"), (512 + 24, b"LVM2 001")]),
    ("Linux RAID", [(4096, b"\xfc\x4e\x2b\xa9\1\0\0\0")]),
    ("Linux RAID", [(MI - 8 * KI, b"\xfc\x4e\x2b\xa9\1\0\0\0")]),
    ("Linux RAID", [(MI - 64 * KI, b"\xfc\x4e\x2b\xa9")]),
    ("LUKS", [(0, b"LUKS\xba\xbe\0\2")]),
    ("ISO 9660", [(32768, b"\1CD001\1")]),
    ("High Sierra", [(32768 + 9, b"CDROM\1")]),
    ("UDF", [(32768, b"\0BEA01\1"), (34816, b"\0NSR02\1"), (36864, b"\0TEA01\1")]),
    ("Xbox disc", [(65536, b"MICROSOFT*XBOX*MEDIA")]),
    ("GameCube disc", [(28, b"\xc2\x33\x9f\x3d")]),
    ("Wii disc", [(24, b"\x5d\x1c\x9e\xa3")]),
    ("3DO disc", [(0, b"\1ZZZZZ\1\0")]),
    ("Sega disc", [(0, b"SEGADISCSYSTEM  ")]),
    ("CD-I", [(32768, b"\1CD-I \1")]),
    ("NeXT disk label", [(0, b"dlV3\0\0\0\0")]),
    ("DragonFly disk label", [(512, struct.pack("<L", 0xC4464C59))]),
    ("X68000 partition table", [(2048, b"X68K")]),
    ("ReFS", [(3, b"ReFS\0\0\0\0")]),
    ("bcache", [(4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"))]),
    ("Reiser4", [(65536, b"ReIsEr4")]),
    ("VxFS", [(1024, struct.pack("<L", 0xA501FCF5))]),
    ("GFS2", [(65536, struct.pack(">L", 0x01161970))]),
    ("QNX6", [(8192, struct.pack("<L", 0x68191122))]),
    ("romfs", [(0, b"-rom1fs-")]),
    ("VDO", [(0, b"dmvdo001")]),
    ("dm-verity", [(0, b"verity\0\0\1\0\0\0")]),
    ("dm-integrity", [(0, b"integrt\0\1")]),
    ("Stratis", [(516, b"!Stra0tis\x86\xff\2^\x41rh")]),
    ("AIX boot record", [(0, "IBMA".encode("cp500"))]),
    ("Xbox disk", [(0x600, b"BRFR")]),
    ("PlayStation 2 disk", [(4, b"APA\0")]),
    ("FATX", [(0, b"FATX")]),
    ("Acorn ADFS", [(513, b"Hugo")]),
    ("Atari disk", [(0x1C6, b"\1GEM")]),
    ("Atari disk", [(0x1C6 + 36, b"\x81XGM")]),
    ("Amiga PFS", [(0, b"PFS\1")]),
    ("Amiga SFS", [(0, b"SFS\0")]),
    ("Atari disk", [(0x1C2, struct.pack(">L", MI // 512))]),
    ("SquashFS", [(0, b"sqsh")]),
    ("cramfs", [(0, b"\x28\xcd\x3d\x45")]),
    ("X68000 floppy disk", [(0, b"\x60\x3c\x90X68IPL30")]),
    ("X68000 floppy disk", [(0, b"\x60\x1cHudson soft 2.00")]),
    ("disk of GNU Parted without partitions", [(0, b"GNU Parted Loopback 0\0")]),
    ("OpenBSD softraid", [(8192, b"marcCRAM")]),
    ("Ceph BlueStore", [(0, b"bluestore block device\n")]),
    ("Android super partition", [(4096, b"gDla")]),
    ("GEOM volume", [(MI - 512, b"GEOM::ELI\0")]),
    ("GEOM volume", [(MI - 4096, b"GEOM::ELI\0")]),
    ("Amiga Kickstart", [(0, b"KICK\0\0\0\0")]),
]


@pytest.mark.parametrize(("kind", "parts"), KINDS, ids=[f"{kind} {n}" for n, (kind, _) in enumerate(KINDS)])
def test_kinds(kind: str, parts: Parts) -> None:
    """Each sign at its place makes noise a disk, and the same bytes half a sector further do not."""
    assert seen(noisy(MI, *parts)) == Recognition(disk=kind)
    assert seen(noisy(MI, *((offset + 300, part) for offset, part in parts))).disk != kind


def test_every_kind_is_tried() -> None:
    """There is a case for each sign that is known."""
    elsewhere = {"DOS 1 floppy disk", "all zeros", *(name for name, _ in home_computers.RULES)}
    assert {kind for kind, _ in KINDS} | elsewhere == disks.KINDS


@pytest.mark.parametrize(("size", "media"), [(160, 0xFE), (180, 0xFC), (320, 0xFF), (360, 0xFD)])
def test_floppy_disks_of_dos_1(size: int, media: int) -> None:
    """A floppy disk without a parameter block is told by its size and its FAT together."""
    parts = (512, bytes([media, 0xFF, 0xFF]))
    assert seen(noisy(size * KI, parts)) == Recognition(disk="DOS 1 floppy disk")
    assert seen(noisy(size * KI + 512, parts)) == Recognition()


def test_noise() -> None:
    """Noise is nothing, of any size."""
    assert [size for size in (1, 511, 512, 4096, MI, 2 * MI) if seen(NOISE[:size]) != Recognition()] == []


@pytest.mark.parametrize("size", [1, 511, 512, HEAD_BYTES, HEAD_BYTES + 1, 2 * MI + 3])
def test_zeros(size: int) -> None:
    """Nothing but zeros is a disk that nobody has written to."""
    assert seen(bytes(size)) == Recognition(disk="all zeros")


@pytest.mark.parametrize("place", [0, HEAD_BYTES - 1, -1, -128 * KI])
def test_not_all_zeros(place: int) -> None:
    """One byte in the beginning or the end is enough to say that it is not all zeros."""
    data = bytearray(3 * MI)
    data[place] = 0x80
    assert seen(bytes(data)) == Recognition()


def test_places_between_are_looked_at() -> None:
    """Data somewhere behind a first MiB of zeros is seen, if it is as long as the distance of two places."""
    asked: list[int] = []
    size = 64 << 30

    def read(offset: int, length: int) -> bytes:
        asked.append(offset)
        return (b"x" if 20 << 30 <= offset < 22 << 30 else b"\0") * length

    assert recognise(sample(read, size), "disk.img") == Recognition()
    assert len(asked) == 66
    assert max(asked) == size - 4096


@given(st.binary(max_size=4096))
def test_random_bytes_are_no_disk(data: bytes) -> None:
    """Bytes are a disk only by one of the rules: take the sign away, and they are none."""
    found = seen(data)
    if found.disk == "boot signature":
        assert data[510:512] == b"\x55\xaa"
    elif found.disk == "all zeros":
        assert not any(data)
    elif found.disk is not None:
        assert seen(bytes(byte ^ 0xA5 for byte in data)).disk != found.disk


@given(st.integers(0, 2**64), st.integers(512, 70 * KI))
def test_noise_is_no_disk(seed: int, size: int) -> None:
    """Long noise, as encrypted files are, is no disk: it takes a sign of two bytes or more at its place."""
    data = random.Random(seed).randbytes(size)
    found = recognise(Sample(data, data[-4096:], size), "disk.img")
    assert found.disk == ("boot signature" if data[510:512] == b"\x55\xaa" else None)


def test_a_pipe_is_judged_by_head_and_tail() -> None:
    """What has come of a stream suffices: signs at the beginning and, as of UDIF and VHD, at the end."""
    head, size = noisy(64 * KI), 10 * MI
    koly = b"koly" + struct.pack(">LL", 4, 512) + bytes(500)
    assert recognise(Sample(head, koly, size), "-") == Recognition(container="dmg")
    assert recognise(Sample(head, b"conectix" + bytes(504), size), "-") == Recognition(container="vhd")
    assert recognise(Sample(head, bytes(512), size), "-") == Recognition()
    assert recognise(Sample(noisy(64 * KI, (510, b"\x55\xaa")), bytes(512), size), "-").disk == "boot signature"
