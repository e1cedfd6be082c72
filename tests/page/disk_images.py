"""Disk images that the tools of Linux make: partition tables and file systems."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import NoReturn

MIB = 1 << 20
UUID = "12345678-9abc-4def-8123-456789abcdef"
PARTED = "label: dos\n2048,4096,83,*\n6144,,5\n8192,2048,82\n12288,2048,c\n"
GPT = ("-n", "1:2048:4095", "-t", "1:EF00", "-c", "1:EFI öäü", "-n", "2:4096:8191", "-t", "2:8300", "-c", "2:root")


@frozen
class Made:
    """An image: its size before its maker runs, the words of its maker, and the package of Debian that has it."""

    name: str
    size: int
    words: tuple[str, ...]
    package: str
    given: str | None = None
    """Its standard input."""


IMAGES = (
    Made("ext2", 4 * MIB, ("mke2fs", "-q", "-F", "-t", "ext2", "-L", "two", "-U", UUID, "{}"), "e2fsprogs"),
    Made("ext3", 8 * MIB, ("mke2fs", "-q", "-F", "-t", "ext3", "-L", "three", "-U", UUID, "{}"), "e2fsprogs"),
    Made("ext4", 8 * MIB, ("mke2fs", "-q", "-F", "-t", "ext4", "-L", "four", "-U", UUID, "{}"), "e2fsprogs"),
    Made("floppy", 1440 << 10, ("mkfs.fat", "-F", "12", "-n", "FLOPPY", "-i", "1234abcd", "{}"), "dosfstools"),
    Made("fat16", 32 * MIB, ("mkfs.fat", "-F", "16", "-n", "SIXTEEN", "-i", "1234abcd", "{}"), "dosfstools"),
    Made("fat32", 64 * MIB, ("mkfs.fat", "-F", "32", "--mbr=y", "-n", "WIDE", "-i", "1234abcd", "{}"), "dosfstools"),
    Made("exfat", 8 * MIB, ("mkfs.exfat", "-L", "Äx fat", "{}"), "exfatprogs"),
    Made("ntfs", 8 * MIB, ("mkfs.ntfs", "-q", "-F", "-Q", "-L", "Fenster ü", "{}"), "ntfs-3g"),
    Made("xfs", 320 * MIB, ("mkfs.xfs", "-q", "-L", "ex", "-m", f"uuid={UUID}", "{}"), "xfsprogs"),
    Made("btrfs", 128 * MIB, ("mkfs.btrfs", "-q", "-L", "butter", "-U", UUID, "{}"), "btrfs-progs"),
    Made("swap", 1 * MIB, ("mkswap", "-q", "-L", "paging", "-U", UUID, "{}"), "util-linux"),
    Made("squashfs", 0, ("mksquashfs", "{source}", "{}", "-quiet", "-no-progress", "-noappend"), "squashfs-tools"),
    Made("iso", 0, ("xorriso", "-as", "mkisofs", "-quiet", "-V", "DISC", "-o", "{}", "{source}"), "xorriso"),
    Made(
        "hfsplus",
        0,
        ("xorriso", "-as", "mkisofs", "-quiet", "-hfsplus", "-V", "APPLE", "-o", "{}", "{source}"),
        "xorriso",
    ),
    Made("mbr", 8 * MIB, ("sfdisk", "-q", "{}"), "fdisk", PARTED),
    Made("gpt", 8 * MIB, ("sgdisk", "-U", UUID, *GPT, "{}"), "gdisk"),
)


def path_with_tools() -> str:
    """Return the search path with the directories of the tools of root."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def make(image: Made, home: Path, lacking: Callable[[str], NoReturn]) -> Path:
    """Make one image in `home`."""
    tool = shutil.which(image.words[0], path=path_with_tools())
    if tool is None:
        lacking(f"{image.words[0]} is not installed (Debian: apt-get install {image.package})")
    source, target = home / "source", home / image.name
    source.mkdir(exist_ok=True)
    (source / "file").write_text("a file\n")
    if image.size:
        with target.open("wb") as file:
            file.truncate(image.size)
    words = [word.replace("{source}", str(source)).replace("{}", str(target)) for word in image.words[1:]]
    subprocess.run([tool, *words], input=image.given, text=True, capture_output=True, check=True, timeout=60)
    return target
