"""A directory as a store: what it opens, what it never opens, and that a blob stays what it was when opened."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, ShortReadError
from aero_storage.storage.local.directory import ImageDirectory

INSIDE = b"0123456789"
HANG = 10
TEN_SECONDS_NS = 10 * 10**9

Layout = Callable[[Path], object]


def content(directory: ImageDirectory, name: str, *, follow_links: bool = True) -> bytes:
    with closing(directory.open(name, follow_links=follow_links)) as blob:
        return blob.read(0, blob.status.size)


def layout_of_a_file_below(root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "deep.img").write_bytes(INSIDE)


def link(name: str, target: str) -> Layout:
    def make(root: Path) -> None:
        layout_of_a_file_below(root)
        (root / name).symlink_to(target.replace("ROOT", str(root)))

    return make


# What is opened


@pytest.mark.parametrize(
    "name", ["disk.img", "./disk.img", ".//./disk.img", "a/b/deep.img", "a/./b/deep.img", "a//b/deep.img"]
)
@pytest.mark.parametrize("follow_links", [True, False])
def test_regular_files(root: Path, directory: ImageDirectory, name: str, *, follow_links: bool) -> None:
    """Regular files at any depth are opened, `.` and doubled slashes in their names or not."""
    layout_of_a_file_below(root)
    assert content(directory, name, follow_links=follow_links) == INSIDE


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (link("link.img", "disk.img"), "link.img"),
        (link("link.img", "./a/../disk.img"), "link.img"),
        (link("link.img", "ROOT/disk.img"), "link.img"),
        (link("link.img", "a/b/deep.img"), "link.img"),
        (link("a/b/up.img", "../../disk.img"), "a/b/up.img"),
        (link("linked", "a/b"), "linked/deep.img"),
        (link("linked", "ROOT/a"), "linked/b/deep.img"),
        (link("linked", "../images/a"), "linked/b/deep.img"),
    ],
)
def test_links_that_stay_inside(root: Path, directory: ImageDirectory, layout: Layout, name: str) -> None:
    """A symbolic link, relative or absolute, to a file or a directory, is followed if it ends under the root."""
    layout(root)
    assert content(directory, name) == INSIDE


def test_link_to_a_link(root: Path, directory: ImageDirectory) -> None:
    """Links are followed to their end, through other links."""
    (root / "first").symlink_to("second")
    (root / "second").symlink_to(root / "disk.img")
    assert content(directory, "first") == INSIDE


def test_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    """The root itself may be a symbolic link."""
    (tmp_path / "current").symlink_to(root)
    assert content(ImageDirectory(tmp_path / "current"), "disk.img") == INSIDE


def test_root_behind_a_relative_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative root is one under the working directory."""
    monkeypatch.chdir(root.parent)
    assert content(ImageDirectory(Path("images")), "disk.img") == INSIDE


def test_status_is_that_of_the_file(root: Path, directory: ImageDirectory) -> None:
    """Size and mtime of a blob are those of its file to the nanosecond, asked with and without opening it."""
    os.utime(root / "disk.img", ns=(0, 1_700_000_000_123_456_789))
    with closing(directory.open("disk.img")) as blob:
        assert blob.status == directory.status("disk.img")
    assert (blob.status.size, blob.status.validators.last_modified) == (10, 1_700_000_000_123_456_789)


# What is not there


def fifo(root: Path) -> None:
    os.mkfifo(root / "bad.img")


def fifo_behind_a_link(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "bad.img").symlink_to("pipe")


def unix_socket(root: Path) -> None:
    # By a short relative path: addresses of sockets are limited to 108 bytes.
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("bad.img")
    finally:
        os.chdir(here)


def nothing(_root: Path) -> None:
    pass


@pytest.mark.parametrize("follow_links", [True, False])
@pytest.mark.parametrize(
    ("layout", "name"),
    [
        pytest.param(nothing, "missing.img", id="missing"),
        pytest.param(nothing, "missing/missing.img", id="missing directory"),
        pytest.param(nothing, "disk.img/below", id="below a file"),
        pytest.param(nothing, ".", id="the root"),
        pytest.param(nothing, "", id="empty name"),
        pytest.param(nothing, "./.", id="dots only"),
        pytest.param(layout_of_a_file_below, "a", id="directory"),
        pytest.param(layout_of_a_file_below, "a/b/.", id="directory with a dot"),
        pytest.param(fifo, "bad.img", id="FIFO"),
        pytest.param(fifo_behind_a_link, "bad.img", id="FIFO behind a link"),
        pytest.param(unix_socket, "bad.img", id="socket"),
        pytest.param(link("bad.img", "nowhere"), "bad.img", id="dangling link"),
        pytest.param(link("bad.img", "a"), "bad.img", id="link to a directory"),
        pytest.param(link("bad.img", "."), "bad.img", id="link to the root"),
        pytest.param(link("bad.img", "bad.img"), "bad.img", id="loop"),
        pytest.param(link("bad", "bad"), "bad/disk.img", id="loop on the way"),
        pytest.param(link("bad.img", "../outside/secret.img"), "bad.img", id="link out"),
        pytest.param(link("bad.img", "ROOT/../outside/secret.img"), "bad.img", id="absolute link out"),
        pytest.param(link("bad", "../outside"), "bad/secret.img", id="directory link out"),
        pytest.param(link("bad", ".."), "bad/outside/secret.img", id="directory link to the parent"),
        pytest.param(link("bad.img", "/dev/null"), "bad.img", id="link to a device"),
        pytest.param(link("a/b/bad.img", "../../../outside/secret.img"), "a/b/bad.img", id="deep link out"),
        pytest.param(nothing, "x" * 256, id="name too long"),
        pytest.param(nothing, f"{'x' * 300}/disk.img", id="directory name too long"),
        pytest.param(nothing, "/".join(["x" * 200] * 30), id="path too long"),
        pytest.param(nothing, "../outside/secret.img", id="dot-dot out"),
        pytest.param(nothing, "../images-too/x.img", id="sibling with the same beginning"),
    ],
)
def test_not_found(root: Path, directory: ImageDirectory, layout: Layout, name: str, *, follow_links: bool) -> None:
    """What is no regular file under the root, once all links are resolved, is not there."""
    (root.parent / "images-too").mkdir()
    (root.parent / "images-too" / "x.img").write_bytes(b"another root's")
    layout(root)
    with pytest.raises(BlobNotFoundError):
        directory.open(name, follow_links=follow_links)
    with pytest.raises(BlobNotFoundError):
        directory.status(name, follow_links=follow_links)


@pytest.mark.parametrize("follow_links", [True, False])
def test_absolute_names(directory: ImageDirectory, outside: Path, *, follow_links: bool) -> None:
    """An absolute name never leads out of the root."""
    with pytest.raises(BlobNotFoundError):
        directory.open(str(outside / "secret.img"), follow_links=follow_links)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (link("link.img", "disk.img"), "link.img"),
        (link("linked", "a/b"), "linked/deep.img"),
        (link("linked", "ROOT/a"), "linked/b/deep.img"),
    ],
)
def test_links_are_refused_where_they_are_not_followed(
    root: Path, directory: ImageDirectory, layout: Layout, name: str
) -> None:
    """Without `follow_links` no symbolic link is followed, at the end or on the way, wherever it leads."""
    layout(root)
    with pytest.raises(BlobNotFoundError):
        directory.open(name, follow_links=False)


def test_root_that_is_gone(tmp_path: Path) -> None:
    """Nothing is found under a root that does not exist."""
    with pytest.raises(BlobNotFoundError):
        ImageDirectory(tmp_path / "gone").open("disk.img")


# A race against the check


@pytest.fixture
def before_open(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Do something just before the `nth` call of os.open, after names were resolved and checked."""

    def arm(nth: int, act: Callable[[], object]) -> None:
        real, calls = os.open, iter(range(1000))

        def hooked(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if next(calls) == nth:
                act()
            return real(path, flags, mode, dir_fd=dir_fd)

        monkeypatch.setattr(os, "open", hooked)

    return arm


def swap(path: Path, target: Path) -> None:
    path.rename(path.with_name("moved-away"))
    path.symlink_to(target)


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/disk.img"])
@pytest.mark.parametrize("follow_links", [True, False])
def test_swap_between_check_and_open(
    root: Path,
    directory: ImageDirectory,
    before_open: Callable[[int, Callable[[], object]], None],
    nth: int,
    swapped: str,
    *,
    follow_links: bool,
) -> None:
    """A component that becomes a link out of the root after the check gives the file that was meant, or none."""
    twin = root.parent / "twin"
    for base, data in ((root, INSIDE), (twin, b"not for sale")):
        (base / "a" / "b").mkdir(parents=True)
        (base / "a" / "b" / "disk.img").write_bytes(data)
    before_open(nth, lambda: swap(root / swapped, twin / swapped))
    try:
        found = content(directory, "a/b/disk.img", follow_links=follow_links)
    except BlobNotFoundError:
        found = None
    assert found in {INSIDE, None}
    assert (root / swapped).is_symlink()


@pytest.mark.parametrize("nth", range(2))
def test_link_that_moves_between_check_and_open(
    root: Path,
    directory: ImageDirectory,
    outside: Path,
    before_open: Callable[[int, Callable[[], object]], None],
    nth: int,
) -> None:
    """A link that is turned elsewhere after it was resolved does not matter any more."""
    (root / "link.img").symlink_to("disk.img")

    def turn() -> None:
        (root / "link.img").unlink()
        (root / "link.img").symlink_to(outside / "secret.img")

    before_open(nth, turn)
    assert content(directory, "link.img") == INSIDE


def test_fifo_in_the_place_of_a_file(
    root: Path, directory: ImageDirectory, before_open: Callable[[int, Callable[[], object]], None]
) -> None:
    """A FIFO that takes the place of a file after the check neither hangs the open nor is served."""

    def act() -> None:
        (root / "disk.img").unlink()
        os.mkfifo(root / "disk.img")

    before_open(1, act)
    with pytest.raises(BlobNotFoundError):
        directory.open("disk.img")


# What is there but cannot be had


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == name:
            raise OSError(number, os.strerror(number))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refusing)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ESTALE])
@pytest.mark.parametrize("name", ["images", "a", "b", "deep.img"])
def test_unreadable(
    root: Path, directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    """A file that is there but cannot be opened is unreadable, not missing; nothing stays open."""
    layout_of_a_file_below(root)
    refuse(monkeypatch, name, number)
    with pytest.raises(BlobUnreadableError, match=r"deep\.img"):
        directory.open("a/b/deep.img")
    with pytest.raises(BlobUnreadableError):
        directory.status("a/b/deep.img")


def test_stat_that_fails(directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose size cannot be told after the open (a stale network file system) is unreadable and closed."""

    def fail(_descriptor: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)  # for no longer than the open: pytest itself needs it
        try:
            directory.open("disk.img").close()
        except BlobUnreadableError:
            return
    pytest.fail("it was opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_directory_that_may_be_entered_but_not_listed(root: Path, directory: ImageDirectory) -> None:
    """A readable file in a directory of mode 0711 can be read: to reach it takes no right to list."""
    layout_of_a_file_below(root)
    (root / "a").chmod(0o311)
    try:
        assert content(directory, "a/b/deep.img") == INSIDE
    finally:
        (root / "a").chmod(0o755)


# Reading


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (0, 1), (3, 4), (9, 1), (0, 0), (10, 0)])
def test_read(directory: ImageDirectory, offset: int, length: int) -> None:
    """A read gives exactly the bytes that were asked for."""
    with closing(directory.open("disk.img")) as blob:
        assert blob.read(offset, length) == INSIDE[offset : offset + length]


def test_read_in_pieces(directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gives less than it was asked for is asked again."""
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: real(descriptor, min(length, 3), offset))
    with closing(directory.open("disk.img")) as blob:
        assert blob.read(1, 8) == INSIDE[1:9]


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (10, 1), (1000, 1)])
def test_read_past_the_end(directory: ImageDirectory, offset: int, length: int) -> None:
    """Bytes that are not there are a short read, never fewer bytes."""
    with closing(directory.open("disk.img")) as blob, pytest.raises(ShortReadError):
        blob.read(offset, length)


def truncate(path: Path) -> None:
    os.truncate(path, 5)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    path.write_bytes(b"9876543210")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + TEN_SECONDS_NS))


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def turn_back(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns - TEN_SECONDS_NS))


@pytest.mark.parametrize("change", [truncate, empty, grow, rewrite, touch, turn_back])
def test_file_that_changes_in_place(root: Path, directory: ImageDirectory, change: Layout) -> None:
    """Once size or mtime differ from what the headers promised, no byte is given out, not even one still there."""
    with closing(directory.open("disk.img")) as blob:
        assert blob.read(0, 2) == INSIDE[:2]
        change(root / "disk.img")
        with pytest.raises(ShortReadError):
            blob.read(2, 2)


def test_file_that_changes_under_a_read(
    root: Path, directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is rewritten just before its bytes are fetched is noticed in the same read."""
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        rewrite(root / "disk.img")
        return real(descriptor, length, offset)

    with closing(directory.open("disk.img")) as blob:
        monkeypatch.setattr(os, "pread", pread)
        with pytest.raises(ShortReadError):
            blob.read(0, 2)


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"another version, longer")
    new.rename(path)


@pytest.mark.parametrize("change", [replace, Path.unlink])
def test_file_that_is_replaced_or_removed(root: Path, directory: ImageDirectory, change: Layout) -> None:
    """A file that is replaced by rename, or unlinked, is read to its end from the version that was opened."""
    with closing(directory.open("disk.img")) as blob:
        change(root / "disk.img")
        assert blob.read(0, 10) == INSIDE


def test_disk_that_fails(directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk comes through as it is, and the blob can be closed after it."""

    def fail(_descriptor: int, _length: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with closing(directory.open("disk.img")) as blob, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        blob.read(0, 1)


# Closing


def test_read_after_close(directory: ImageDirectory) -> None:
    """A blob that is closed gives no bytes any more, whatever its descriptor's number means by now."""
    blob = directory.open("disk.img")
    blob.close()
    with closing(directory.open("disk.img")), pytest.raises(ShortReadError):
        blob.read(0, 1)


def test_second_close(directory: ImageDirectory) -> None:
    """A second close does nothing: least of all to the file that has the descriptor's number now."""
    first = directory.open("disk.img")
    first.close()
    with closing(directory.open("disk.img")) as second:
        first.close()
        assert second.read(0, 10) == INSIDE


def test_close_under_reads(
    directory: ImageDirectory, opened: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Close does not wait for reads under way; they get their bytes, and the last one gives the descriptor back."""
    started, proceed = threading.Semaphore(0), [threading.Event(), threading.Event()]
    real, results = os.pread, {}

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        started.release()
        assert proceed[offset].wait(HANG)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    blob = directory.open("disk.img")

    def read(offset: int) -> None:
        results[offset] = blob.read(offset, 4)

    readers = [threading.Thread(target=read, args=(offset,)) for offset in (0, 1)]
    for reader in readers:
        reader.start()
        assert started.acquire(timeout=HANG)
    blob.close()
    with pytest.raises(ShortReadError):
        blob.read(2, 4)
    for offset, reader in enumerate(readers):
        assert opened()
        proceed[offset].set()
        reader.join(HANG)
    assert results == {0: b"0123", 1: b"1234"}
    assert not opened()


def test_close_under_a_read_that_fails(directory: ImageDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that fails after the blob was closed gives the descriptor back like any other."""
    blob = directory.open("disk.img")

    def pread(_descriptor: int, _length: int, _offset: int) -> bytes:
        blob.close()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        blob.read(0, 1)
