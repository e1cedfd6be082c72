"""The image of an import up to the raw disk in the staging directory.

An image in a plain file is examined where it lies. A content that comes from a pipe or a server, or has to be
unpacked, is written to the staging directory first. A raw one is the disk then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, FreeSpace
from aero_storage.chunks.file_digest import TrailingDigest
from aero_storage.cli.disk_images import formats, vmdk_extents
from aero_storage.cli.disk_images.convert import (
    Candidate,
    ImportSource,
    candidate_of,
    examine,
    import_to,
    private_copy,
)
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.raw_disks import refuse_other
from aero_storage.cli.image_digests import result_sha256, source_sha256
from aero_storage.cli.import_options import ImportOptions
from aero_storage.cli.progress import progress
from aero_storage.cli.raw_contents import RawContents
from aero_storage.cli.repository import Placed, Say, Work
from aero_storage.cli.sources.limits import require_size
from aero_storage.cli.sources.opening import Source, SourceOptions
from aero_storage.cli.sources.target import WorkFile, pour
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import HEAD_BYTES, Sample
from aero_storage.image_formats.containers import container
from aero_storage.image_formats.signature_search import find_signature

STAGED = "image.raw"
"""The name of the raw disk in the staging directory."""

_CONTENT = "content"
"""The name of a content that has come in, until it is examined."""

_UNKNOWN_SIZE = 1 << 62  # larger than each size that a signature asks for


@attrs.frozen
class ReadyImage:
    """An examined image; its content may lie in the staging directory."""

    source: ImportSource
    is_staged: bool = False
    sha256: str | None = None
    """The digest of a content in the staging directory; None if it was not computed."""
    incoming_sha256: str | None = None
    """The digest of what came in, before it was unpacked; None if it was not asked for."""


@contextmanager
def examined_in(work: Work, image: Candidate | ImportSource, say: Say) -> Iterator[ReadyImage]:
    """Examine the image of a plain file for a with block, as a private copy where nothing confines qemu-img."""
    if isinstance(image, ImportSource):
        if not image.is_raw:  # the size of a raw file is known, and required, when it is copied
            work.foretell_staging(image.size, say)
        yield ReadyImage(image)
        return
    file = image.image.file
    say(f"Landlock cannot confine qemu-img here, so it gets a private copy of {file.path.name}.")
    with ExitStack() as stack:
        with progress(f"Copying {file.path.name}", file.size) as advance:
            copy = stack.enter_context(private_copy(image, work.staging, advance))
        yield ReadyImage(examine(copy))


@contextmanager
def arrived(
    source: Source, work: Work, format_override: str | None, options: SourceOptions, *, hashed: bool
) -> Iterator[ReadyImage]:
    """Write what comes from a source to the staging directory, and examine it as an image, for a with block.

    Raises OperatorError if it cannot be had or imported.
    """
    expected = look_ahead(source, format_override)
    if expected != formats.RAW:
        _tell(source, expected, options.say)
    work.foretell_staging(source.size or 0, options.say)
    staging = work.staging
    sha256 = _write_content(source, work, hashed=hashed)
    incoming = source.sha256() if options.digested else None
    with _opened(source, staging) as file:
        name = formats.choose(file, format_override)
        if vmdk_extents.is_descriptor_file(file, name):
            file.refuse("describes a VMDK disk of several files; import it from the folder that has them all")
        if name not in (formats.RAW, expected):
            _tell(source, name, options.say)
        with candidate_of(file, format_override) as candidate:
            image = examine(candidate)
            require_size(source.name, image.size, options.max_size)
            yield ReadyImage(image, is_staged=True, sha256=sha256, incoming_sha256=incoming)


def look_ahead(source: Source, format_override: str | None) -> str:
    """Return the format that the beginning shows; the end may show another one.

    Raises OperatorError if the beginning shows that there is no disk: then the rest need not come.
    """
    if format_override is not None:
        return format_override
    head = source.stream.peek(HEAD_BYTES)
    size = source.size or (len(head) if len(head) < HEAD_BYTES else _UNKNOWN_SIZE)
    known = Sample(head, b"", size)
    name = container(known)
    other = None if name else find_signature(known, source.file_name)
    if other is not None:
        refuse_other(printable(source.name, None), other, formats.NO_FILE)
    return name or formats.RAW


def _tell(source: Source, name: str, say: Say) -> None:
    say(f"{source.name} is {name}: a temporary file holds it for the conversion.")


def _write_content(source: Source, work: Work, *, hashed: bool) -> str | None:
    """Write the content to the staging directory, and return its digest if it is to be hashed."""
    file = WorkFile.create(work.staging, _CONTENT, work.staging_disk)
    with ExitStack() as stack:
        digest = stack.enter_context(_digest_of(file)) if hashed else None
        if digest is not None:
            file.followed = digest.follow
        advance = stack.enter_context(progress(f"Reading {source.file_name}", source.incoming_size))
        source.incoming.report_to(advance)
        pour(source.stream, file)
        return None if digest is None else digest.finish()


@contextmanager
def _digest_of(file: WorkFile) -> Iterator[TrailingDigest]:
    """Follow a file with a digest, by a descriptor that stays open when the file is finished or given up."""
    descriptor = os.dup(file.descriptor)
    try:
        with TrailingDigest.of(descriptor) as digest:
            yield digest
    finally:
        os.close(descriptor)


@contextmanager
def _opened(source: Source, staging: Directory) -> Iterator[ImageFile]:
    """Open the content; the messages about it have the name of the source."""
    descriptor = staging.open_file(_CONTENT, os.O_RDONLY)
    try:
        file = ImageFile(Path(source.file_name), descriptor, os.fstat(descriptor).st_size, is_temporary=True)
        if not file.size:
            file.refuse("is empty; there is nothing to import")
        yield file
    finally:
        os.close(descriptor)


@attrs.frozen
class StoredDisk:
    """An image whose disk is stored under a name that no catalog entry has yet."""

    image: ReadyImage
    placed: Placed
    sha256: str | None
    """None if it was not computed."""


@contextmanager
def stored(work: Work, image: ReadyImage, options: ImportOptions) -> Iterator[StoredDisk]:
    """Store the disk of an image, as `Work.placed` says. Raises OperatorError if another SHA-256 is expected.

    A raw disk that lies in a file of the operator's goes straight to where it is sent, if it is sent at all.
    """
    send, source = work.send, image.source
    if send is not None and source.is_raw and not image.is_staged:
        with ExitStack() as stack:
            with progress(f"Uploading {source.path.name}", source.size) as advance:
                contents = RawContents(source, options.sha256, options.digested, advance)
                placed = stack.enter_context(send(contents, source.size))
            yield StoredDisk(image, placed, contents.sha256)
        return
    sha256 = _write_disk(work, image, options)
    with work.placed(STAGED, sha256) as placed:
        yield StoredDisk(image, placed, sha256)


def _write_disk(work: Work, image: ReadyImage, options: ImportOptions) -> str | None:
    """Write the disk to the staging directory; return its SHA-256. Raises OperatorError if another is expected."""
    source = image.source
    is_known = options.sha256 is not None and options.sha256 in _digests_of_source(image)
    sha256 = _write(work, image, options)
    if options.sha256 is not None and not is_known and sha256 != options.sha256:
        of = "its SHA-256" if source.is_raw else "the SHA-256 of the disk in it"
        raise OperatorError(f"{source.path}: {of} is {sha256}, not {options.sha256}; nothing was imported")
    return sha256


def _digests_of_source(image: ReadyImage) -> tuple[str | None, ...]:
    if image.is_staged:
        return image.sha256, image.incoming_sha256
    return () if image.source.is_raw else (source_sha256(image.source),)


def _write(work: Work, image: ReadyImage, options: ImportOptions) -> str | None:
    source, staging = image.source, work.staging
    if image.is_staged and source.is_raw:
        staging.move(_CONTENT, staging, STAGED)
        return image.sha256
    with progress(f"Importing {source.path.name}", source.size) as advance:
        target, shown = staging.reachable(STAGED), staging.path / STAGED
        space = partial(FreeSpace.around, disk=work.staging_disk)
        sha256 = import_to(source, target, advance, shown, digested=options.digested, space_around=space)
    if sha256 is None and options.digested:
        sha256 = result_sha256(staging, STAGED, f"Computing the SHA-256 of {source.path.name}")
    return sha256
