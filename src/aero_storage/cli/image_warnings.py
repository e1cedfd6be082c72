"""Warnings about an image that is served without an error: its content, its validators, its limits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import PurePath

from aero_storage.catalog.model import Image
from aero_storage.cli.disk_images.raw_disks import described
from aero_storage.cli.image_digests import digest_warnings
from aero_storage.cli.stored_image import StoredImage
from aero_storage.cli.terminal import printable
from aero_storage.image_formats.byte_source import Sample
from aero_storage.image_formats.recognition import recognise
from aero_storage.settings import Settings


def image_warnings(image: Image, stored: StoredImage, settings: Settings, *, sampled: bool = True) -> Iterator[str]:
    """Yield the warnings about an image whose raw file is `stored`. Raises OSError if the file cannot be read.

    Without `sampled` its content is not looked at: an import has done that.
    """
    if not sampled:
        yield from _range_limit(stored.size, settings)
        return
    found = stored.sample()
    if found is None:
        return
    yield from _content(image, stored.name, found.sample)
    yield from digest_warnings(image, found)
    yield from _range_limit(found.size, settings)


def _content(image: Image, name: str, sample: Sample) -> Iterator[str]:
    seen, word = recognise(sample, PurePath(name).name), shlex.quote(printable(name, None))
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
