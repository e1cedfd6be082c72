"""The image that an import reads: examined where it is, or in the staging directory.

A content that comes from a pipe or a server, or has to be unpacked, is written there first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aero_storage.atomic_files import Directory
from aero_storage.cli.disk_images import formats, vmdk_extents
from aero_storage.cli.disk_images.convert import Candidate, ImportSource, candidate_of, examine, private_copy
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.image_files import Say
from aero_storage.cli.progress import progress
from aero_storage.cli.sources.limits import require_size
from aero_storage.cli.sources.opening import Source
from aero_storage.cli.sources.target import WorkFile, pour

CONTENT = "content"
"""The name of the content in the staging directory."""


@contextmanager
def examined_in(staging: Directory, image: Candidate | ImportSource, say: Say) -> Iterator[ImportSource]:
    """Examine the image of a plain file for a with block, as a private copy where nothing confines qemu-img."""
    if isinstance(image, ImportSource):
        yield image
        return
    file = image.image.file
    say(f"Landlock cannot confine qemu-img here, so it gets a private copy of {file.path.name}.")
    with ExitStack() as stack:
        with progress(f"Copying {file.path.name}", file.size) as advance:
            copy = stack.enter_context(private_copy(image, staging, advance))
        yield examine(copy)


@contextmanager
def arrived(
    source: Source, staging: Directory, format_override: str | None, max_size: int, say: Say
) -> Iterator[ImportSource]:
    """Write what comes from a source to the file CONTENT, and examine it as an image, for a with block.

    Raises OperatorError if it cannot be had or imported.
    """
    with progress(f"Reading {source.file_name}", source.incoming_size) as advance:
        source.incoming.report_to(advance)
        pour(source.stream, WorkFile.create(staging, CONTENT))
    with _opened(source, staging) as file:
        name = formats.choose(file, format_override)
        if vmdk_extents.is_descriptor_file(file, name):
            file.refuse("describes a VMDK disk of several files; import it from the folder that has them all")
        if name != formats.RAW:
            say(f"{source.name} is {name}: it is kept in a temporary file in the images root until it is converted.")
        with candidate_of(file, format_override) as candidate:
            image = examine(candidate)
            require_size(source.name, image.size, max_size)
            yield image


@contextmanager
def _opened(source: Source, staging: Directory) -> Iterator[ImageFile]:
    """Open the content; the messages about it have the name of the source."""
    descriptor = staging.open_file(CONTENT, os.O_RDONLY)
    try:
        file = ImageFile(Path(source.file_name), descriptor, os.fstat(descriptor).st_size)
        if not file.size:
            file.refuse("is empty; there is nothing to import")
        yield file
    finally:
        os.close(descriptor)
