"""A floppy and a CD that a PC boots: each has a program of a few bytes, which writes a line to the serial line."""

from __future__ import annotations

import struct

SECTOR, BLOCK = 512, 2048
FLOPPY_SIZE = 1440 << 10
LOADED_AT = 0x7C00
SECOND_AT = 0x7E00
COM1 = 0x3F8
FAR_SECTOR = 18 * 2 * 40 + 20
"""A sector of the floppy on another cylinder: linear 1460 is cylinder 40, head 1, sector 3."""


def writes(at: int, text: bytes) -> bytes:
    """Return a program at `at` that writes a text to the first serial line and halts."""
    head = b"\xfc\x31\xc0\x8e\xd8\xbe" + b"__" + b"\xba" + struct.pack("<H", COM1)  # cld; ds = 0; si, dx
    loop = b"\xac\x84\xc0\x74\x03\xee\xeb\xf8"  # next: lodsb; test al, al; jz over; out dx, al; jmp next
    stop = b"\xf4\xeb\xfd"  # over: hlt; jmp over
    start = at + len(head) + len(loop) + len(stop)
    return head.replace(b"__", struct.pack("<H", start)) + loop + stop + text + b"\r\n\0"


def floppy(text: bytes) -> bytes:
    """Return a floppy of 1.44 MB: its first sector reads one from the middle, which writes the text."""
    cylinder, rest = divmod(FAR_SECTOR, 36)
    head, sector = divmod(rest, 18)
    load = b"\x31\xc0\x8e\xc0\xb4\x00\xb2\x00\xcd\x13"  # es = 0; reset drive 0
    load += b"\xb8\x01\x02\xbb" + struct.pack("<H", SECOND_AT)  # read one sector to SECOND_AT
    load += b"\xb9" + bytes([sector + 1, cylinder]) + b"\xba" + bytes([0, head]) + b"\xcd\x13"
    load += b"\x72\xfe"  # it failed: stay here
    load += b"\xea" + struct.pack("<HH", SECOND_AT, 0)
    disk = bytearray(FLOPPY_SIZE)
    disk[: len(load)] = load
    disk[510:512] = b"\x55\xaa"
    program = writes(SECOND_AT, text)
    disk[FAR_SECTOR * SECTOR : FAR_SECTOR * SECTOR + len(program)] = program
    return bytes(disk)


def disc(text: bytes, blocks: int = 400) -> bytes:
    """Return a CD with an El Torito record, without emulation: one sector of it writes the text."""
    volume = b"\x01CD001\x01\0" + b" " * 32 + b"A DISC".ljust(32) + bytes(8) + both(blocks)
    record = b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", 20)
    check = bytearray(b"\x01\0\0\0" + bytes(24) + b"\0\0\x55\xaa")
    struct.pack_into("<H", check, 28, -sum(struct.unpack("<16H", check)) & 0xFFFF)
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 21).ljust(32, b"\0")
    disk = bytearray(blocks * BLOCK)
    for block, data in {
        16: volume,
        17: record,
        18: b"\xffCD001\x01",
        20: bytes(check) + entry,
        21: writes(LOADED_AT, text),
    }.items():
        disk[block * BLOCK : block * BLOCK + len(data)] = data
    return bytes(disk)


def both(number: int) -> bytes:
    """Return a number as ISO 9660 has it: in both orders of bytes."""
    return struct.pack("<I", number) + struct.pack(">I", number)
