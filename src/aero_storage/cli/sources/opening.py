"""Turns what the operator names into a source: `-` is standard input, a URL is fetched, anything else is a file.

Compressed files, tar and ZIP archives are recognised by their content. One layer of compression and one of archives
are unpacked, in this order: `disk.img.xz`, `disk.ova`, `disk.tar.gz`, `disk.zip`, `disk.img.gz` in a tar archive.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import attrs

from aero_storage.cli.sources.compression import HEAD_BYTES, compression_of
from aero_storage.cli.sources.decompressed import decompressed
from aero_storage.cli.sources.http_body import open_url
from aero_storage.cli.sources.limits import LimitedSize, require_size
from aero_storage.cli.sources.stream import Incoming, Peekable, Stream
from aero_storage.cli.sources.tar_member import is_tar, tar_disk
from aero_storage.cli.sources.zip_member import is_zip, zip_disk
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError

STANDARD_INPUT = "-"
_STANDARD_INPUT_NAME = "standard input"

Say = Callable[[str], None]
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|https?:", re.ASCII | re.IGNORECASE)


@attrs.frozen
class SourceOptions:
    """Limits, and what is wanted of a source."""

    max_size: int
    say: Say
    """Takes remarks for the operator."""
    digested: bool = False
    """Whether `Source.sha256` will be asked for."""


@attrs.frozen
class Source:
    """A content that is read forward, once: `name` is for messages, printable and without secrets."""

    name: str
    file_name: str
    """The last part of the name of what holds the content, for a shorter message; never a path of ours."""
    stream: Stream
    size: int | None
    """Bytes of the content, if that is known beforehand."""
    incoming: Incoming
    """The bytes that come in, before anything is unpacked."""
    incoming_size: int | None
    sha256: Callable[[], str]
    """The digest of what came in, once the content was read."""


@attrs.frozen
class _Raw:
    """A source before anything is unpacked."""

    name: str
    file_name: str
    stream: Stream
    size: int | None = None
    file: int | None = None
    """The descriptor of a regular file."""


def plain_file(named: str) -> Path | None:
    """Return the path that the operator named unless it has to be fetched or unpacked; the file may be missing."""
    if named == STANDARD_INPUT or _URL.match(named):
        return None
    path = Path(named)
    try:
        with _opened_file(path) as (descriptor, _):
            head = os.pread(descriptor, HEAD_BYTES, 0)
    except OSError:
        return path  # its reader tells why
    is_packed = is_zip(head) or is_tar(head) or compression_of(head) is not None
    return None if is_packed else path


@contextmanager
def open_source(named: str, options: SourceOptions) -> Iterator[Source]:
    """Open what the operator named for a with block, to be read forward.

    Raises OperatorError, then or at a read, if it cannot be had, holds no disk or several, or is over the limits.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(_opened(named, options.say))
        incoming = Incoming(raw.stream, hashlib.sha256() if options.digested else None)
        head = Peekable(incoming)
        if is_zip(head.peek(HEAD_BYTES)):
            yield stack.enter_context(_in_zip(raw, options))
        else:
            yield _unpacked(raw, head, incoming, options)


def _unpacked(raw: _Raw, head: Peekable, incoming: Incoming, options: SourceOptions) -> Source:
    name, file_name, size = raw.name, raw.file_name, raw.size
    content, compression = decompressed(name, head)
    if compression is not None:
        file_name, size = compression.without_suffix(file_name), None
    if is_tar(content.peek(HEAD_BYTES)):
        member = tar_disk(name, content)
        name, size, content = f"{printable(member.name)} in {name}", member.size, member.stream
        file_name = _last_part(member.name)
    if content is not head:
        content, size = _once_more(name, content, size, is_compressed=compression is not None)
    if size is not None:
        require_size(name, size, options.max_size)
    limited = LimitedSize(name, options.max_size, content)
    return Source(name, file_name, limited, size, incoming, raw.size, _digest_of(head, incoming))


def _once_more(name: str, content: Peekable, size: int | None, *, is_compressed: bool) -> tuple[Peekable, int | None]:
    """Unpack a compressed disk out of an archive. Raises OperatorError if it is an archive, or compressed twice."""
    inner, compression = decompressed(name, content, nested=is_compressed)
    head = inner.peek(HEAD_BYTES)
    if is_tar(head) or is_zip(head):
        raise OperatorError(f"{name}: is an archive in an archive; unpack the outer one first")
    return inner, size if compression is None else None


@contextmanager
def _in_zip(raw: _Raw, options: SourceOptions) -> Iterator[Source]:
    file = raw.file
    if file is None:
        raise OperatorError(
            f"{raw.name}: is a ZIP archive, which can only be read as a file; save it first, and import the file"
        )
    with zip_disk(raw.name, file) as member:
        name = f"{printable(member.name)} in {raw.name}"
        incoming = Incoming(member.stream)
        content, size = _once_more(name, Peekable(incoming), member.size, is_compressed=False)
        require_size(name, member.size, options.max_size)
        limited = LimitedSize(name, options.max_size, content)
        file_name = _last_part(member.name)
        yield Source(name, file_name, limited, size, incoming, member.size, lambda: _digest_of_file(file))


def _digest_of(rest: Stream, incoming: Incoming) -> Callable[[], str]:
    """Return what reads the little that was not needed, padding at the most, and gives the digest of all."""

    def digest() -> str:
        while rest.read(HEAD_BYTES):
            pass
        return incoming.hexdigest()

    return digest


def _digest_of_file(descriptor: int) -> str:
    with open(os.dup(descriptor), "rb") as file:  # noqa: PTH123 - a descriptor
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(named: str, say: Say) -> Iterator[_Raw]:
    if named == STANDARD_INPUT:
        yield _standard_input()
    elif _URL.match(named):
        body = open_url(named, say)
        try:
            yield _Raw(body.name, _last_part(urlsplit(named).path), body, body.size)
        finally:
            body.close()
    else:
        with _opened_file(Path(named)) as (descriptor, size):
            yield _Raw(printable(named, None), _last_part(named), _DescriptorStream(descriptor), size, descriptor)


def _standard_input() -> _Raw:
    descriptor = sys.stdin.fileno()
    if os.isatty(descriptor):
        raise OperatorError(
            "standard input is a terminal; pipe an image into it: curl -L URL | aero-storage import - --id ID"
        )
    status = os.fstat(descriptor)
    size = status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR) if stat.S_ISREG(status.st_mode) else None
    return _Raw(_STANDARD_INPUT_NAME, _STANDARD_INPUT_NAME, _DescriptorStream(descriptor), size)


def _last_part(path: str) -> str:
    return printable(PurePosixPath(path).name) or "disk"


@contextmanager
def _opened_file(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file for a with block: descriptor and size. Raises OSError if it is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


@attrs.frozen
class _DescriptorStream:
    """The bytes of a file or a pipe from its position on."""

    descriptor: int

    def read(self, most: int, /) -> bytes:
        return os.read(self.descriptor, most)
