"""What can be known before long work is told before it: nothing is read, fetched or cut in vain."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.cli.sources.http_server import HttpServer, answer
from tests.command_output import CommandResult
from tests.disk_bytes import noise_disk
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import Directory, staging_directory
from aero_storage.cli import directory_work

Command = Callable[..., CommandResult]
Way = Callable[[Path], AbstractContextManager[None]]
DISK = noise_disk(5, 40_448)

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@contextmanager
def lock_held(root: Path) -> Iterator[None]:
    """Hold the lock of the catalog for a with block."""
    descriptor = os.open(root / ".aero-storage.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def busy(root: Path) -> Iterator[None]:
    with Directory.opened(root) as place, staging_directory(place, ".aero-storage~", "disk"):
        yield


@contextmanager
def broken_catalog(root: Path) -> Iterator[None]:
    (root / "manifest.json").write_text("{")
    yield


@contextmanager
def file_in_the_way(root: Path) -> Iterator[None]:
    (root / "imported").mkdir()
    (root / "imported/disk").write_bytes(b"")
    yield


@contextmanager
def file_as_imported(root: Path) -> Iterator[None]:
    (root / "imported").write_bytes(b"")
    yield


@contextmanager
def link_in_the_way(root: Path) -> Iterator[None]:
    (root / "imported").symlink_to("/")
    yield


@contextmanager
def no_lock_of_ours(root: Path) -> Iterator[None]:
    (root / ".aero-storage.lock").mkdir()
    yield


@contextmanager
def stale_chunks(root: Path) -> Iterator[None]:
    (root / "chunked/disk").mkdir(parents=True)
    (root / "chunked/disk/manifest.json").write_text("{}")
    yield


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    with mounted_tmpfs(root, "1m"):
        subprocess.run(["mount", "-o", "remount,ro", root], check=True, timeout=60)
        yield


@contextmanager
def read_only_imports(root: Path) -> Iterator[None]:
    (root / "imported").mkdir()
    with read_only(root / "imported"):
        yield


IN_THE_WAY: dict[Way, str] = {
    busy: "another process is at work in ",
    broken_catalog: "/manifest.json: ",
    file_in_the_way: "/imported/disk is a file where a directory is needed; move it away",
    file_as_imported: "/images/imported is a file where a directory is needed; move it away",
    link_in_the_way: "/imported is a symbolic link",
    no_lock_of_ours: "/.aero-storage.lock is no regular file",
    stale_chunks: "/chunked/disk/manifest.json is of older content",
    read_only: "/images cannot be written to: its file system is read-only",
    read_only_imports: "/imported cannot be written to: its file system is read-only",
}


@pytest.mark.parametrize("way", IN_THE_WAY, ids=lambda way: way.__name__)
def test_import_that_cannot_end(command: Command, root: Path, way: Way) -> None:
    """An import that could not be finished says so before it has asked for a single byte."""
    with HttpServer(lambda _: answer(DISK)) as server, way(root):
        before = sorted(root.rglob("*"))
        said = command("import", server.url, "--id", "disk")
        assert (said.status, IN_THE_WAY[way] in said.err, said.err.count("\n")) == (1, True, 1), said.err
        assert server.requests == []
        assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("words", [["import", "disk.raw", "--id", "new"], ["publish", "disk"]], ids=" ".join)
def test_lock_that_is_held(command: Command, root: Path, words: list[str]) -> None:
    """That another command holds the lock is the first that is said; the work is done meanwhile."""
    Path("disk.raw").write_bytes(DISK)
    assert command("import", "disk.raw", "--id", "disk").status == 0
    with lock_held(root):
        said = command(*words, "--lock-timeout", "0.1")
    early, *_, late, _ = [line for line in said.err.splitlines() if "lock" in line]
    assert early == (
        f"Another command holds {root}/.aero-storage.lock; this one begins, and needs the lock when its work is done."
    )
    assert "waiting for it, 0.1 seconds at the most" in late
    assert said.status == 1
    assert command(*words).status == 0


def test_image_that_is_replaced(command: Command, root: Path) -> None:
    """That an id exists already is said before the work, with what becomes of its file."""
    Path("disk.raw").write_bytes(DISK)
    assert "already" not in command("import", "disk.raw", "--id", "disk").err
    again = "disk is an image already: this import replaces it, and imported/disk/1.img goes then."
    assert again in command("import", "no-such-file", "--id", "disk").err
    (root / "mine.img").write_bytes(DISK)
    (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "mine.img", "name": "Mine"}]))
    said = command("import", "disk.raw", "--id", "disk")
    assert "this import replaces it, and mine.img is kept." in said.err


@pytest.mark.parametrize("way", [no_lock_of_ours, link_in_the_way], ids=lambda way: way.__name__)
def test_publication_that_cannot_end(
    command: Command,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    way: Way,
) -> None:
    """A publication that could not be finished says so before it has cut a chunk."""
    (root / "disk.img").write_bytes(DISK)
    (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "disk.img", "name": "Disk"}]))
    cut = list[object]()
    monkeypatch.setattr(directory_work, "publish", lambda **given: cut.append(given))
    with way(root):
        if way is link_in_the_way:
            (root / "imported").rename(root / "chunked")
        said = command("publish", "disk")
    assert (said.status, cut) == (1, []), said.err
    assert "is no regular file" in said.err or "is a symbolic link" in said.err


def test_space_that_may_lack(command: Command, root: Path) -> None:
    """That chunks may not fit is said before the work, which is done all the same: zeros take no space."""
    with mounted_tmpfs(root, "20m"):
        (root / "disk.img").write_bytes(bytes(10 << 20))
        (root / "manifest.json").write_text(json.dumps([{"id": "disk", "file": "disk.img", "name": "Disk"}]))
        said = command("publish", "disk")
        assert said.status == 0, said.err
        assert "Up to 10 MiB have to be written, and 9.0 MiB are free for them" in said.err
