"""The guest's root file system: BusyBox, a console on the serial line, and files with their digests."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from aero_storage.cli.demo.initial_ram_disk import Entry
from aero_storage.cli.demo.programs import run
from aero_storage.errors import OperatorError

EPOCH = 1_700_000_000
"""The time of every file and of the file system itself, in seconds."""
UUID = "61e50000-0000-4000-8000-000000000015"
DATA_FILES, DATA_BYTES = 8, 1 << 20
DATA = "/data/"
SUMS = "/etc/SHA256SUMS"
LICENCES = "/usr/share/doc/"
DIRECTORIES = tuple(
    f"/{name}"
    for name in "bin sbin dev proc sys tmp etc etc/init.d root data usr usr/share usr/share/doc".split()  # noqa: SIM905
)
APPLETS = """
ash base64 basename cat chmod clear cmp cp cut date dd df dirname dmesg du echo env expr false find
free grep gunzip gzip head hexdump hostname kill less ln ls lsmod mkdir mknod more mount mv od printf ps pwd rm rmdir
sed sh sha256sum sleep sort stty sync tail tar tee test time top touch tr true umount uname uniq uptime vi wc which
xargs yes zcat
"""
INITIAL = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -o remount,rw / 2>/dev/null
hostname aero
cat /etc/motd | tee /dev/ttyS0 >/dev/tty1
"""
INITTAB = """::sysinit:/etc/init.d/rcS
tty1::respawn:-/bin/sh
ttyS0::respawn:-/bin/sh
::ctrlaltdel:/sbin/reboot
"""
GREETING = """
   aero-storage streamed this disk, sector by sector, while it booted.

   ls /data             some files
   verify               read every file, compare its SHA-256
   licences             what this system is made of

"""
VERIFY = f"""#!/bin/sh
sha256sum -c {SUMS} && echo "every file is right"
"""
SHOW_LICENCES = f"""#!/bin/sh
more {LICENCES}*
"""
PROFILE = """export PS1='aero:\\w# ' HOME=/root
cd
"""


@attrs.frozen
class File:
    """A file of the guest."""

    path: str
    data: bytes
    executable: bool = False


def files(busybox: bytes, licences: Mapping[str, bytes]) -> list[File]:
    """All regular files, with the texts of licences by the names of works; the last one has all their SHA-256."""
    found = [
        File("/bin/busybox", busybox, executable=True),
        File("/bin/verify", VERIFY.encode(), executable=True),
        File("/bin/licences", SHOW_LICENCES.encode(), executable=True),
        File("/etc/init.d/rcS", INITIAL.encode(), executable=True),
        File("/etc/inittab", INITTAB.encode()),
        File("/etc/motd", GREETING.encode()),
        File("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        File("/etc/profile", PROFILE.encode()),
        *(File(f"{LICENCES}{name}", text) for name, text in sorted(licences.items())),
        *_data_files(),
    ]
    sums = "".join(f"{hashlib.sha256(file.data).hexdigest()}  {file.path}\n" for file in found)
    return [*found, File(SUMS, sums.encode())]


def _data_files() -> Iterator[File]:
    made = random.Random(1)  # noqa: S311 - bytes that no compression shortens, the same each time
    for number in range(DATA_FILES):
        yield File(f"{DATA}block-{number}.bin", made.randbytes(DATA_BYTES))


def links() -> dict[str, str]:
    """Symbolic links and where they lead."""
    return {f"/bin/{name}": "busybox" for name in APPLETS.split()} | {
        f"/sbin/{name}": "/bin/busybox" for name in ("init", "reboot", "poweroff", "halt")
    }


def root_entries(contents: list[File]) -> list[Entry]:
    """Return the same tree for a RAM disk, but for the data, which stays on the disc."""
    directories = [Entry(path.removeprefix("/")) for path in DIRECTORIES]
    kept = [file for file in contents if not file.path.startswith(DATA)]
    return [
        *directories,
        *(Entry(file.path.removeprefix("/"), file.data) for file in kept),
        *(Entry(path.removeprefix("/"), target.encode(), is_link=True) for path, target in links().items()),
    ]


def make_root(image: Path, mib: int, contents: list[File]) -> None:
    """Make the file system. debugfs fills it: `mke2fs -d` takes change times and the order of files from the disk."""
    image.unlink(missing_ok=True)
    options = f"root_owner=0:0,lazy_itable_init=0,hash_seed={UUID}"
    kind = ("-t", "ext4", "-b", "4096", "-O", "^has_journal,^metadata_csum,^64bit,^resize_inode", "-m", "0")
    times = {"E2FSPROGS_FAKE_TIME": str(EPOCH), "SOURCE_DATE_EPOCH": str(EPOCH)}
    run(["mke2fs", "-q", *kind, "-U", UUID, "-E", options, "-L", "aero", image, f"{mib}M"], times)
    with tempfile.TemporaryDirectory(prefix="aero-root-") as place:
        commands = Path(place) / "commands"
        commands.write_text("\n".join(_commands(Path(place), contents)) + "\n", encoding="utf-8")
        # debugfs ends with 0 whatever fails; its complaints stand behind its own version.
        if complaints := run(["debugfs", "-w", "-f", commands, image], times).splitlines()[1:]:
            raise OperatorError(f"debugfs: {complaints[0]}")
    run(["e2fsck", "-f", "-n", image], times)


def _commands(place: Path, contents: list[File]) -> Iterator[str]:
    yield f"set_current_time @{EPOCH}"
    yield from (f"mkdir {path}" for path in DIRECTORIES)
    for number, file in enumerate(contents):
        source = place / str(number)
        source.write_bytes(file.data)
        yield f"write {source} {file.path}"
        yield f"set_inode_field {file.path} mode 0{0o100755 if file.executable else 0o100644:o}"
    yield from (f"symlink {path} {target}" for path, target in links().items())
    yield f"set_super_value mtime @{EPOCH}"
    yield f"set_super_value wtime @{EPOCH}"
    yield f"set_super_value lastcheck @{EPOCH}"
