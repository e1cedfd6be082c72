"""Put a demo disk image into a directory that holds none: `demo_image.py [--base-url URL] DIRECTORY`.

The image is a real ext4 file system where `mke2fs` is at hand, else sectors that begin with their own number.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "demo.img"
SIZE = 64 * 1024 * 1024
SECTOR = 512
BOOT_SIGNATURE = b"\x55\xaa"
MANIFEST = "manifest.json"
IMAGE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

# Debian keeps mke2fs out of the PATH of users who are not root.
SYSTEM_DIRECTORIES = ("/sbin", "/usr/sbin")

README = """\
This file system was served by aero-storage.

data/ holds generated text: line N of every file begins with N, so that a wrong byte can be placed.
"""


class DemoError(Exception):
    """The image cannot be made; the message is one line for the user."""


def find_mke2fs() -> str | None:
    """Return the path of `mke2fs`, or None."""
    places = [os.environ.get("PATH", os.defpath), *SYSTEM_DIRECTORIES]
    return shutil.which("mke2fs", path=os.pathsep.join(places))


def image_files(directory: Path) -> list[Path]:
    """Return the files that the daemon would list without a manifest, sorted by name."""
    return sorted(
        entry
        for entry in directory.iterdir()
        if entry.is_file() and not entry.name.startswith(".") and entry.name != MANIFEST
    )


def write_tree(root: Path) -> None:
    """Write the files of the demo file system under `root`: a few hundred KiB of text in three directories."""
    (root / "README.txt").write_text(README, encoding="ascii")
    for number, directory in enumerate(("alpha", "beta", "gamma"), start=1):
        place = root / "data" / directory
        place.mkdir(parents=True)
        for copy in range(2):
            lines = (f"{line} {directory}-{copy} {line * 2654435761 % 2**32:08x}\n" for line in range(1500 * number))
            (place / f"lines-{copy}.txt").write_text("".join(lines), encoding="ascii")


def write_ext4(path: Path, mke2fs: str) -> None:
    """Make `path` an ext4 file system of `SIZE` bytes that holds the demo tree."""
    with tempfile.TemporaryDirectory(prefix="aero-storage-demo-") as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        write_tree(tree)
        options = ["-q", "-F", "-t", "ext4", "-L", "aero-demo", "-E", "root_owner=0:0", "-d", str(tree)]
        command = [mke2fs, *options, str(path), f"{SIZE // 1024}k"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no outside input
    if done.returncode:
        raise DemoError(f"{mke2fs} failed with status {done.returncode}: {' '.join(done.stderr.split())}")


def write_pattern(path: Path) -> None:
    """Make `path` an image of `SIZE` bytes in which each sector begins with its own number in ASCII.

    Each ends with a boot signature, by which an import takes the image for a raw disk.
    """
    per_block = 2048
    with path.open("wb") as image:
        for first in range(0, SIZE // SECTOR, per_block):
            image.write(b"".join(pattern_sector(number) for number in range(first, first + per_block)))


def pattern_sector(number: int) -> bytes:
    """Return one sector of the pattern."""
    return (b"%d\n" % number).ljust(SECTOR - len(BOOT_SIGNATURE), b".") + BOOT_SIGNATURE


def make_image(directory: Path, mke2fs: str | None) -> str:
    """Write the demo image into `directory`, complete or not at all, and return what it is."""
    descriptor, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=directory)
    os.close(descriptor)
    temporary = Path(name)
    try:
        if mke2fs:
            write_ext4(temporary, mke2fs)
        else:
            write_pattern(temporary)
        temporary.chmod(0o644)
        temporary.replace(directory / NAME)
    finally:
        temporary.unlink(missing_ok=True)
    return "an ext4 file system" if mke2fs else "numbered sectors, as there is no mke2fs here"


def provide_image(directory: Path, mke2fs: str | None) -> str:
    """Make sure that `directory` holds something to serve, and return a line on what was done."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / MANIFEST).exists():
        return f"{directory / MANIFEST} is there: no demo image made."
    if present := image_files(directory):
        return f"{present[0]} is there: no demo image made."
    kind = make_image(directory, mke2fs)
    return f"Made {directory / NAME}: {SIZE // 2**20} MiB, {kind}."


def first_id(directory: Path) -> str:
    """Return the id of an image that the daemon will list, or a placeholder."""
    try:
        catalog = json.loads((directory / MANIFEST).read_bytes())
        entries = catalog["images"] if isinstance(catalog, dict) else catalog
        return str(entries[0]["id"])
    except FileNotFoundError:
        names = [path.name for path in image_files(directory) if IMAGE_ID.fullmatch(path.name)]
        return names[0] if names else "IMAGE_ID"
    except (ValueError, LookupError, TypeError):
        return "IMAGE_ID"  # a broken manifest is the daemon's to report


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--base-url", metavar="URL", help="also print what to try on a daemon that listens there")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> str | None:
    """Run the command; return one line on what went wrong, or None."""
    options = parse_arguments(arguments)
    try:
        print(provide_image(options.directory, find_mke2fs()))
        if options.base_url:
            url = f"{options.base_url}/v1/images"
            name = first_id(options.directory)
            print(f"\n  list   {url}\n  meta   {url}/{name}/meta\n  image  {url}/{name}\n", flush=True)
    except DemoError as error:
        return f"demo_image: {error}"
    except OSError as error:
        return f"demo_image: {error.filename or options.directory}: {error.strerror or error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
