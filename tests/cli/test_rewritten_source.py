"""An image is rewritten, while it is imported, so that it names a file which only the operator can read."""

from __future__ import annotations

import itertools
import os
import random
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.command_output import CommandResult

from aero_storage.cli import staged_image
from aero_storage.cli.main import run
from aero_storage.cli.output import Output
from aero_storage.linux import landlock

if TYPE_CHECKING:
    Command = Callable[..., CommandResult]
    QemuImgCommand = Callable[..., str]
    ActBefore = Callable[[Callable[[], None], Callable[[], None]], None]

SIZE = 1024 * 1024
GOOD = random.Random(1).randbytes(SIZE)
SECRET = b"a secret of the operator's ".ljust(512, b".") * (SIZE // 512)
KINDS = {
    "backing file": "qcow2",
    "data file": "qcow2",
    "parent disk": "vmdk",
    "flat extent": "vmdk",
    "extent beside": "vmdk",
    "embedded extents": "vmdk",
}


@attrs.frozen
class Attack:
    """A good image, and what is put in its place: one that shows the secret."""

    place: Path
    source: Path
    evil: bytes

    def rewrite(self) -> None:
        """Change the image in place, and leave its size and the time of the last write as they were."""
        before = self.source.stat()
        assert len(self.evil) <= before.st_size
        self.source.write_bytes(self.evil.ljust(before.st_size, b"\0"))
        os.utime(self.source, ns=(before.st_atime_ns, before.st_mtime_ns))

    def exchange(self) -> None:
        """Put another file in the place of the image."""
        self.source.rename(self.place / "good")
        self.source.write_bytes(self.evil)

    def put_back(self) -> None:
        """Put the image back in its place."""
        if (self.place / "good").exists():
            (self.place / "good").replace(self.source)

    @property
    def served(self) -> bytes:
        """All bytes in the images root."""
        return b"".join(path.read_bytes() for path in (self.place / "images").rglob("*") if path.is_file())


@pytest.fixture
def make(qemu_img: QemuImgCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Attack]:
    """Give a function that prepares an attack of a kind."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AERO_")]:
        monkeypatch.delenv(name)
    (tmp_path / "images").mkdir()
    (tmp_path / "private").mkdir()

    def prepare(kind: str) -> Attack:
        (tmp_path / "good.raw").write_bytes(GOOD)
        source = tmp_path / f"source.{KINDS[kind]}"
        qemu_img("convert", "-f", "raw", "-O", KINDS[kind], "good.raw", source)
        evil = EVIL[kind](qemu_img, tmp_path)
        return Attack(tmp_path, source, evil)

    return prepare


def secret(place: Path) -> Path:
    path = place / "private/secret.raw"
    path.write_bytes(SECRET)
    return path


def on_a_backing_file(qemu_img: QemuImgCommand, place: Path) -> bytes:
    qemu_img("create", "-q", "-f", "qcow2", "-b", secret(place), "-F", "raw", "evil")
    return (place / "evil").read_bytes()


def with_a_data_file(qemu_img: QemuImgCommand, place: Path) -> bytes:
    options = f"data_file={place / 'private/secret.raw'},data_file_raw=on,preallocation=metadata"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, "evil", str(SIZE))
    secret(place)
    return (place / "evil").read_bytes()


def with_a_parent_disk(qemu_img: QemuImgCommand, place: Path) -> bytes:
    qemu_img("convert", "-f", "raw", "-O", "vmdk", secret(place), place / "private/secret.vmdk")
    qemu_img("create", "-q", "-f", "vmdk", "-b", place / "private/secret.vmdk", "-F", "vmdk", "evil")
    return (place / "evil").read_bytes()


def extents(name: str | Path) -> bytes:
    kind = 'CID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"'
    return f'# Disk DescriptorFile\nversion=1\n{kind}\nRW {SIZE // 512} FLAT "{name}" 0\n'.encode()


def with_a_flat_extent(_: QemuImgCommand, place: Path) -> bytes:
    return extents(secret(place))


def with_an_extent_beside(_: QemuImgCommand, place: Path) -> bytes:
    shutil.move(secret(place), place / "secret.raw")
    return extents("secret.raw")


def with_embedded_extents(qemu_img: QemuImgCommand, place: Path) -> bytes:
    """Return a sparse VMDK without a capacity: then qemu takes the extents in the text that is embedded in it."""
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "good.raw", "evil")
    data = bytearray((place / "evil").read_bytes())
    data[12:20] = bytes(8)
    start = int.from_bytes(data[28:36], "little") * 512
    data[start : start + 20 * 512] = extents(secret(place)).ljust(20 * 512, b"\0")
    return bytes(data)


EVIL: dict[str, Callable[[QemuImgCommand, Path], bytes]] = {
    "backing file": on_a_backing_file,
    "data file": with_a_data_file,
    "parent disk": with_a_parent_disk,
    "flat extent": with_a_flat_extent,
    "extent beside": with_an_extent_beside,
    "embedded extents": with_embedded_extents,
}


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs one command line."""

    def call(*words: str | Path) -> CommandResult:
        status = run([str(word) for word in words], Output())
        printed = capsys.readouterr()
        return CommandResult(status, printed.out, printed.err)

    return call


@pytest.fixture
def act_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ActBefore:
    """Give a function that has something done when qemu-img begins to convert, and something else when it has.

    A program in front of qemu-img reports progress, and waits for the file that says that the first is done.
    """

    def prepare(act: Callable[[], None], after: Callable[[], None]) -> None:
        done = tmp_path / "done"
        program = tmp_path / "programs/qemu-img"
        program.parent.mkdir()
        real, marker = shlex.quote(shutil.which("qemu-img") or ""), shlex.quote(str(done))
        program.write_text(
            f"#!/bin/sh\nif [ $1 = convert ]; then printf '    (1.00/100%%)\\r'; "
            f'until [ -e {marker} ]; do :; done; fi\nexec {real} "$@"\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        calls = itertools.count()

        def advance(_: int) -> None:
            if next(calls) == 0:
                act()
                done.touch()
            else:
                after()

        @contextmanager
        def progress(task: str, _: int) -> Iterator[Callable[[int], None]]:
            yield advance if task.startswith("Importing") else lambda _: None

        monkeypatch.setattr(staged_image, "progress", progress)

    return prepare


@pytest.fixture(params=["confined", "not confined"])
def is_confined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the test on a kernel with Landlock, and on one without."""
    if request.param == "confined":
        request.getfixturevalue("landlock_abi")
        return True
    monkeypatch.setattr(landlock, "abi_version", lambda: 0)
    return False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [Attack.rewrite, Attack.exchange], ids=["rewritten", "exchanged"])
def test_swapped_before_conversion(
    make: Callable[[str], Attack],
    act_before: ActBefore,
    command: Command,
    is_confined: bool,  # noqa: FBT001
    kind: str,
    way: Callable[[Attack], None],
) -> None:
    """Where the image is changed when qemu-img begins to convert it, no byte of the secret is imported."""
    attack = make(kind)
    act_before(lambda: way(attack), attack.put_back)
    said = command("import", attack.source, "--id", "disk")
    assert SECRET[:512] not in attack.served
    if is_confined:
        assert said.status == 1
        assert f"{attack.source}: changed while it was imported" in said.err
    else:  # the copy is what it was
        assert said.status == 0, said.err
        assert GOOD in attack.served
    assert said.err.count("gets a private copy of source.") == (not is_confined)
    assert "/proc/self" not in said.out + said.err
