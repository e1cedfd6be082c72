"""Warnings about an image that is served without an error: its content, its validators, its limits."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aero_storage.catalog.model import Image
from aero_storage.cli.disk_images.raw_disks import described
from aero_storage.cli.image_digests import digest_warnings
from aero_storage.cli.terminal import printable
from aero_storage.image_formats.byte_source import Sample, short_sample
from aero_storage.image_formats.recognition import recognise
from aero_storage.settings import Settings


def image_warnings(image: Image, path: Path, settings: Settings) -> Iterator[str]:
    """Yield the warnings about an image whose raw file is `path`. Raises OSError if the file cannot be read."""
    with _opened(path) as descriptor:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        yield from _content(image, path, _sample(descriptor, status.st_size))
        yield from digest_warnings(image, status)
        yield from _range_limit(status.st_size, settings)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file whose links are resolved; a FIFO or a link that is in its place by now is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sample(descriptor: int, size: int) -> Sample:
    return short_sample(lambda offset, length: os.pread(descriptor, length, offset), size)


def _content(image: Image, path: Path, sample: Sample) -> Iterator[str]:
    seen, word = recognise(sample, path.name), shlex.quote(printable(path, None))
    if seen.container:
        yield (
            f"{image.file} is {seen.container}, emulators need raw; bring it in: "
            f"aero-storage import {word} --id {image.id}"
        )
    elif seen.other:
        yield f"{image.file} is {described(seen.other, word, image.id)}"


def _range_limit(size: int, settings: Settings) -> Iterator[str]:
    """Yield a warning if a client that asks for all of the image as one range gets a 413."""
    limit = settings.max_range_bytes
    if limit is not None and size > limit:
        yield (
            f"a range of more than {limit} bytes is a 413; rclone, axel, fsspec, nbdkit and qemu-io may ask for "
            "more, and need --max-range-bytes none"
        )
