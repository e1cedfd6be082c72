"""Changes on disk that are whole or not there at all: real locks, real processes, a disk that is really full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import (
    Directory,
    Waiting,
    disk_usage,
    locked,
    replace_file,
    sync_directory,
)
from aero_storage.atomic_files import staging_directory as staging_directory_in
from aero_storage.atomic_files.symbolic_links import SymbolicLink, read_link
from aero_storage.errors import BusyError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aero_storage.atomic_files import StagingDirectory

    Start = Callable[..., subprocess.Popen[bytes]]

SOURCES = Path(__file__).parents[1] / "src"
HOLD = """
import sys
from pathlib import Path
from aero_storage.atomic_files import Directory, locked, staging_directory as staging_directory_in

def staging_directory(path):
    return staging_directory_in(place, path.name)

with Directory.opened(Path(sys.argv[1]).parent) as place, {what}(Path(sys.argv[1])):
    {work}
    print("in", flush=True)
    sys.stdin.read()
"""


AT_ONCE = Waiting(0.0)


@contextmanager
def staging_directory(path: Path) -> Iterator[StagingDirectory]:
    with Directory.opened(path.parent) as place, staging_directory_in(place, path.name) as staging:
        yield staging


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts a process which holds a lock or a staging directory until its input ends."""
    running: list[subprocess.Popen[bytes]] = []

    def run(what: str, path: Path, work: str = "pass") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HOLD.format(what=what, work=work), str(path)]
        environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that is soon full."""
    place = tmp_path / "small"
    place.mkdir()
    with mounted_tmpfs(place, "64k"):
        yield place


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


# Files


def test_new_file(tmp_path: Path) -> None:
    """A file that was not there is made, for everybody to read whatever the umask, and nothing else is left."""
    mask = os.umask(0o077)
    try:
        replace_file(tmp_path / "file", b"new")
    finally:
        os.umask(mask)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o7777 == 0o644
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_mode_stays(tmp_path: Path, mode: int) -> None:
    """Who may read and write a file stays when its content is replaced."""
    path = tmp_path / "file"
    path.write_bytes(b"old content, longer than the new")
    path.chmod(mode)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_stays(tmp_path: Path) -> None:
    """Whose file it is stays."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 4711, 4712)
    replace_file(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (4711, 4712)


def test_link_is_followed(tmp_path: Path) -> None:
    """A link stays a link; the file that it leads to is replaced, or made, where it is."""
    (tmp_path / "there").mkdir()
    for name in ("old", "new"):
        (tmp_path / name).symlink_to(f"there/{name}")
    (tmp_path / "there" / "old").write_bytes(b"before")
    for name in ("old", "new"):
        replace_file(tmp_path / name, name.encode())
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_bytes() == name.encode()
    assert names(tmp_path / "there") == ["new", "old"]


def test_readers_keep_what_they_have_open(tmp_path: Path) -> None:
    """Who reads a file while it is replaced reads the old one to its end."""
    path = tmp_path / "file"
    path.write_bytes(b"old" * 1000)
    with path.open("rb") as file:
        replace_file(path, b"new")
        assert file.read() == b"old" * 1000


def test_remains_do_not_matter(tmp_path: Path) -> None:
    """What an interrupted replacement has left is no obstacle, even if it is a link to something precious."""
    (tmp_path / "precious").write_bytes(b"gold")
    (tmp_path / ".file~").symlink_to("precious")
    replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "precious").read_bytes() == b"gold"
    assert names(tmp_path) == ["file", "precious"]


def test_full_disk(small_disk: Path) -> None:
    """On a full disk the old content stays, and nothing else."""
    replace_file(small_disk / "file", b"old")
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(small_disk / "file", b"x" * 1_000_000)
    assert (small_disk / "file").read_bytes() == b"old"
    assert names(small_disk) == ["file"]


def test_no_directory(tmp_path: Path) -> None:
    """Where there is no directory, there is an error."""
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "file", b"new")
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


# Locks


def test_lock_is_exclusive(tmp_path: Path, start: Start) -> None:
    """While another process holds a lock, who does not wait is told so."""
    start("locked", tmp_path / "lock")
    with pytest.raises(BusyError, match=re.escape(str(tmp_path))), locked(tmp_path / "lock", AT_ONCE):
        pass


@pytest.mark.parametrize("keeps_file", [True, False])
def test_lock_files_that_go(tmp_path: Path, *, keeps_file: bool) -> None:
    """A lock file stays, unless its holder wants it gone, also where the work fails; it can be taken again."""
    lock = tmp_path / "lock"
    for _ in range(2):
        with suppress(KeyError), locked(lock, AT_ONCE, keeps_file=keeps_file):
            assert lock.exists()
            raise KeyError
        assert lock.exists() == keeps_file


def test_lock_is_waited_for(tmp_path: Path, start: Start) -> None:
    """Who waits gets the lock when its holder gives it back."""
    holder = start("locked", tmp_path / "lock")
    waiter = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(what="locked", work="pass"), str(tmp_path / "lock")],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    holder.communicate(timeout=60)
    said, _ = waiter.communicate(timeout=60)
    assert said == b"in\n"


@pytest.mark.parametrize("wait", [True, False])
def test_lock_of_the_dead(tmp_path: Path, start: Start, *, wait: bool) -> None:
    """A lock whose holder was killed is free."""
    holder = start("locked", tmp_path / "lock")
    holder.kill()
    holder.wait()
    with locked(tmp_path / "lock", Waiting() if wait else AT_ONCE):
        pass


def test_lock_after_an_error(tmp_path: Path) -> None:
    """A lock is given back when the work under it fails."""
    with pytest.raises(ValueError, match="work"), locked(tmp_path / "lock"):
        raise ValueError("work")
    with locked(tmp_path / "lock", AT_ONCE):
        pass


def test_lock_is_held_once(tmp_path: Path) -> None:
    """Two holders in one process are two holders."""
    with (
        locked(tmp_path / "lock"),
        pytest.raises(BusyError),
        locked(tmp_path / "lock", AT_ONCE),
    ):
        pass


def test_lock_that_was_removed(tmp_path: Path, start: Start) -> None:
    """A lock file that was removed from under its holder locks nobody out, and the new one is good."""
    start("locked", tmp_path / "lock")
    (tmp_path / "lock").unlink()
    with (
        locked(tmp_path / "lock", AT_ONCE),
        pytest.raises(BusyError),
        locked(tmp_path / "lock", AT_ONCE),
    ):
        pass


# Workshops


def test_staging_directory_comes_and_goes(tmp_path: Path) -> None:
    """A staging directory is an empty one of ours alone, made with those above it; all go after good work and bad."""
    path = tmp_path / "a" / "b"
    with Directory.opened(tmp_path) as place, staging_directory_in(place, "a", "b") as work:
        assert (work.path, work.leftover) == (path, None)
        assert {one.stat().st_mode & 0o777 for one in (path, path.parent)} == {0o700}
        (path / "file").write_bytes(b"x")
        (path / "directory").mkdir()
        (path / "directory" / "file").write_bytes(b"x")
    assert names(tmp_path) == []
    path = tmp_path / "c"
    with pytest.raises(FileNotFoundError), staging_directory(path):
        (path / "file").rename(path / "other")
    assert names(tmp_path) == []


def test_staging_directory_is_exclusive(tmp_path: Path, start: Start) -> None:
    """A staging directory that another process works in is left alone."""
    start("staging_directory", tmp_path / "staging", "(Path(sys.argv[1]) / 'file').write_bytes(b'x')")
    with pytest.raises(BusyError), staging_directory(tmp_path / "staging"):
        pass
    assert names(tmp_path / "staging") == ["file", "lock"]


def test_staging_directory_of_the_dead(tmp_path: Path, start: Start) -> None:
    """What a run that was killed has left is cleared away, and its size on disk is told."""
    work = "(Path(sys.argv[1]) / 'd').mkdir(); (Path(sys.argv[1]) / 'd' / 'file').write_bytes(b'x' * 100_000)"
    holder = start("staging_directory", tmp_path / "staging", work)
    (tmp_path / "staging" / "link").symlink_to(tmp_path)
    holder.kill()
    holder.wait()
    with staging_directory(tmp_path / "staging") as found:
        assert found.leftover is not None
        assert 100_000 <= found.leftover < 200_000
        assert names(tmp_path / "staging") == ["lock"]
    assert names(tmp_path) == []


def test_staging_directory_of_one_who_died_early(tmp_path: Path, start: Start) -> None:
    """A run that was killed before it wrote anything is told too, with nothing to clear."""
    holder = start("staging_directory", tmp_path / "staging")
    holder.kill()
    holder.wait()
    with staging_directory(tmp_path / "staging") as found:
        assert found.leftover == 0


def test_results_move_out(tmp_path: Path) -> None:
    """What was moved out of a staging directory stays."""
    with staging_directory(tmp_path / "staging") as work:
        (work.path / "result").write_bytes(b"x")
        (work.path / "result").rename(tmp_path / "result")
    assert names(tmp_path) == ["result"]


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.below("new", create=True).__enter__(),
        lambda place: place.open_file("new", os.O_WRONLY | os.O_CREAT),
        lambda place: place.unlink("kernel"),
        lambda place: place.remove_directory("kernel"),
        lambda place: place.move("kernel", place, "new"),
        lambda place: staging_directory_in(place, "new").__enter__(),
    ],
    ids=["below", "open_file", "unlink", "remove_directory", "move", "staging_directory"],
)
def test_errors_have_a_path(change: Callable[[Directory], object]) -> None:
    """An error of a directory that takes no changes, as a read-only one, names the whole path of the entry."""
    with Directory.opened(Path("/sys")) as place, pytest.raises(OSError, match=r"/sys/(new|kernel)") as caught:
        change(place)
    assert str(caught.value.filename).startswith("/sys/")


def test_no_staging_directory_in_a_file(tmp_path: Path) -> None:
    """A file in the staging directory's place is an error, and stays."""
    (tmp_path / "staging").write_bytes(b"precious")
    with pytest.raises(OperatorError, match="is no directory"), staging_directory(tmp_path / "staging"):
        pass
    assert (tmp_path / "staging").read_bytes() == b"precious"


RACE = """
import os
import sys
from pathlib import Path
from aero_storage.atomic_files import Directory, staging_directory
from aero_storage.atomic_files.symbolic_links import SymbolicLink, read_link
from aero_storage.errors import BusyError

place, entered = Path(sys.argv[1]), 0
root = Directory(place, os.open(place, os.O_RDONLY))
while entered < 50:
    try:
        with staging_directory(root, "above", "staging"):
            entered += 1
            for name in "abcdefgh":
                (place / "above" / "staging" / name).mkdir()
            (place / "owner").touch(exist_ok=False)
            (place / "owner").unlink()
    except BusyError:
        pass
"""


def test_many_at_one_door(tmp_path: Path) -> None:
    """However many come and go, one at a time is in, finds an empty staging directory, and nobody meets an error."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    running = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    assert names(tmp_path) == []


# Sizes on disk


def test_holes_take_nothing(tmp_path: Path) -> None:
    """A hole takes no space, data does."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 30)
        assert disk_usage(tmp_path / "file") == 0
        file.write(b"x" * 100_000)
    assert 100_000 <= disk_usage(tmp_path / "file") < 200_000


def test_names_count_once(tmp_path: Path) -> None:
    """A file with two names counts once; a link counts as a link, not as what it leads to."""
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    empty = disk_usage(tree)
    (tree / "file").write_bytes(b"x" * 100_000)
    once = disk_usage(tree)
    (tree / "below" / "again").hardlink_to(tree / "file")
    (tree / "below" / "link").symlink_to(tree)
    assert 100_000 <= once - empty < 200_000
    assert disk_usage(tree) == once
    assert disk_usage(tree / "below" / "link") < 100_000


def test_nothing_takes_nothing(tmp_path: Path) -> None:
    """What is not there takes no space, and a link to nowhere is no error."""
    assert disk_usage(tmp_path / "none") == 0
    (tmp_path / "link").symlink_to("none")
    assert disk_usage(tmp_path) < 100_000


@pytest.mark.parametrize("has_path_descriptors", [True, False])
def test_links_are_read_with_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_path_descriptors: bool
) -> None:
    """A symbolic link is read with its owner, by name too where the system opens no links; a file is none."""
    if not has_path_descriptors:
        monkeypatch.delattr(os, "O_PATH", raising=False)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert read_link(tmp_path / "link") == SymbolicLink("nowhere", os.getuid())
    assert read_link(tmp_path / "file") is None
    with Directory.opened(tmp_path) as directory:
        assert read_link("link", directory.descriptor) == SymbolicLink("nowhere", os.getuid())
    with pytest.raises(FileNotFoundError):
        read_link(tmp_path / "none")


def test_a_link_that_never_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without descriptors of links, one that another user replaces again and again is given up."""
    monkeypatch.delattr(os, "O_PATH", raising=False)
    (tmp_path / "link").symlink_to("nowhere")
    readlink = os.readlink

    def replacing(path: Path, *, dir_fd: int | None = None) -> str:
        target = readlink(path, dir_fd=dir_fd)
        (tmp_path / "next").symlink_to("elsewhere")
        (tmp_path / "next").rename(tmp_path / "link")
        return target

    monkeypatch.setattr(os, "readlink", replacing)
    with pytest.raises(OSError, match="changes again and again"):
        read_link(tmp_path / "link")
