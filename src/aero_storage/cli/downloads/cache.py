"""A directory of downloads: each is fetched once, and is there only if its digest is right."""

from __future__ import annotations

import base64
import errno
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO
from urllib.parse import unquote, urlsplit

import attrs

from aero_storage.chunks.verify.remote import checked_url
from aero_storage.cli.progress import progress
from aero_storage.cli.sources.http_requests import CUT, Answer, ask, reason_of
from aero_storage.cli.sources.stream import PIECE
from aero_storage.cli.terminal import printable
from aero_storage.errors import OperatorError
from aero_storage.http.shown_urls import shown_url
from aero_storage.sizes import format_size

Say = Callable[[str], None]

_TRIES = 3
_BUSY = frozenset({429, 500, 502, 503, 504})
_OF_DISKS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
"""Errors of the directory, which no other try of the server mends."""
_DIGEST_DIGITS = 16
MOST_BYTES = 256 << 20


class UnavailableError(OperatorError):
    """Something cannot be downloaded; the message is one line with the address and the reason."""


@attrs.frozen
class Digest:
    """The digest that a download has to have."""

    algorithm: str
    hex: str

    @classmethod
    def of_integrity(cls, text: str) -> Digest:
        """Take the text of Subresource Integrity, as npm's registry has it: `sha512-` and base64."""
        algorithm, _, encoded = text.partition("-")
        return cls(algorithm, base64.b64decode(encoded).hex())

    def fits(self, path: Path) -> bool:
        """Return whether a file has this digest."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.hex


@attrs.frozen
class Document:
    """A document without a digest; `url` is where the redirects led to."""

    url: str
    content: bytes = attrs.field(repr=False)
    is_unaltered: bool
    """Whether nobody on the way can have changed it."""


@attrs.define
class Downloads:
    """Fetches by http and https into a directory."""

    directory: Path
    say: Say
    pause: Callable[[float], None] = time.sleep
    _fetched: int = attrs.field(init=False, default=0)

    @property
    def fetched(self) -> int:
        """Bytes that were fetched."""
        return self._fetched

    def file(self, url: str, digest: Digest, what: str) -> Path:
        """Return the file at a URL, from the directory if it is there. Raises OperatorError, and OSError."""
        path = self.directory / f"{digest.hex[:_DIGEST_DIGITS]}-{_name_of(checked_url(url))}"
        if path.is_file() and digest.fits(path):
            return path
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._staged() as file:
            self._fetch(url, file, what)
            if not digest.fits(Path(file.name)):
                raise UnavailableError(
                    f"{_shown(url)}: is not what it should be: its {digest.algorithm.upper()} is another one; "
                    "nothing of it is kept"
                )
            Path(file.name).replace(path)
        return path

    def small(self, url: str, what: str, most: int) -> Document:
        """Return a document that has no digest. Raises UnavailableError."""
        with TemporaryFile() as file:  # without a name, so a killed process leaves nothing
            answer = self._fetch(url, file, what, most)
            file.seek(0)
            return Document(_shown(answer.url), file.read(), answer.is_unaltered)

    @contextmanager
    def _staged(self) -> Iterator[IO[bytes]]:
        with NamedTemporaryFile(dir=self.directory, prefix=".", suffix="~", delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def _fetch(self, url: str, file: IO[bytes], what: str, most: int = MOST_BYTES) -> Answer:
        """Fetch all of a body, from the beginning at each try; return the answer, which is closed."""
        checked_url(url)
        for attempt in itertools.count(1):
            file.seek(0)
            file.truncate()
            try:
                answer = self._fetch_once(url, file, what, most)
            except CUT as error:
                if getattr(error, "errno", None) in _OF_DISKS:
                    raise
                if attempt == _TRIES:
                    raise UnavailableError(f"{_shown(url)}: cannot be fetched: {reason_of(error)}") from error
                self.say(f"{_shown(url)}: {reason_of(error)}; trying again.")
                self.pause(2.0 ** (attempt - 1))
            else:
                break
        file.flush()
        os.fsync(file.fileno())
        return answer

    def _fetch_once(self, url: str, file: IO[bytes], what: str, most: int) -> Answer:
        with closing(ask(url)) as answer:
            if answer.status in _BUSY:
                raise TimeoutError(f"the server is busy (status {answer.status})")
            if answer.status != HTTPStatus.OK:
                raise UnavailableError(f"{_shown(url)}: is answered with status {answer.status}")
            with progress(what, answer.length) as advance:
                self._take(answer, file, advance, most)
        return answer

    def _take(self, answer: Answer, file: IO[bytes], advance: Callable[[int], None], most: int) -> None:
        length = 0
        while data := answer.read(PIECE):
            length += len(data)
            if length > most:
                raise UnavailableError(f"{_shown(answer.url)}: is longer than {format_size(most)}")
            file.write(data)
            self._fetched += len(data)
            advance(len(data))
        if answer.length is not None and length != answer.length:
            raise TimeoutError(f"the connection was closed after {format_size(length)}")


def _name_of(url: str) -> str:
    """Return the last part of a path, as a file name."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    return "".join(char if char.isascii() and (char.isalnum() or char in "._+~-") else "_" for char in last)[-100:]


def _shown(url: str) -> str:
    return printable(shown_url(url), None)
