"""Publishing that fails or is ended: the old state stays, nothing half-done is seen, and the next run ends well."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.small_filesystem import mounted_tmpfs

from aero_storage.chunks.publish.publisher import STAGING_NAME, Published
from aero_storage.chunks.verify.local import LocalSource
from aero_storage.chunks.verify.verifier import verify
from aero_storage.errors import OperatorError

Publish = Callable[..., Published]
MakeImage = Callable[..., Path]

KIB, MIB = 2**10, 2**20
SECONDS = 60

# Publishes argv[1] into argv[2] and kills itself before step argv[3] on the file system; -1 counts the steps.
VICTIM = """
import os, signal, sys
from pathlib import Path
from aero_storage.chunks.publish.publisher import publish

steps, last = 0, int(sys.argv[3])
WATCHED = {"open", "os.mkdir", "os.rename", "os.link", "os.truncate", "os.remove", "os.rmdir"}

def watch(event, _arguments):
    global steps
    if event in WATCHED:
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

sys.addaudithook(watch)
source = Path(sys.argv[1])
publish(root=source.parent, source=source, image_id="disk", directory=Path(sys.argv[2]), chunk_size=4096,
        version=None, jobs=2, advance=lambda count: None, say=print)
print(steps)
"""


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def versions(directory: Path) -> list[str]:
    return [name for name in names_in(directory) if name != STAGING_NAME]


def assert_whole(directory: Path) -> None:
    for version in versions(directory):
        source = LocalSource(directory / version / "manifest.json")
        report = verify(source, jobs=1, image_id="disk", version=version)
        assert report.mismatches == ()


def run_victim(image: Path, directory: Path, last: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", VICTIM, str(image), str(directory), str(last)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


# From the front, as a share of all, and from the end: there the manifest is opened, all of it is moved, and the lock
# and the staging directory are removed.
@pytest.mark.parametrize("moment", [0, 4, 8, 0.3, 0.5, 0.7, -6, -5, -4, -3, -2, -1])
def test_killed(
    make_image: MakeImage, publish_image: Publish, directory: Path, tmp_path: Path, moment: float
) -> None:
    """After kill -9 at any step all versions that are seen are whole; the next run cleans up, says so and ends."""
    image = make_image(os.urandom(100 * KIB), 100 * KIB, os.urandom(4 * KIB))
    publish_image(make_image(b"old" * 512, name="old"), chunk_size=512)
    old = versions(directory)
    steps = int(run_victim(image, tmp_path / "trial" / "chunked" / "disk", -1).stdout)
    last = int(moment * steps) if isinstance(moment, float) else moment % steps
    victim = run_victim(image, directory, last)
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    assert_whole(directory)
    assert (versions(directory) != old) == (moment in (-2, -1))
    was_at_work, said = (directory / STAGING_NAME).exists(), list[str]()
    published = publish_image(image, chunk_size=4096, say=said.append)
    assert [("An interrupted run had left" in line) for line in said] == [True] * was_at_work
    assert versions(directory) == sorted([*old, published.version])
    assert_whole(directory)
    assert not (directory / STAGING_NAME).exists()


@contextmanager
def nothing_changes(directory: Path) -> Iterator[None]:
    """Assert that the old versions stay as they are, whole, with nothing beside them and no thread at work."""
    before, existed, threads = names_in(directory), directory.exists(), threading.active_count()
    yield
    assert (names_in(directory), directory.exists()) == (before, existed)
    assert_whole(directory)
    assert threading.active_count() == threads


@pytest.fixture(params=[True, False], ids=["with an old version", "the first"])
def some_state(request: pytest.FixtureRequest, make_image: MakeImage, publish_image: Publish) -> None:
    """What was published before: something or nothing."""
    if request.param:
        publish_image(make_image(b"old" * 512, name="old"))


@pytest.mark.usefixtures("some_state")
@pytest.mark.parametrize("at", [1, 2, 40, 100])
def test_interrupted_in_a_thread(make_image: MakeImage, publish_image: Publish, directory: Path, at: int) -> None:
    """An interrupt that comes up in a thread of ours ends all of them and is raised."""
    calls = list[int]()

    def advance(count: int) -> None:
        calls.append(count)
        if len(calls) == at:
            raise KeyboardInterrupt

    with nothing_changes(directory), pytest.raises(KeyboardInterrupt):
        publish_image(make_image(os.urandom(4000 * KIB)), chunk_size=KIB, advance=advance)
    assert len(calls) < at + 1000


@pytest.mark.usefixtures("some_state")
def test_interrupted_by_a_signal(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """Control-C ends the work between two chunks, removes it, and is raised."""
    main = threading.main_thread().ident
    assert main is not None
    done = list[int]()

    def advance(count: int) -> None:
        done.append(count)
        if len(done) == 3:
            signal.pthread_kill(main, signal.SIGINT)

    image = make_image(b"a" * MIB, 4096 * MIB, b"b" * MIB)
    with nothing_changes(directory), pytest.raises(KeyboardInterrupt):
        publish_image(image, chunk_size=16 * KIB, advance=advance)
    assert sum(done) < image.stat().st_size


def rewrite(image: Path) -> None:
    with image.open("r+b") as file:
        file.write(b"new")
    os.utime(image, ns=(0, image.stat().st_mtime_ns + 1))  # whatever the clock's ticks are


def grow(image: Path) -> None:
    os.truncate(image, 200 * KIB)


def shrink(image: Path) -> None:
    os.truncate(image, 512)


def replace(image: Path) -> None:
    fresh = image.with_name("fresh")
    fresh.write_bytes(image.read_bytes())
    fresh.replace(image)


@pytest.mark.usefixtures("some_state")
@pytest.mark.parametrize("change", [rewrite, grow, shrink, replace, Path.unlink])
def test_image_changes(
    make_image: MakeImage, publish_image: Publish, directory: Path, change: Callable[[Path], None]
) -> None:
    """An image that is written to, or replaced, while it is cut is not published; the message says why."""
    image, changed = make_image(os.urandom(100 * KIB), name="changing"), threading.Lock()

    def advance(_count: int) -> None:
        if changed.acquire(blocking=False):
            change(image)

    with nothing_changes(directory), pytest.raises(OperatorError, match="try again when nothing writes to it"):
        publish_image(image, chunk_size=KIB, advance=advance)


@pytest.mark.usefixtures("some_state")
def test_file_too_large(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """A write that fails is raised as it is, and what was written is removed."""
    image = make_image(os.urandom(MIB))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300 * KIB, limits[1]))
    try:
        with nothing_changes(directory), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            publish_image(image, chunk_size=512 * KIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def small_disk(directory: Path) -> Iterator[None]:
    """Put the versions on a disk of 1 MiB."""
    directory.mkdir(parents=True)
    with mounted_tmpfs(directory, "1m"):
        yield


@pytest.mark.usefixtures("small_disk")
def test_disk_full(make_image: MakeImage, publish_image: Publish, directory: Path) -> None:
    """A full disk is told as such; the old version is whole, and there is room for another one as before."""
    publish_image(make_image(b"old" * 512, name="old"))
    with nothing_changes(directory), pytest.raises(OperatorError, match="the disk of the images root is too full"):
        publish_image(make_image(os.urandom(2 * MIB)), chunk_size=64 * KIB)
    published = publish_image(make_image(os.urandom(512 * KIB)), chunk_size=64 * KIB)
    assert published.version in versions(directory)
    assert_whole(directory)
