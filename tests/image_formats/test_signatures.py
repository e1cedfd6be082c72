"""Files that are no raw disk are told by what they are, and the message says what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import pytest

from aero_storage.image_formats.byte_source import Sample, sample, short_sample
from aero_storage.image_formats.recognition import recognise
from aero_storage.image_formats.signatures import NAMES, SIGNATURES, Signature

SECTOR = 512
NOISE = bytes(range(1, 256)) * 32


def seen(data: bytes, name: str = "disk.img") -> Signature | None:
    return recognise(whole(data), name).other


def whole(data: bytes) -> Sample:
    return sample(lambda offset, length: data[offset : offset + length], len(data))


def filled(size: int, *parts: tuple[int, bytes]) -> bytes:
    """Noise with a few parts at their offsets, negative from the end."""
    data = bytearray((NOISE * (size // len(NOISE) + 1))[:size])
    for offset, part in parts:
        start = offset if offset >= 0 else size + offset
        data[start : start + len(part)] = part
    return bytes(data)


def tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        member = tarfile.TarInfo("disk.vmdk")
        member.size = len(NOISE)
        archive.addfile(member, io.BytesIO(NOISE))
    return target.getvalue()


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("disk.img", NOISE)
    return target.getvalue()


def text(words: str, encoding: str = "utf-8") -> bytes:
    return words.encode(encoding)


OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:href="disk.vmdk" ovf:id="file1"/></References></Envelope>
"""
HTML = "<!DOCTYPE html>\n<html><head><title>404</title></head><body>Not found</body></html>\n"
LIBVIRT = "<domain type='kvm'><name>vm</name></domain>"
PARALLELS = "<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version='1.0'></Parallels_disk_image>"
CUE = 'FILE "disc.bin" BINARY\n  TRACK 01 MODE1/2352\n    INDEX 01 00:00:00\n'
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

# What the message says, a part of the remedy, and the beginning of a file (or its parts by their offsets).
SAMPLES: list[tuple[str, str, bytes]] = [
    ("compressed with gzip", "aero-storage import", gzip.compress(NOISE)),
    ("compressed with xz", "aero-storage import", lzma.compress(NOISE)),
    ("compressed with lzma", "unlzma", lzma.compress(NOISE, lzma.FORMAT_ALONE)),
    ("compressed with bzip2", "aero-storage import", bz2.compress(NOISE)),
    ("compressed with bzip2", "aero-storage import", bz2.compress(b"")),
    ("compressed with zstd", "aero-storage import", b"\x28\xb5\x2f\xfd" + NOISE),
    ("compressed with zstd", "aero-storage import", b"\x50\x2a\x4d\x18\4\0\0\0" + NOISE),
    ("compressed with lz4", "aero-storage import", b"\x04\x22\x4d\x18\x64\x40" + NOISE),
    ("compressed with lz4 (legacy)", "lz4 -d", b"\x02\x21\x4c\x18" + NOISE),
    ("compressed with lzip", "lzip", b"LZIP\1" + NOISE),
    ("compressed with lzop", "lzop", b"\x89LZO\0\r\n\x1a\n" + NOISE),
    ("compressed with compress", "uncompress", b"\x1f\x9d\x90" + NOISE),
    ("a ZIP archive", "aero-storage import", zipped()),
    ("a 7z archive", "7z x", b"7z\xbc\xaf\x27\x1c\0\4" + NOISE),
    ("a RAR archive", "unrar", b"Rar!\x1a\x07\0" + NOISE),
    ("a RAR archive", "unrar", b"Rar!\x1a\x07\1\0" + NOISE),
    ("a tar archive", "aero-storage import", tar()),
    ("a cabinet file", "cabextract", b"MSCF\0\0\0\0" + NOISE),
    ("an ARJ archive", "arj", b"\x60\xea\x2b\0" + NOISE),
    ("an LHA archive", "lha", b"\x24\x37-lh5-" + NOISE),
    ("a cpio archive", "cpio", b"070701" + NOISE),
    ("a cpio archive", "cpio", b"\xc7\x71\x2a\xfe" + NOISE),
    ("an Oric floppy image", "HxC", b"MFM_DISK\2\0\0\0" + NOISE),
    ("an image of Anex86", "tail -c +4097", struct.pack("<8L", 0, 0, 4096, 20 << 20, 512, 17, 8, 615) + NOISE),
    ("an image of Anex86", "tail -c +4097", struct.pack("<8L", 0, 0x90, 4096, 1261568, 1024, 8, 2, 77) + NOISE),
    ("an image of flash memory (UBIFS)", "ubireader", b"\x31\x18\x10\6" + NOISE),
    ("an image of flash memory (JFFS2)", "jefferson", b"\x85\x19\x03\x20\x0c\0\0\0" + NOISE),
    ("an image of flash memory (JFFS2)", "jefferson", b"\x85\x19\x01\xe0" + NOISE),
    ("firmware (UEFI)", "disk image", bytes(16) + NOISE[:24] + b"_FVH" + NOISE),
    ("firmware (UF2)", "disk image", b"UF2\n\x57\x51\x5d\x9e" + NOISE),
    ("firmware (TRX)", "disk image", b"HDR0" + NOISE),
    ("a memory dump of Windows", "disk", b"MDMP\x93\xa7\0\0" + NOISE),
    ("a Debian package", "ar x", b"!<arch>\ndebian-binary" + NOISE),
    ("a DiskDoubler file", "unar", b"\xab\xcd\0\x54" + NOISE),
    ("encrypted by OpenSSL", "openssl", b"Salted__" + NOISE),
    ("encrypted or signed by PGP", "gpg", b"-----BEGIN PGP MESSAGE-----\n\n" + NOISE),
    ("an Android sparse image", "simg2img", b"\x3a\xff\x26\xed\1\0\0\0\x1c\0\x0c\0" + NOISE),
    ("an encrypted DMG", "hdiutil", b"encrcdsa\0\0\0\2" + NOISE),
    ("an encrypted DMG", "hdiutil", filled(4096, (-8, b"cdsaencr"))),
    ("a sparse image of macOS", "hdiutil", b"sprs\0\0\0\3" + NOISE),
    ("one part of a VMDK disk", "descriptor file", b"\xbe\xba\xfe\xca\0\0\0\0" + NOISE),
    ("the state of a VMware machine", "import the disk", b"\xd2\xbe\xd2\xbe\x08\0\0\0" + NOISE),
    ("the settings of a VMware machine", "import the disk", b'.encoding = "UTF-8"\nconfig.version = "8"\n'),
    ("the state of a VirtualBox machine", "import the disk", b"\x7fVirtualBox SavedState V2.0\n" + NOISE),
    ("the settings of a VirtualBox machine", "disk", text('<?xml version="1.0"?>\n<!-- -->\n<VirtualBox xmlns="x">')),
    ("the settings of a libvirt machine", "import the disk", text(LIBVIRT)),
    ("the state of a qemu machine", "import the disk", b"QEVM\0\0\0\3" + NOISE),
    ("a Proxmox backup", "vma extract", b"VMA\0\0\0\0\1" + NOISE),
    ("a sparse image of Bochs", "bximage", b"\xce\x8a\x46\x02" + NOISE),
    ("a cloop image", "qemu-img convert -f cloop", b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop" + NOISE),
    ("an OVF description", "import the disk that it names", text(OVF)),
    ("an OVF description", "import the disk that it names", b"\xef\xbb\xbf" + text(OVF)),
    ("an OVF description", "import the disk that it names", text(OVF, "utf-16")),
    ("the description of a Parallels disk", ".hds", text(PARALLELS)),
    ("a mainframe disk of Hercules", "Hercules", b"CKD_P370" + NOISE),
    ("an image of T98-Next", "PC-98", b"T98HDDIMAGE.R0\0" + NOISE),
    ("a forensic image (EWF, E01)", "ewfexport", b"EVF\x09\x0d\x0a\xff\0\1" + NOISE),
    ("a forensic image (EWF, E01)", "ewfexport", b"EVF2\x0d\x0a\x81\0\1" + NOISE),
    ("logical evidence (L01)", "ewfmount", b"LVF\x09\x0d\x0a\xff\0\1" + NOISE),
    ("a forensic image (AFF)", "affconvert", b"AFF10\r\n\0" + NOISE),
    ("a WIM archive", "wimapply", b"MSWIM\0\0\0\xd0" + NOISE),
    ("a Ghost image", "Ghost", b"\xfe\xef\1\3" + NOISE),
    ("an Acronis backup", "Acronis", b"\xb4\x6e\x68\x44" + NOISE),
    ("a Partclone image", "partclone.restore", b"partclone-image\0" + NOISE),
    ("a Partimage image", "partimage restore", b"PaRtImAgE-VoLuMe" + NOISE),
    ("an image of ntfsclone", "ntfsclone", b"\0ntfsclone-image" + NOISE),
    ("a stream of btrfs send", "btrfs receive", b"btrfs-stream\0" + NOISE),
    ("a stream of zfs send", "zfs receive", filled(4096, (0, bytes(8) + b"\xac\xcb\xba\xf5\2\0\0\0"))),
    ("a CHD image of MAME", "chdman", b"MComprHD\0\0\0\x7c" + NOISE),
    ("a compressed ISO (CSO)", "maxcso", b"CISO\x18\0\0\0" + NOISE),
    ("a Nero image", "nrg2iso", filled(4096, (-12, b"NER5" + bytes(8)))),
    ("a Nero image", "nrg2iso", filled(4096, (-8, b"NERO\0\0\x10\0"))),
    ("the description of a CD image", "iat", b"MEDIA DESCRIPTOR\1\3" + NOISE),
    ("a DiscJuggler image", "cdirip", filled(4096, (-8, b"\6\0\0\x80\x12\0\0\0"))),
    ("a CD image in raw sectors of 2352 bytes", "iat", b"\0" + b"\xff" * 10 + b"\0\0\2\0\1" + NOISE),
    ("a MagicISO image", "uif2iso", filled(4096, (-64, b"bbis"))),
    ("a Wii disc (WBFS)", "wit", b"WBFS\0\0\1\0" + NOISE),
    ("a CUE sheet", "import the image that it names", text(CUE)),
    ("an HFE floppy image", "hxcfe", b"HXCPICFE\0" + NOISE),
    ("an IPF floppy image", "hxcfe", b"CAPS\0\0\0\x0c" + NOISE),
    ("a flux image of an Apple floppy disk", "HxC", b"WOZ2\xff\n\r\n" + NOISE),
    ("a 2MG image", "tail -c +65", b"2IMGXGS!\x40\0" + NOISE),
    ("an ImageDisk image", "imd2raw", b"IMD 1.18: 01/02/2003 04:05:06\r\n\x1a" + NOISE),
    ("a TeleDisk image", "hxcfe", b"TD\0\x15\2" + NOISE),
    ("a TeleDisk image", "hxcfe", b"td\0\x15\2" + NOISE),
    ("a DSK image of a CPC", "hxcfe", b"MV - CPCEMU Disk-File\r\nDisk-Info\r\n" + NOISE),
    ("a DSK image of a CPC", "hxcfe", b"EXTENDED CPC DSK File\r\nDisk-Info\r\n" + NOISE),
    ("a floppy image of a Commodore", "HxC", b"GCR-1541\0" + NOISE),
    ("a DMS archive of an Amiga disk", "xdms", b"DMS!" + NOISE),
    ("a DiskCopy 4.2 image", "tail -c +85", filled(4096, (0, b"\5Disk1"), (80, b"\1\x22\1\0"))),
    ("a program (ELF)", "name the disk image", b"\x7fELF\2\1\1" + NOISE),
    ("a program (Mach-O)", "name the disk image", b"\xcf\xfa\xed\xfe\7\0\0\1" + NOISE),
    ("a program (PE, DOS)", "7z x", b"MZ\x90\0" + NOISE),
    ("a Linux kernel", "name the disk image", filled(4096, (510, b"\x55\xaa"), (514, b"HdrS"))),
    ("a script", "name the disk image", b"#!/bin/sh\nexit 1\n"),
    ("a PDF document", "name the disk image", b"%PDF-1.7\n" + NOISE),
    ("a picture (PNG)", "name the disk image", b"\x89PNG\r\n\x1a\n" + NOISE),
    ("a picture (JPEG)", "name the disk image", b"\xff\xd8\xff\xe0\0\x10JFIF" + NOISE),
    ("a database (SQLite)", "name the disk image", b"SQLite format 3\0" + NOISE),
    ("a web page (HTML)", "download the image itself", text(HTML)),
    ("a web page (HTML)", "download the image itself", text("\r\n  " + HTML.upper())),
    ("a web page (HTML)", "download the image itself", text("<!-- saved from url=(0014)about:internet -->\n<html>")),
    ("a web page (HTML)", "download the image itself", text(HTML, "utf-16")),
    (
        "a saved web page (MHTML)",
        "download the image itself",
        b"From: <Saved by Blink>\r\nSnapshot-Content-Location:",
    ),
    ("an XML document", "head", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'),
    ("a JSON document", "head", b'{"message": "Not Found"}'),
    ("a pointer of Git LFS", "git lfs pull", text(LFS)),
    ("a torrent", "aria2c", b"d8:announce35:http://tracker.example/announce13:creation date" + NOISE),
    ("text", "name the disk image", text("Grüße aus dem Handbuch\n" * 300)),
]


@pytest.mark.parametrize(
    ("kind", "remedy", "data"), SAMPLES, ids=[f"{kind} {n}" for n, (kind, _, _) in enumerate(SAMPLES)]
)
def test_samples(kind: str, remedy: str, data: bytes) -> None:
    """A file as its program writes it is told by its name, with what to do; its beginning and end suffice."""
    for part in (whole(data), short_sample(lambda offset, length: data[offset : offset + length], len(data))):
        found = recognise(part, "disk.img").other
        assert found is not None
        assert found.kind.startswith(kind)
        assert remedy in found.remedy


@pytest.mark.parametrize("signature", SIGNATURES, ids=[f"{one.kind} {n}" for n, one in enumerate(SIGNATURES)])
def test_every_signature_is_found(signature: Signature) -> None:
    """No signature hides behind another one of the table: each sample is told as what it is."""
    start = signature.opening + b" " + signature.holds + b"\n" if signature.opening else b""
    found = seen(filled(8192, (0, start), *signature.marks))
    assert found is not None
    assert found.kind == signature.kind


def test_words_of_the_table() -> None:
    """Each signature completes a sentence, has advice in one printable line, and marks of a useful length."""
    for one in [*SIGNATURES, *(named for _, named in NAMES)]:
        assert (one.kind + one.remedy).isprintable()
        assert one.kind[0].islower()
        assert not one.kind.endswith((".", ";"))
        assert one.remedy
    for one in SIGNATURES:
        length = sum(len(magic) for _, magic in one.marks) + len(one.opening)
        assert length >= (2 if one.is_weak else 3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("disk-f002.vmdk", "one part of a VMDK disk"),
        ("DISK-S001.VMDK", "one part of a VMDK disk"),
        ("disk.001", "one part of a file in several"),
        ("disk.part2", "one part of a file in several"),
        ("disk.img.crdownload", "a download that has not ended"),
        ("disk.img.part", "a download that has not ended"),
    ],
)
def test_names(name: str, kind: str) -> None:
    """A part of a disk, which may begin with a boot sector, and half a download are told by their names."""
    found = seen(filled(4096, (510, b"\x55\xaa")), name)
    assert found is not None
    assert found.kind.startswith(kind)


@pytest.mark.parametrize("name", ["disk-flat.vmdk", "disk.img", "disk.2024", "part1.img", "x.raw", "001"])
def test_names_that_say_nothing(name: str) -> None:
    """Other names leave the judgement to the bytes; a flat VMDK extent is the whole disk."""
    assert seen(filled(4096, (510, b"\x55\xaa")), name) is None


@pytest.mark.parametrize("data", [b"MZ\x90\0", b"BM", b"TD\0", b"\x60\xea", b"\x5d\0\0", b"SCP", b"{\n"])
def test_weak_signatures_give_way(data: bytes) -> None:
    """A few bytes that a boot sector may begin with say nothing where there is a sign of a disk."""
    disk = filled(4096, (0, data), (510, b"\x55\xaa"))
    assert recognise(whole(disk), "disk.img").disk == "boot signature"
    assert seen(filled(4096, (0, data))) is not None
