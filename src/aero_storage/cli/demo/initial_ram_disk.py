"""The initial RAM disk of Debian's kernel: BusyBox and the drivers of disk and file system."""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterable, Iterator, Mapping

import attrs

from aero_storage.errors import OperatorError

# In the order in which they are loaded; kernels that have one built in, or under no such name, go without it.
_DISK_MODULES = """
scsi_common scsi_mod crc64 crc64-rocksoft_generic crc64-rocksoft crct10dif_common crct10dif_generic
crc-t10dif t10-pi sd_mod libata ata_piix
"""
_EXT4_MODULES = "crc16 mbcache jbd2 crc32c_generic ext4"
_ISO_MODULES = "cdrom isofs"
MODULES = tuple(f"{_DISK_MODULES} {_EXT4_MODULES} {_ISO_MODULES}".split())
"""All that are wanted of a kernel."""

_NEEDED = ("sd_mod", "ata_piix")
_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in {modules}; do $b insmod /m/$module.ko; done
tries=0
until [ -b {device} ] || [ $tries -ge 100 ]; do $b sleep 0.1; tries=$((tries+1)); done
{mount}
exec $b sh
"""
_MOUNT_ROOT = (
    "$b mount -t ext4 -o ro {device} /new && $b mount --move /dev /new/dev && exec $b switch_root /new /sbin/init"
)
_MOUNT_DATA = "$b mount -t iso9660 -o ro {device} /data && exec $b env -i /sbin/init"


@attrs.frozen
class Entry:
    """A directory (no data), a file or a symbolic link of the archive."""

    path: str
    data: bytes | None = None
    is_link: bool = False

    @property
    def mode(self) -> int:
        """Kind and permissions."""
        if self.is_link:
            return stat.S_IFLNK | 0o777
        return stat.S_IFDIR | 0o755 if self.data is None else stat.S_IFREG | 0o755


def disk_starter(busybox: bytes, modules: Mapping[str, bytes]) -> bytes:
    """Make the archive that mounts the second partition as the root, compressed."""
    loaded = _loaded(modules, _EXT4_MODULES, "ext4")
    entries = [*(Entry(name) for name in ("bin", "dev", "new", "m")), Entry("bin/busybox", busybox)]
    return _packed(entries, loaded, "/dev/sda2", _MOUNT_ROOT)


def whole_system(root: Iterable[Entry], modules: Mapping[str, bytes]) -> bytes:
    """Make the archive that is the root itself, with the disc that it was started from at /data."""
    loaded = _loaded(modules, _ISO_MODULES, "isofs")
    return _packed([*root, Entry("m")], loaded, "/dev/sda1", _MOUNT_DATA)


def _packed(entries: list[Entry], modules: Mapping[str, bytes], device: str, mount: str) -> bytes:
    drivers = [Entry(f"m/{name}.ko", data) for name, data in modules.items()]
    init = _INIT.format(modules=" ".join(modules), device=device, mount=mount.format(device=device))
    return gzip.compress(b"".join(archive([*entries, *drivers, Entry("init", init.encode())])), 9, mtime=0)


def _loaded(modules: Mapping[str, bytes], of_file_system: str, needed: str) -> dict[str, bytes]:
    """Return the modules that are to be loaded, in their order. Raises OperatorError if one is missing."""
    if missing := [name for name in (*_NEEDED, needed) if name not in modules]:
        raise OperatorError(f"the kernel has no module {', '.join(missing)}")
    return {name: modules[name] for name in f"{_DISK_MODULES} {of_file_system}".split() if name in modules}


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
