"""Files of other kinds: programs, documents, pictures, and pages that were saved in place of an image."""

from __future__ import annotations

from aero_storage.image_formats.signatures.signature import Signature, by_magic, by_text, weakly

_OTHER = "name the disk image in its place"
_AGAIN = "download the image itself; look at the page for the reason: head {}"

_JFFS2 = b"\x85\x19\x03\x20", b"\x85\x19\x01\xe0", b"\x85\x19\x02\xe0", b"\x19\x85\x20\x03", b"\x19\x85\xe0\x01"
"""Its magic number with the kinds of a first node."""

_PROGRAMS: tuple[Signature, ...] = (
    *by_magic("a program (ELF)", _OTHER, b"\x7fELF"),
    *by_magic(
        "a program (Mach-O)",
        _OTHER,
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
    ),
    *by_magic("a program (Java or Mach-O)", _OTHER, b"\xca\xfe\xba\xbe"),
    *by_magic("a program (WebAssembly)", _OTHER, b"\0asm"),
    *by_magic("a Linux kernel", _OTHER, b"HdrS", at=514),
    *by_magic("a Linux kernel", _OTHER, b"ARM\x64", at=56),
    *by_magic("a U-Boot image", "take it apart: dumpimage -l {}", b"\x27\x05\x19\x56", b"\xd0\x0d\xfe\xed"),
    *by_magic("an Android boot image", "unpack it: unpack_bootimg --boot_img {}", b"ANDROID!"),
    *by_magic("an image of flash memory (UBI), no disk", "read it by ubireader_extract_images {}", b"UBI#\1"),
    *by_magic(
        "an image of flash memory (UBIFS), no disk", "read it by ubireader_extract_files {}", b"\x31\x18\x10\6"
    ),
    *by_magic("firmware (UEFI), no disk", _OTHER, b"_FVH", at=40),
    *by_magic("firmware (UF2), no disk", _OTHER, b"UF2\n\x57\x51\x5d\x9e"),
    *by_magic("firmware (TRX), no disk", _OTHER, b"HDR0"),
    *weakly("an image of flash memory (JFFS2), no disk", "read it by jefferson {}", *_JFFS2),
    *weakly("a program (PE, DOS)", "if it unpacks itself: 7z x {}", b"MZ"),
    *by_text("a script", _OTHER, b"#!"),
)
_DOCUMENTS: tuple[Signature, ...] = (
    *by_magic("a PDF document", _OTHER, b"%PDF-"),
    *by_magic("a picture (PNG)", _OTHER, b"\x89PNG\r\n\x1a\n"),
    *by_magic("a picture (JPEG)", _OTHER, b"\xff\xd8\xff"),
    *by_magic("a picture (GIF)", _OTHER, b"GIF87a", b"GIF89a"),
    *by_magic("a picture (TIFF)", _OTHER, b"II*\0", b"MM\0*"),
    *weakly("a picture (BMP)", _OTHER, b"BM"),
    *by_magic("a picture, sound or film (RIFF)", _OTHER, b"RIFF"),
    *by_magic("a film (MP4)", _OTHER, b"ftyp", at=4),
    *by_magic("a film (Matroska)", _OTHER, b"\x1a\x45\xdf\xa3"),
    *by_magic("a sound or film (Ogg)", _OTHER, b"OggS\0"),
    *by_magic("a sound (FLAC)", _OTHER, b"fLaC\0"),
    *by_magic("a sound (MP3)", _OTHER, b"ID3\2", b"ID3\3", b"ID3\4"),
    *by_magic("a document or installer of Windows (OLE)", _OTHER, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    *by_magic("a database (SQLite)", _OTHER, b"SQLite format 3\0"),
    *by_magic("a network capture", _OTHER, b"\xd4\xc3\xb2\xa1\2\0", b"\xa1\xb2\xc3\xd4\0\2", b"\x0a\x0d\x0d\x0a"),
    *by_magic("a pack of git", _OTHER, b"PACK\0\0\0\2"),
)
_PAGES: tuple[Signature, ...] = (
    *by_text(
        "a web page (HTML), saved in place of an image", _AGAIN, b"<!doctype html", b"<html", b"<head", b"<body"
    ),
    *by_text("a web page (HTML), saved in place of an image", _AGAIN, b"<!--", b"<?xml", b"<script", holds=b"<html"),
    *by_text("a saved web page (MHTML)", _AGAIN, b"mime-version:", b"from: <saved by", b'from: "saved by'),
    *by_text("an answer of a server (HTTP), no image", _AGAIN, b"http/1.", b"http/2"),
    *by_text("an XML document", "if a server answered with an error: head {}", b"<?xml", b"<error"),
    *by_text(
        "a JSON document", "if a server answered with an error: head {}", b'{"', b"{\n", b"{\r\n", b'[{"', b"[\n"
    ),
    *by_text("a pointer of Git LFS", "fetch the file: git lfs pull", b"version https://git-lfs.github.com/"),
    *by_text(
        "a torrent", "fetch what it names: aria2c {}", b"d8:announce", b"d7:comment", b"d10:created", b"magnet:"
    ),
    *by_text("a link to a web page", "download what it leads to", b"[internetshortcut]", b"[desktop entry]"),
    *by_text("a web archive (WARC)", "take the file out of it: warcat extract {}", b"warc/"),
)
TEXT = Signature("text", _OTHER)
"""A file that begins with nothing but text."""

FILES = (*_PAGES, *_PROGRAMS, *_DOCUMENTS)
