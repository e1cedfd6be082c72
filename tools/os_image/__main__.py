"""Build a small Linux that boots in emulators: `python -m tools.os_image DIRECTORY`.

DIRECTORY gets `linux.img`, SeaBIOS (`bios.bin`, `vgabios.bin`) and `linux.json`, which has digests and packages.
Nothing is done where `linux.json` is of these sources and agrees with what lies there; `--anew` builds in any case.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.os_image.boot_partition import make_boot_partition
from tools.os_image.disk import write_disk
from tools.os_image.initial_ram_disk import ram_disk
from tools.os_image.packages import ImageError, Packages
from tools.os_image.root_files import make_root

DISK, FACTS = "linux.img", "linux.json"
FIRMWARE = {"bios.bin": "bios.bin", "vgabios.bin": "vgabios-stdvga.bin"}
ROOT_MIB = 24


def main(arguments: Sequence[str]) -> int:
    """Build what is not there yet; 0 if all is there."""
    parser = argparse.ArgumentParser(prog="python -m tools.os_image", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--anew", action="store_true", help="build even if all is there")
    given = parser.parse_args(arguments)
    directory: Path = given.directory.resolve()
    if not given.anew and is_current(directory):
        return 0
    try:
        build(directory)
    except ImageError as error:
        sys.stderr.write(f"os_image: {error}\n")
        return 1
    return 0


def sources() -> str:
    """The SHA-256 of what builds the disk."""
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_current(directory: Path) -> bool:
    """Whether all that a build leaves is there, made by these sources."""
    try:
        facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
        return bool(facts["sources"] == sources() and facts["files"] == _digests(directory))
    except (OSError, ValueError, KeyError):
        return False


def build(directory: Path) -> None:
    """Build everything in a temporary directory, then move it to its place."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aero-os-") as name:
        place = Path(name)
        packages = Packages.prepare(place / "apt")
        kernel = packages.newest_kernel()
        _fetch(packages, place, kernel)
        _assemble(place, kernel, directory)
    facts = {"sources": sources(), "kernel": kernel, "files": _digests(directory)}
    facts["packages"] = dict(sorted(packages.fetched.items()))
    (directory / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _fetch(packages: Packages, place: Path, kernel: str) -> None:
    packages.unpack(place / "guest", f"linux-image-{kernel}", "busybox-static")
    packages.unpack(place / "tools", *(f"{name}:{packages.host}" for name in ("syslinux", "mtools")))
    packages.unpack(place / "tools", "syslinux-common", "seabios")


def _assemble(place: Path, kernel: str, directory: Path) -> None:
    guest, tools = place / "guest", place / "tools"
    busybox = (guest / "bin" / "busybox").read_bytes()
    drivers = guest / "lib" / "modules" / kernel
    make_root(place / "root.ext4", ROOT_MIB, busybox)
    start = (guest / "boot" / f"vmlinuz-{kernel}").read_bytes()
    make_boot_partition(place / "boot.fat", tools, start, ram_disk(busybox, drivers))
    code = (tools / "usr" / "lib" / "SYSLINUX" / "mbr.bin").read_bytes()
    write_disk(directory / DISK, code, (place / "boot.fat").read_bytes(), (place / "root.ext4").read_bytes())
    for ours, theirs in FIRMWARE.items():
        shutil.copyfile(tools / "usr" / "share" / "seabios" / theirs, directory / ours)


def _digests(directory: Path) -> dict[str, str]:
    names = [DISK, *FIRMWARE]
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
