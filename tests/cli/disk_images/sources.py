"""Images as an import holds them: open, and examined."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aero_storage.cli.disk_images.convert import FindQemuImg, ImportSource, examine, opened
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.open_image import OpenImage
from aero_storage.cli.disk_images.opening import open_source
from aero_storage.cli.disk_images.qemu import QemuImg, find_qemu_img


@contextmanager
def examined(path: Path, override: str | None = None, find: FindQemuImg = find_qemu_img) -> Iterator[ImportSource]:
    """Open and examine an image for a with block, as an import does where qemu-img is confined."""
    with opened(path, override, find) as candidate:
        yield examine(candidate)


@contextmanager
def open_image(path: Path, name: str) -> Iterator[OpenImage]:
    """Open an image of one file for a with block, whatever is in it."""
    descriptor = open_source(path)
    try:
        yield OpenImage(ImageFile(path, descriptor, os.fstat(descriptor).st_size), name)
    finally:
        os.close(descriptor)


def unconfined() -> QemuImg:
    """Return qemu-img as it is where the kernel has no Landlock."""
    return QemuImg(find_qemu_img().program, None)
