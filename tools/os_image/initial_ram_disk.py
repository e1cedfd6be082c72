"""The initial RAM disk of Debian's kernel: BusyBox and the drivers of disk and file system."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen
from tools.os_image.packages import ImageError

# In the order in which they are loaded; kernels that have one built in, or under no such name, go without it.
MODULES = """
scsi_common scsi_mod crc64 crc64-rocksoft_generic crc64-rocksoft crct10dif_common crct10dif_generic
crc-t10dif t10-pi sd_mod libata ata_piix crc16 mbcache jbd2 crc32c_generic ext4
"""
NEEDED = ("sd_mod", "ata_piix", "ext4")
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /m/$module.ko; done
tries=0
until [ -b /dev/sda2 ] || [ $tries -ge 100 ]; do $b sleep 0.1; tries=$((tries+1)); done
$b mount -t ext4 -o ro /dev/sda2 /new && $b mount --move /dev /new/dev && exec $b switch_root /new /sbin/init
exec $b sh
"""


@frozen
class Entry:
    """A directory (no data) or a file of the archive."""

    path: str
    data: bytes | None = None

    @property
    def mode(self) -> int:
        """Kind and permissions."""
        return stat.S_IFDIR | 0o755 if self.data is None else stat.S_IFREG | 0o755


def ram_disk(busybox: bytes, drivers: Path) -> bytes:
    """Make the archive, compressed, from the directory of a kernel's modules."""
    modules = {name: found for name in MODULES.split() if (found := _module(drivers, name))}
    if missing := [name for name in NEEDED if name not in modules]:
        raise ImageError(f"the kernel has no module {', '.join(missing)}")
    entries = [Entry(name) for name in ("bin", "dev", "new", "m")]
    entries += [Entry(f"m/{name}.ko", path.read_bytes()) for name, path in modules.items()]
    entries += [Entry("bin/busybox", busybox), Entry("init", INIT.format(modules=" ".join(modules)).encode())]
    return gzip.compress(b"".join(archive(entries)), 9, mtime=0)


def _module(drivers: Path, name: str) -> Path | None:
    return next(iter(sorted(drivers.rglob(f"{name}.ko"))), None)


def archive(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The pieces of a cpio archive in the format `newc` (the kernel's buffer-format.rst)."""
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", b"")], start=1):
        name, data = entry.path.encode() + b"\0", entry.data or b""
        links = 2 if entry.data is None else 1
        fields = (number, entry.mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
        yield _padded(head)
        yield _padded(data)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
