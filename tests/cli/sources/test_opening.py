"""All that an operator may name: files, pipes and URLs, packed in every way that is unpacked, and in others."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import pty
import random
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.sources.http_server import HttpServer, answer
from tests.cli.sources.streams import all_of

from aero_storage.cli.sources.opening import Source, SourceOptions, open_source, plain_file
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

DISK = bytes(510) + b"\x55\xaa" + random.Random(1).randbytes(200_000) + bytes(300_000)
OPTIONS = SourceOptions(max_size=1 << 30, say=print, digested=True)


def tar(name: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        header = tarfile.TarInfo(name)
        header.size = len(data)
        archive.addfile(header, io.BytesIO(data))
    return target.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return target.getvalue()


PACKED = {
    "disk.img.gz": gzip.compress(DISK),
    "disk.img.xz": lzma.compress(DISK),
    "named.wrong": bz2.compress(DISK),
    "disk.ova": tar("disk.img", DISK),
    "disk.tar.gz": gzip.compress(tar("disk.img", DISK)),
    "gz-in.tar": tar("disk.img.gz", gzip.compress(DISK)),
}
IN_ZIP = {"disk.zip": zipped("disk.img", DISK), "gz-in.zip": zipped("disk.img.gz", gzip.compress(DISK))}
KNOWN_SIZE = {"disk.ova", "disk.zip", "disk.tar.gz"}


def open_descriptors() -> list[str]:
    return sorted(one.name for one in Path("/proc/self/fd").iterdir())


def taken(source: Source) -> bytes:
    data = all_of(source.stream, 60_000)
    assert source.size in (None, len(data))
    return data


@pytest.mark.parametrize("name", [*PACKED, *IN_ZIP])
def test_files(tmp_path: Path, name: str) -> None:
    """The disk comes out of a file, by its content; the size and the digest are right."""
    path = tmp_path / name
    path.write_bytes((PACKED | IN_ZIP)[name])
    assert plain_file(str(path)) is None
    counted: list[int] = []
    with open_source(str(path), OPTIONS) as source:
        assert (source.size is not None) == (name in KNOWN_SIZE)
        source.incoming.report_to(counted.append)
        assert taken(source) == DISK
        assert source.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
        assert source.name.endswith(str(path))
        assert source.file_name == ("named.wrong" if name == "named.wrong" else "disk.img")
        assert sum(counted) == source.incoming.count == source.incoming_size


@pytest.mark.parametrize("name", PACKED)
def test_urls(name: str) -> None:
    """The same from a URL."""
    with HttpServer(lambda _: answer(PACKED[name])) as server, open_source(server.url, OPTIONS) as source:
        assert taken(source) == DISK
        assert source.incoming_size == len(PACKED[name])
        assert source.sha256() == hashlib.sha256(PACKED[name]).hexdigest()
        assert source.name.endswith(server.url)


@contextmanager
def standard_input(descriptor: int) -> Iterator[None]:
    """Have a descriptor as standard input for a with block."""
    with open(descriptor, "rb", closefd=False) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", file)
        yield


@contextmanager
def redirected(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with standard_input(descriptor):
            yield
    finally:
        os.close(descriptor)


@contextmanager
def piped(data: bytes) -> Iterator[None]:
    """Have a pipe that holds data as standard input for a with block."""
    reading, writing = os.pipe()

    def feed() -> None:
        with suppress(BrokenPipeError), open(writing, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            file.writelines(data[at : at + 777] for at in range(0, len(data), 777))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with standard_input(reading):
            yield
    finally:
        os.close(reading)
        feeder.join(10)


@pytest.mark.parametrize("name", ["raw", *PACKED])
def test_pipes(name: str) -> None:
    """The same from a pipe, and raw content as it is."""
    data = DISK if name == "raw" else PACKED[name]
    with piped(data), open_source("-", OPTIONS) as source:
        assert taken(source) == DISK
        assert source.name.endswith("standard input")
        assert source.incoming_size is None
        assert source.sha256() == hashlib.sha256(data).hexdigest()


def test_pipe_that_does_not_block() -> None:
    """Standard input that another program has set to O_NONBLOCK is waited for, as any other."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def feed() -> None:
        os.write(writing, b"late")
        os.close(writing)

    feeder = threading.Timer(0.05, feed)  # the first read finds an empty pipe
    feeder.start()
    with standard_input(reading), open_source("-", OPTIONS) as source:
        assert all_of(source.stream) == b"late"
    os.close(reading)
    feeder.join(10)


def test_redirected_file(tmp_path: Path) -> None:
    """A file as standard input has a size: of what is left of it."""
    (tmp_path / "disk").write_bytes(b"12345" + DISK)
    with redirected(tmp_path / "disk"):
        os.read(sys.stdin.fileno(), 5)
        with open_source("-", OPTIONS) as source:
            assert source.size == source.incoming_size == len(DISK)
            assert taken(source) == DISK


def test_terminal() -> None:
    """A terminal is no pipe: the command does not wait for what nobody types."""
    ours, theirs = pty.openpty()
    try:
        with standard_input(theirs), pytest.raises(OperatorError, match="standard input is a terminal"):
            open_source("-", OPTIONS).__enter__()
    finally:
        os.close(ours)
        os.close(theirs)


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no standard input if it was closed at the start."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(OperatorError, match="standard input is closed"):
        open_source("-", OPTIONS).__enter__()


def test_zip_from_a_pipe() -> None:
    """A ZIP archive has its directory at the end: a pipe of it is refused, with advice; so is a URL."""
    said = "is a ZIP archive, which can only be read as a file; save it first, and import the file"
    with piped(IN_ZIP["disk.zip"]), pytest.raises(OperatorError, match=said):
        open_source("-", OPTIONS).__enter__()
    with HttpServer(lambda _: answer(IN_ZIP["disk.zip"])) as server, pytest.raises(OperatorError, match=said):
        open_source(server.url, OPTIONS).__enter__()


REFUSED = {
    "gz.gz": (gzip.compress(gzip.compress(DISK)), "compressed again, with gzip"),
    "gz in tar.gz": (gzip.compress(tar("d.img.gz", gzip.compress(DISK))), "compressed again, with gzip"),
    "xz.gz": (gzip.compress(lzma.compress(DISK)), "compressed again, with xz"),
    "tar in tar": (tar("disk.img", tar("disk.img", DISK)), "is an archive in another file"),
    "zip in tar": (tar("disk.img", IN_ZIP["disk.zip"]), "is an archive in another file"),
    "tar in zip": (zipped("disk.img", tar("disk.img", DISK)), "is an archive in another file"),
    "zip in gz": (gzip.compress(IN_ZIP["disk.zip"]), "is an archive in another file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_too_many_layers(tmp_path: Path, kind: str) -> None:
    """More layers than one of compression and one of archives are refused, in words."""
    data, said = REFUSED[kind]
    (tmp_path / "it").write_bytes(data)
    with pytest.raises(OperatorError, match=said):
        open_source(str(tmp_path / "it"), OPTIONS).__enter__()


@pytest.mark.parametrize("name", [*PACKED, *IN_ZIP])
def test_limit_of_size(tmp_path: Path, name: str) -> None:
    """The disk may have as many bytes as the limit, and not one more, however it is packed."""
    (tmp_path / "it").write_bytes((PACKED | IN_ZIP)[name])
    with open_source(str(tmp_path / "it"), SourceOptions(len(DISK), print)) as source:
        assert taken(source) == DISK
    with (
        pytest.raises(OperatorError, match="holds more than"),
        open_source(str(tmp_path / "it"), SourceOptions(len(DISK) - 1, print)) as source,
    ):
        taken(source)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Damage a file as disks, networks and attackers do."""
    it = bytearray(data)
    for _ in range(chance.choice([1, 2, 20])):
        at = chance.randrange(len(it)) if chance.random() < 0.6 else chance.randrange(min(len(it), 700))
        kind = chance.randrange(5)
        if kind == 0:
            it[at] = chance.choice([0, 255, 0x30 + chance.randrange(8), chance.randrange(256)])
        elif kind == 1 and at:
            del it[at : at + chance.randrange(1, 600)]
        elif kind == 2:
            it[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif kind == 3:
            it[at : at + 12] = b"%011o " % chance.choice([0, 1, 512, 2**33 - 1])
        else:
            start = chance.randrange(len(it))
            it[at : at + 512] = it[start : start + 512]
    return bytes(it)


SMALL = DISK[:4000] + bytes(3000)
SEEDS = [
    *(pack(SMALL) for pack in (gzip.compress, lzma.compress, bz2.compress)),
    *(tar("disk.img", SMALL), gzip.compress(tar("é" * 120 + ".img", SMALL))),
    *(zipped("disk.img", SMALL), zipped("disk.img.gz", gzip.compress(SMALL))),
]


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_damaged_files(tmp_path: Path, seed: int) -> None:
    """Damage of any kind ends as an error in printable words, or in a disk within the bounds, and in nothing else."""
    chance, complaints = random.Random(seed), list[str]()
    for _ in range(150):
        (tmp_path / "it").write_bytes(damaged(SEEDS[seed], chance))
        try:
            if plain_file(str(tmp_path / "it")) is None:
                with open_source(str(tmp_path / "it"), SourceOptions(1 << 22, print, digested=True)) as source:
                    assert len(all_of(source.stream)) <= 1 << 22
                    assert source.sha256()
        except OperatorError as error:
            complaints.append(str(error))
    assert complaints
    assert all(map(str.isprintable, complaints))


def test_not_unpacked(tmp_path: Path) -> None:
    """What is not to be unpacked comes as it is: a floppy may hold a tar archive, or a compressed root."""
    for name, data in (PACKED | IN_ZIP).items():
        (tmp_path / name).write_bytes(data)
        assert plain_file(str(tmp_path / name), unpack=False) == tmp_path / name
        with piped(data), open_source("-", SourceOptions(1 << 30, print, unpack=False)) as source:
            assert taken(source) == data


def test_plain_files(tmp_path: Path) -> None:
    """A file that is not packed is left to those who read it in place, and one that cannot be read too."""
    for path in (tmp_path / "disk.img.gz", tmp_path / "- x", tmp_path / "http-disk"):
        path.write_bytes(DISK)
        assert plain_file(str(path)) == path
    assert plain_file(str(tmp_path)) == tmp_path
    assert plain_file(str(tmp_path / "missing")) == tmp_path / "missing"
    for named in ("-", "http://h/x", "HTTPS://h/x", "https:/h/x", "ftp://h/x"):
        assert plain_file(named) is None


@pytest.mark.parametrize("url", ["ftp://host/disk.img", "https:/host/x", "s3://bucket/disk.img", "file:///images/x"])
def test_other_urls(url: str) -> None:
    """A URL that is not fetched is refused as a URL, and not as a missing file."""
    with pytest.raises(OperatorError, match=f"^{url} is no http or https URL"):
        open_source(url, OPTIONS).__enter__()


def test_link_of_another_user(tmp_path: Path) -> None:
    """A symbolic link of another user is not followed, whether the file is packed or not."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a link of another user")
    for name, data in (("plain", DISK), ("packed", PACKED["disk.img.gz"])):
        (tmp_path / name).write_bytes(data)
        link = tmp_path / f"{name}-link"
        link.symlink_to(tmp_path / name)
        os.chown(link, 12345, 12345, follow_symlinks=False)
        with pytest.raises(OperatorError, match="is a symbolic link of another user"):
            plain_file(str(link))
        with pytest.raises(OperatorError, match="is a symbolic link of another user"):
            open_source(str(link), OPTIONS).__enter__()


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """Files, connections and archives are closed at the end of the block, and when opening fails."""
    before = open_descriptors()
    for name, data in (PACKED | IN_ZIP | {kind: data for kind, (data, _) in REFUSED.items()}).items():
        (tmp_path / "it").write_bytes(data)
        try:
            with open_source(str(tmp_path / "it"), OPTIONS) as source:
                source.stream.read(10)
        except OperatorError:
            assert name in REFUSED
    with HttpServer(lambda _: answer(DISK)) as server, open_source(server.url, OPTIONS) as source:
        source.stream.read(10)
    assert open_descriptors() == before
