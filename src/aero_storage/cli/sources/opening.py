"""Turns what the operator names into a source: `-` is standard input, a URL is fetched, anything else is a file.

Compressed files, tar and ZIP archives are recognised by their content. One layer of compression and one of archives
are unpacked: `disk.img.xz`, `disk.ova`, `disk.tar.gz`, `disk.zip`, `disk.img.gz` in an archive.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from aero_storage.cli.sources.compression import HEAD_BYTES, compression_of
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.cli.sources.inputs import Input, Say, is_path, last_part, opened_file, opened_input
from aero_storage.cli.sources.limits import LimitedSize, require_size
from aero_storage.cli.sources.members import Choice, Member
from aero_storage.cli.sources.stream import Incoming, Peekable, Stream
from aero_storage.cli.sources.tar_member import is_tar, tar_disk
from aero_storage.cli.sources.zip_member import is_zip, zip_disk
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.image_formats.byte_source import short_sample
from aero_storage.image_formats.containers import container

NO_ARCHIVE = "is no archive, so there is no member to choose; leave out --member"


@attrs.frozen
class SourceOptions:
    """Limits, and what is wanted of a source."""

    max_size: int
    say: Say
    """Takes remarks for the operator."""
    digested: bool = False
    """Whether `Source.sha256` will be asked for."""
    unpack: bool = True
    """Whether a compressed file or an archive is unpacked; else it is the content itself."""
    member: str | None = None
    """The file that is wanted of an archive; None: the only disk in it."""

    @property
    def choice(self) -> Choice:
        """The choice among the members of an archive."""
        return Choice(self.member, self.max_size)


@attrs.frozen
class Source:
    """A content that is read forward, once: `name` is for messages, printable and without secrets."""

    name: str
    file_name: str
    """The last part of the name of what holds the content, for a shorter message; never a path of ours."""
    stream: Peekable
    size: int | None
    """Bytes of the content, if that is known beforehand."""
    incoming: Incoming
    """The bytes that come in, before anything is unpacked."""
    incoming_size: int | None
    sha256: Callable[[], str]
    """The digest of what came in, once the content was read."""


@attrs.frozen
class _Content:
    """Bytes that may have to be unpacked further; see Source."""

    name: str
    file_name: str
    stream: Peekable
    size: int | None


def plain_file(named: str, *, unpack: bool = True) -> Path | None:
    """Return the path that the operator named unless it has to be fetched or unpacked; the file may be missing."""
    if not is_path(named):
        return None
    path = Path(named)
    try:
        with opened_file(path) as (descriptor, size):
            return None if unpack and _is_packed(descriptor, size) else path
    except OSError:
        return path  # its reader tells why


def _is_packed(descriptor: int, size: int) -> bool:
    """Return whether a file is compressed, or an archive, and no image of qemu: a DMG may begin with bzip2."""
    known = short_sample(lambda offset, length: os.pread(descriptor, length, offset), size)
    is_packed = is_zip(known.head) or is_tar(known.head) or compression_of(known.head) is not None
    return is_packed and container(known) is None


@contextmanager
def open_source(named: str, options: SourceOptions) -> Iterator[Source]:
    """Open what the operator named for a with block, to be read forward.

    Raises OperatorError, then or at a read, if it cannot be had, holds no disk or several, or is over the limits.
    """
    with opened_input(named, options.say) as given:
        incoming = Incoming(given.stream, hashlib.sha256() if options.digested else None)
        content = _Content(given.name, given.file_name, Peekable(incoming), given.size)
        if options.unpack and is_zip(content.stream.peek(HEAD_BYTES)):
            with _in_zip(given, options) as source:
                yield source
        else:
            digest = _digest_of(content.stream, incoming)
            inner = _limited(_unpacked(content, options) if options.unpack else content, options)
            yield Source(inner.name, inner.file_name, inner.stream, inner.size, incoming, given.size, digest)


def _unpacked(content: _Content, options: SourceOptions) -> _Content:
    """Take off the layers of a content that is no ZIP archive."""
    first = _decompressed(content)
    if is_tar(first.stream.peek(HEAD_BYTES)):
        member = tar_disk(first.name, first.stream, options.choice)
        return _innermost(_of_member(member, first.name), is_compressed=first is not content)
    if options.member is not None:
        raise OperatorError(f"{content.name}: {NO_ARCHIVE}")
    return first if first is content else _innermost(first, is_compressed=True)


def _decompressed(content: _Content, *, nested: bool = False) -> _Content:
    stream, compression = decompressed(content.name, content.stream, nested=nested)
    if compression is None:
        return content
    return _Content(content.name, compression.without_suffix(content.file_name), stream, None)


def _innermost(content: _Content, *, is_compressed: bool) -> _Content:
    """Decompress a disk out of an archive. Raises OperatorError if it is an archive, or compressed twice."""
    inner = _decompressed(content, nested=is_compressed)
    head = inner.stream.peek(HEAD_BYTES)
    if is_tar(head) or is_zip(head):
        raise OperatorError(f"{content.name}: is an archive in another file; unpack the outer one first")
    return inner


def _of_member(member: Member, archive: str) -> _Content:
    name = f"{printable(member.name)} in {archive}"
    return _Content(name, last_part(member.name), member.stream, member.size)


def _limited(content: _Content, options: SourceOptions) -> _Content:
    if content.size is not None:
        require_size(content.name, content.size, options.max_size)
    limited = LimitedSize(content.name, options.max_size, content.stream)
    return attrs.evolve(content, stream=Peekable(limited))


@contextmanager
def _in_zip(given: Input, options: SourceOptions) -> Iterator[Source]:
    file = given.file
    if file is None:
        raise OperatorError(
            f"{given.name}: is a ZIP archive, which can only be read as a file; save it first, and import the file"
        )
    with zip_disk(given.name, file, options.choice) as member:
        incoming = Incoming(member.stream)
        content = _of_member(attrs.evolve(member, stream=Peekable(incoming)), given.name)
        inner = _limited(_innermost(content, is_compressed=False), options)
        digest = _digest_of_file(file)
        yield Source(inner.name, inner.file_name, inner.stream, inner.size, incoming, member.size, digest)


def _digest_of(rest: Stream, incoming: Incoming) -> Callable[[], str]:
    """Return a function that reads what was not needed, padding at the most, and gives the digest of all."""

    def digest() -> str:
        while rest.read(HEAD_BYTES):
            pass
        return incoming.hexdigest()

    return digest


def _digest_of_file(descriptor: int) -> Callable[[], str]:
    """Return a function that gives the digest of a file."""

    def digest() -> str:
        with open(os.dup(descriptor), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()

    return digest
