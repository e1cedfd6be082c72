"""Compressed files, archives and encrypted files."""

from __future__ import annotations

from aero_storage.image_formats.signatures.signature import Signature, by_magic, by_text, weakly

_UNPACK = "unpack it first: "
_IMPORT = "bring it in: aero-storage import {} --id ID"
_IMPORT_DISK = "bring in the disk in it: aero-storage import {} --id ID"
_DECRYPT = "decrypt it first: "
_STUFFIT = f"{_UNPACK}unar {{}}"

ARCHIVES: tuple[Signature, ...] = (
    *by_magic("compressed with gzip", _IMPORT, b"\x1f\x8b\x08"),
    *by_magic("compressed with xz", _IMPORT, b"\xfd7zXZ\0"),
    *by_magic("compressed with zstd", _IMPORT, b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
    *by_magic("compressed with bzip2", _IMPORT, b"BZh"),
    *by_magic("compressed with lz4", _IMPORT, b"\x04\x22\x4d\x18"),
    *by_magic("compressed with lz4 (legacy)", f"{_UNPACK}lz4 -d {{}} disk.img", b"\x02\x21\x4c\x18"),
    *by_magic("compressed with lzip", f"{_UNPACK}lzip --decompress --keep {{}}", b"LZIP\1"),
    *by_magic("compressed with lzop", f"{_UNPACK}lzop -d {{}}", b"\x89LZO\0\r\n\x1a\n"),
    *by_magic("compressed with lrzip", f"{_UNPACK}lrunzip {{}}", b"LRZI"),
    *by_magic("compressed with LZFSE", f"{_UNPACK}lzfse -decode -i {{}} -o disk.img", b"bvx2", b"bvx-"),
    *by_magic("compressed with snappy", f"{_UNPACK}snzip -d {{}}", b"\xff\x06\0\0sNaPpY"),
    *by_magic("compressed with zpaq", f"{_UNPACK}zpaq extract {{}}", b"7kSt", b"zPQ\1", b"zPQ\2"),
    *weakly("compressed with compress", f"{_UNPACK}uncompress -k {{}}", b"\x1f\x9d"),
    *weakly("compressed with pack", f"{_UNPACK}gunzip --keep {{}}", b"\x1f\x1e"),
    *weakly("compressed with lzma", f"{_UNPACK}unlzma --keep {{}}", b"\x5d\0\0"),
    *by_magic("a ZIP archive", _IMPORT_DISK, b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    *by_magic("a 7z archive", f"{_UNPACK}7z x {{}}", b"7z\xbc\xaf\x27\x1c"),
    *by_magic("a RAR archive", f"{_UNPACK}unrar x {{}}", b"Rar!\x1a\x07", b"RE~^"),
    *by_magic("a tar archive (an OVA is one)", _IMPORT_DISK, b"ustar", at=257),
    *by_magic("a cabinet file", f"{_UNPACK}cabextract {{}}", b"MSCF\0\0\0\0", b"ISc("),
    *weakly("an ARJ archive", f"{_UNPACK}arj x {{}}", b"\x60\xea"),
    *by_magic("an LHA archive", f"{_UNPACK}lha x {{}}", b"-lh0-", b"-lh1-", b"-lh5-", b"-lh6-", b"-lh7-", at=2),
    *by_magic("an ACE archive", f"{_UNPACK}unace x {{}}", b"**ACE**", at=7),
    *by_magic("a ZOO archive", f"{_UNPACK}zoo -extract {{}}", b"\xdc\xa7\xc4\xfd", at=20),
    *by_magic("a cpio archive", f"{_UNPACK}cpio -idF {{}}", b"070701", b"070702", b"070707"),
    *weakly("a cpio archive", f"{_UNPACK}cpio -idF {{}}", b"\xc7\x71", b"\x71\xc7"),
    *by_magic("a Debian package or another ar archive", f"{_UNPACK}ar x {{}}", b"!<arch>\n"),
    *by_magic("an RPM package", f"{_UNPACK}rpm2cpio {{}} | cpio -id", b"\xed\xab\xee\xdb"),
    *by_magic("a XAR archive", f"{_UNPACK}xar -xf {{}}", b"xar!"),
    *by_magic("a StuffIt archive", _STUFFIT, b"SIT!\0", b"StuffIt (c)", b"StuffIt!"),
    *by_magic("a DiskDoubler file", _STUFFIT, b"\xab\xcd\0\x54"),
    *by_text("a BinHex file", _STUFFIT, b"(this file must be converted with binhex"),
    *by_magic("encrypted by OpenSSL", f"{_DECRYPT}openssl enc -d -in {{}} -out disk.img", b"Salted__"),
    *by_magic("encrypted by age", f"{_DECRYPT}age --decrypt -o disk.img {{}}", b"age-encryption.org/v1\n"),
    *by_text("encrypted or signed by PGP", f"{_DECRYPT}gpg --output disk.img --decrypt {{}}", b"-----begin pgp"),
)
