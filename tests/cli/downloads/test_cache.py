"""Downloads: each is what its digest says, or it is not kept."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest
from attrs import define, field
from typing_extensions import override

from aero_storage.cli.downloads.cache import Digest, Downloads, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.package_registries import Registries

BODY = b"some bytes"
RIGHT = Digest("sha256", hashlib.sha256(BODY).hexdigest())


@define
class Heard:
    """What was said, and how long was waited."""

    said: list[str] = field(factory=list)
    waited: list[float] = field(factory=list)

    def downloads(self, directory: Path) -> Downloads:
        return Downloads(directory, self.said.append, self.waited.append)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_second_time_is_from_the_directory(served: Registries, heard: Heard, tmp_path: Path) -> None:
    """A file that is there with its digest is not fetched again; a damaged one is."""
    served.answers["/a/file.bin"] = BODY
    downloads = heard.downloads(tmp_path / "kept")
    path = downloads.file(f"{served.url}/a/file.bin", RIGHT, "a file")
    assert path.read_bytes() == BODY
    assert downloads.file(f"{served.url}/a/file.bin", RIGHT, "a file") == path
    assert served.asked == ["/a/file.bin"]
    path.write_bytes(b"damaged")
    assert downloads.file(f"{served.url}/a/file.bin", RIGHT, "a file").read_bytes() == BODY
    assert downloads.fetched == 2 * len(BODY)


def test_other_bytes_are_refused(served: Registries, heard: Heard, tmp_path: Path) -> None:
    """A body with another digest is an error that names its address, and nothing of it stays."""
    served.answers["/a/file.bin"] = BODY + b"!"
    with pytest.raises(UnavailableError, match=r"/a/file\.bin: is not what it should be"):
        heard.downloads(tmp_path).file(f"{served.url}/a/file.bin", RIGHT, "a file")
    assert list(tmp_path.iterdir()) == []


def test_busy_servers_are_asked_again(served: Registries, heard: Heard, tmp_path: Path) -> None:
    """A busy server is asked three times, with pauses that double; then it is an error."""
    served.answers["/file"] = BODY
    served.busy = 2
    assert heard.downloads(tmp_path).small(f"{served.url}/file", "a file", 100).content == BODY
    assert heard.waited == [1.0, 2.0]
    served.busy = 3
    with pytest.raises(UnavailableError, match="status 503"):
        heard.downloads(tmp_path).small(f"{served.url}/file", "a file", 100)


def test_missing_file(served: Registries, heard: Heard, tmp_path: Path) -> None:
    """A 404 is an error at once."""
    with pytest.raises(UnavailableError, match="status 404"):
        heard.downloads(tmp_path).small(f"{served.url}/none", "a file", 100)
    assert (len(served.asked), heard.waited) == (1, [])


def test_too_long(served: Registries, heard: Heard, tmp_path: Path) -> None:
    """A document is read up to its limit."""
    served.answers["/long"] = bytes(101)
    with pytest.raises(UnavailableError, match="longer than 100"):
        heard.downloads(tmp_path).small(f"{served.url}/long", "a file", 100)


def test_integrity_of_npm() -> None:
    """The digest of npm's registry is that of Subresource Integrity."""
    assert Digest.of_integrity("sha512-AAEC") == Digest("sha512", "000102")


class Full(io.BytesIO):
    @override
    def write(self, _data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@define
class FullDisk(Downloads):
    """A directory whose disk takes nothing."""

    @override
    @contextmanager
    def _staged(self) -> Iterator[IO[bytes]]:
        yield Full()


def test_full_disk_is_no_fault_of_the_server(served: Registries, tmp_path: Path) -> None:
    """A disk that is full is told as such at once: another try would fetch all again, in vain."""
    served.answers["/a/file.bin"] = BODY
    heard = Heard()
    with pytest.raises(OSError, match="No space left") as raised:
        FullDisk(tmp_path, heard.said.append, heard.waited.append).file(f"{served.url}/a/file.bin", RIGHT, "a file")
    assert raised.value.errno == errno.ENOSPC
    assert (served.asked, heard.said) == (["/a/file.bin"], [])
