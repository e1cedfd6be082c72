"""qemu-img confined to the files of an image: what it cannot open, and what happens where nothing confines it."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.cli.disk_images.sources import open_image, unconfined
from tests.cli.test_rewritten_source import EVIL, GOOD, KINDS, SECRET, SIZE
from tests.small_filesystem import mounted_tmpfs

from aero_storage.atomic_files import Directory
from aero_storage.cli.disk_images import convert
from aero_storage.cli.disk_images.open_image import Stamps
from aero_storage.cli.disk_images.opening import open_source
from aero_storage.cli.disk_images.qemu import QemuImg, find_qemu_img
from aero_storage.cli.disk_images.sandbox import Sandbox
from aero_storage.errors import OperatorError
from aero_storage.linux import landlock

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private").mkdir()
    (tmp_path / "good.raw").write_bytes(GOOD)
    return tmp_path


def converted(program: QemuImg, path: Path, name: str) -> bytes:
    """Convert an image without a look at it before, as if it had been rewritten just now."""
    target = path.with_name("target")
    with open_image(path, name) as image, target.open("w+b") as file:
        program.convert(image, file.fileno(), lambda _: None, SIZE)
    return target.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_other_files(place: Path, qemu_img: Run, kind: str, landlock_abi: int) -> None:  # noqa: ARG001 - it is there
    """Whatever file an image names, qemu-img cannot open it; without the sandbox it would."""
    path = place / "evil.img"
    path.write_bytes(EVIL[kind](qemu_img, place))
    confined = find_qemu_img()
    # Extents beside the image it would look for beside its descriptor, in /proc/self/fd.
    reason = "Could not open 'secret.raw'" if kind == "extent beside" else "Permission denied"
    with pytest.raises(OperatorError, match=f"could not be converted: .*{reason}") as caught:
        converted(confined, path, KINDS[kind])
    assert "/proc/self" not in str(caught.value)
    assert SECRET[:512] not in (place / "target").read_bytes()
    if kind != "extent beside":
        assert converted(unconfined(), path, KINDS[kind]) == SECRET


def test_other_looks(place: Path, qemu_img: Run, landlock_abi: int) -> None:  # noqa: ARG001 - it is there
    """Not even to check an image does qemu-img open another file."""
    path = place / "evil.img"
    path.write_bytes(EVIL["data file"](qemu_img, place))
    with open_image(path, "qcow2") as image, pytest.raises(OperatorError, match="Permission denied"):
        find_qemu_img().check(image)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_servers(place: Path, qemu_img: Run, family: socket.AddressFamily, landlock_abi: int) -> None:  # noqa: ARG001
    """An image that names a server, by TCP or by a UNIX socket, connects to nothing."""
    with closing(socket.socket(family)) as server:
        server.bind(("127.0.0.1", 0) if family == socket.AF_INET else "server")
        server.listen()
        server.settimeout(0)
        where = server.getsockname()
        address = (
            f"nbd://127.0.0.1:{where[1]}/" if family == socket.AF_INET else f"nbd+unix:///?socket={place}/server"
        )
        qemu_img("create", "-q", "-u", "-f", "qcow2", "-b", address, "-F", "raw", place / "evil.img", str(SIZE))
        with pytest.raises(OperatorError, match="Permission denied"):
            converted(find_qemu_img(), place / "evil.img", "qcow2")
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi", "vpc", "vhdx", "qcow", "qed"])
def test_good_images(place: Path, qemu_img: Run, kind: str, landlock_abi: int) -> None:  # noqa: ARG001
    """In the sandbox qemu-img reads the image, and writes the target."""
    qemu_img("convert", "-f", "raw", "-O", kind, "good.raw", "good.img")
    program = find_qemu_img()
    assert program.is_confined
    assert converted(program, place / "good.img", "vhd" if kind == "vpc" else kind)[:SIZE] == GOOD


def test_older_kernels(place: Path, qemu_img: Run, landlock_abi: int) -> None:
    """Every version of the ABI confines it to the image."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "good.raw", "good.img")
    (place / "evil.img").write_bytes(EVIL["backing file"](qemu_img, place))
    program = find_qemu_img()
    assert program.sandbox is not None
    for version in range(1, landlock_abi + 1):
        older = QemuImg(program.program, attrs.evolve(program.sandbox, abi_version=version))
        assert converted(older, place / "good.img", "qcow2") == GOOD
        with pytest.raises(OperatorError, match="Permission denied"):
            converted(older, place / "evil.img", "qcow2")


# Where it is not possible


def test_programs_that_do_not_start(
    place: Path,
    qemu_img: Run,
    monkeypatch: pytest.MonkeyPatch,
    landlock_abi: int,  # noqa: ARG001
) -> None:
    """A qemu-img with files in places that nobody expects is not confined; what it would need is not guessed."""
    qemu_img("--version")
    shutil.copy(shutil.which("true") or "/bin/true", place / "odd")
    (place / "qemu-img").write_text(f"#!/bin/sh\nexec {place / 'odd'}\n")
    (place / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
    program = find_qemu_img()
    assert (program.program, program.is_confined) == (str(place / "qemu-img"), False)


def test_prefixes(tmp_path: Path) -> None:
    """Libraries beside the program's directory are allowed, wherever a link to it lies."""
    (tmp_path / "opt/bin").mkdir(parents=True)
    (tmp_path / "opt/lib").mkdir()
    (tmp_path / "opt/bin/qemu-img").touch()
    (tmp_path / "qemu-img").symlink_to("opt/bin/qemu-img")
    confinement = Sandbox.around(str(tmp_path / "qemu-img"))
    if confinement is not None:
        paths = {path for path, _ in confinement.places}
        assert {str(tmp_path / name) for name in ("qemu-img", "opt/bin/qemu-img", "opt/lib")} <= paths
        assert not {str(tmp_path), str(tmp_path / "lib"), "/", "/etc", "/usr", "/proc", "/home"} & paths


def test_no_landlock(qemu_img: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without Landlock confines nothing."""
    qemu_img("--version")
    monkeypatch.setattr(landlock, "abi_version", lambda: 0)
    assert not find_qemu_img().is_confined


@pytest.fixture
def work(place: Path) -> Directory:
    (place / "work").mkdir(mode=0o700)
    return Directory(place / "work", os.open(place / "work", os.O_PATH | os.O_DIRECTORY))


def test_private_copies(place: Path, qemu_img: Run, work: Directory) -> None:
    """A private copy has no name, and is what the image was when it was made."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "good.raw", "good.img")
    told = list[int]()
    with convert.opened(place / "good.img", find=unconfined) as candidate:
        assert candidate.needs_copy
        with convert.private_copy(candidate, work, told.append) as copy:
            descriptor = copy.image.file.descriptor
            assert os.fstat(descriptor).st_nlink == 0
            assert os.fstat(descriptor).st_mode & 0o777 == 0o600
            assert sum(told) == copy.image.file.size == (place / "good.img").stat().st_size
            source = convert.examine(copy)
            (place / "good.img").write_bytes(EVIL["backing file"](qemu_img, place))
            convert.import_to(source, place / "target", lambda _: None)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert (place / "target").read_bytes() == GOOD
    assert list((place / "work").iterdir()) == []
    os.close(work.descriptor)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_looked_at(place: Path, qemu_img: Run, work: Directory, kind: str) -> None:
    """What was rewritten before the copy was made is found in the copy, should its times not tell."""
    qemu_img("convert", "-f", "raw", "-O", KINDS[kind], "good.raw", "good.img")
    with convert.opened(place / "good.img", find=unconfined) as candidate:
        (place / "good.img").write_bytes(EVIL[kind](qemu_img, place))
        with pytest.raises(OperatorError, match="changed while it was imported"):
            copied(candidate, work)
        file = attrs.evolve(candidate.image.file, size=(place / "good.img").stat().st_size)
        image = attrs.evolve(candidate.image, file=file)
        fresh = attrs.evolve(candidate, image=image, stamps=Stamps.of(file))
        with pytest.raises(OperatorError, match=r"good\.img: (needs the|is a disk of several files)"):
            copied(fresh, work)
    assert list((place / "work").iterdir()) == []
    os.close(work.descriptor)


def copied(candidate: convert.Candidate, work: Directory) -> None:
    with convert.private_copy(candidate, work, lambda _: None):
        pass


def test_copies_that_do_not_fit(place: Path, qemu_img: Run) -> None:
    """A copy that the disk has no room for is refused before it fills the disk."""
    (place / "small").mkdir()
    qemu_img("convert", "-f", "raw", "-O", "qcow2", "good.raw", "good.img")
    with mounted_tmpfs(place / "small", "512k"), Directory.opened(place / "small") as small:
        wrong = pytest.raises(OperatorError, match=r"takes 1\.\d MiB, and only 512(\.0)? KiB are free there")
        with convert.opened(place / "good.img", find=unconfined) as candidate, wrong:
            copied(candidate, small)
        assert small.names() == []


# The one open of the source


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links away")
def test_links_of_others(place: Path) -> None:
    """A symbolic link is followed if it is ours, as a chain too; one of another user is refused with its target."""
    (place / "one.img").symlink_to("good.raw")
    (place / "two.img").symlink_to(place / "one.img")
    os.close(open_source(place / "two.img"))
    os.lchown(place / "one.img", 4711, 4711)
    with pytest.raises(OperatorError) as caught:
        open_source(place / "two.img")
    assert str(caught.value) == (
        f"{place}/two.img: is a symbolic link of another user; name the file that it leads to: {place}/good.raw"
    )


def test_links_without_end(place: Path) -> None:
    """A link to itself is an error."""
    (place / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_source(place / "loop")
