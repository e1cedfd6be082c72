"""qemu-img as a child: what it is told, what becomes of what it says, and that it never outlives us."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.cli.disk_images.sources import open_image

from aero_storage.cli.disk_images import confined_exec, qemu
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.open_image import OpenImage
from aero_storage.cli.disk_images.qemu import QemuImg
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCES = Path(__file__).parents[2] / "src"
TARGET = os.open(os.devnull, os.O_RDWR)
TOTAL = 10_000
HANG = 20
FILE = os.memfd_create("a,b.img")
OPTIONS = f"driver=qcow2,file.driver=file,file.filename=/proc/self/fd/{FILE}"


@attrs.frozen
class Program:
    """A stand-in for qemu-img that notes how it was started, then does what its script says."""

    place: Path

    def does(self, script: str) -> None:
        program = self.place / "qemu-img"
        notes = f"echo $$ > {self.quoted('pid')}; printf '%s\\n' \"$@\" > {self.quoted('words')}\n"
        program.write_text(f"#!/bin/sh\n{notes}{script}\n")
        program.chmod(0o755)

    def quoted(self, name: str) -> str:
        return shlex.quote(str(self.place / name))

    @property
    def pid(self) -> int:
        return int((self.place / "pid").read_text())

    @property
    def words(self) -> list[str]:
        return (self.place / "words").read_text().splitlines()

    def is_gone(self) -> bool:
        """Whether there is no such process any more, not even one that nobody has waited for."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    place = tmp_path / "programs"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
    return Program(place)


def image(name: str = "qcow2", path: str = "/images/a,b.img") -> OpenImage:
    return OpenImage(ImageFile(Path(path), FILE, 0), name)


def stand_in() -> QemuImg:
    """Return the program in the PATH, without the sandbox, in which it could note nothing."""
    program = shutil.which("qemu-img")
    assert program is not None
    return QemuImg(program, None)


def convert(advance: Callable[[int], None] = lambda _: None, name: str = "qcow2") -> None:
    stand_in().convert(image(name), TARGET, advance, TOTAL)


# What it is told


def test_convert_is_told_everything(program: Program) -> None:
    """The format, the driver of the file and a sparse target are told, nothing is left to guess."""
    program.does("")
    convert()
    assert program.words == [
        *["convert", "-p", "-S", "4k", "-O", "raw", "--image-opts"],
        OPTIONS,
        f"/proc/self/fd/{TARGET}",
    ]


def test_size_of_a_vhd(program: Program) -> None:
    """A VHD's size is what it says, not its geometry, which qemu would believe and which is often smaller."""
    program.does("")
    convert(name="vhd")
    assert OPTIONS.replace("qcow2", "vpc,force_size_calc=current_size") in program.words


@pytest.mark.parametrize("name", ["nbd:127.0.0.1:10809", "json:{}", "-c", "fat:rw:x", "a=b,c", "sub/x.img"])
def test_no_name_reaches_it(program: Program, name: str) -> None:
    """A name that qemu could take for a protocol or a flag, or that leads elsewhere by now, does not reach it."""
    program.does("")
    stand_in().convert(image(path=name), TARGET, lambda _: None, TOTAL)
    assert program.words[-2:] == [OPTIONS, f"/proc/self/fd/{TARGET}"]
    assert not any(name in word for word in program.words if word != "-p")


def test_surroundings_of_the_child(program: Program) -> None:
    """The child speaks English and has nothing to read from us."""
    program.does('echo "$LC_ALL" >&2; cat >&2; exit 1')
    with pytest.raises(OperatorError, match=r"^/images/a,b.img: could not be converted: C$"):
        convert()


# What becomes of what it says


@pytest.mark.parametrize(
    ("said", "reason"),
    [("", "not JSON: line 1, column 1"), ('{"virtual-size": 1, "virtual-size": 2}', "virtual-size: given twice")],
)
def test_information_that_is_not_sound(program: Program, said: str, reason: str) -> None:
    """Information that could be understood in two ways, or not at all, is told as a failure and not believed."""
    program.does(f"printf %s {shlex.quote(said)}")
    with pytest.raises(OperatorError, match=rf"^/images/a,b\.img: the output of qemu-img info is {reason}"):
        stand_in().info(image())


@pytest.mark.parametrize(
    ("output", "steps"),
    [
        ("", [10_000]),
        ("    (0.00/100%)\\r    (12.34/100%)\\r    (100.00/100%)\\r\\n", [1234, 8766]),
        ("    (50/100%)\\r    (20.00/100%)\\r    (50.01/100%)\\r", [5000, 1, 4999]),
        ("    (150.00/100%)\\r", [10_000]),
        ("(1.00/100)(x/100%)(-5.00/100%)(nan/100%)", [10_000]),
    ],
)
def test_progress(program: Program, output: str, steps: list[int]) -> None:
    """Percentages become bytes that never go back and add up to the whole."""
    program.does(f"printf '{output.replace('%', '%%')}'")
    told: list[int] = []
    convert(told.append)
    assert told == steps


def test_progress_in_pieces() -> None:
    """A percentage that comes in two pieces counts, and counts once."""
    told: list[int] = []
    meter = qemu._Meter(TOTAL, told.append)  # noqa: SLF001 - pipes cut where they like
    for piece in (b"    (12.", b"34/1", b"00%)\r    (", b"20.00/100%)\r"):
        meter.feed(piece)
    assert told == [1234, 766]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "it ended with 3"),
        ("kill -9 $$", "it ended with -9"),
        ("echo 'qemu-img: no luck' >&2; exit 1", "no luck"),
        ("printf 'qemu-img: a\\n\\nb\\033[2J\\n' >&2; exit 1", "a; b\\x1b[2J"),
        (f"printf \"qemu-img: Could not open '{OPTIONS}': Is odd\" >&2; exit 1", "Is odd"),
        (
            f"printf \"qemu-img: Could not open '/proc/self/fd/{FILE}': Odd\" >&2; exit 1",
            "Could not open '/images/a,b.img': Odd",
        ),
        ("yes x | head -c 1000000 >&2; exit 1", "x; " * 133 + "x…"),
    ],
)
def test_failures_are_told_in_one_line(program: Program, script: str, told: str) -> None:
    """A failure is told in one printable line of bounded length, without the words that we told qemu ourselves."""
    program.does(script)
    with pytest.raises(OperatorError) as caught:
        convert()
    assert str(caught.value) == f"/images/a,b.img: could not be converted: {told}"


def test_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without qemu-img we name the package that has it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OperatorError, match=r"^qemu-img is not installed, .*: apt install qemu-utils$"):
        qemu.find_qemu_img()


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        ({}, qemu.QemuImageInfo(512, encrypted=False, others=())),
        ({"encrypted": True}, qemu.QemuImageInfo(512, encrypted=True, others=())),
        (
            {"backing-filename": "b", "full-backing-filename": "/b"},
            qemu.QemuImageInfo(512, encrypted=False, others=("/b", "b")),
        ),
        (
            {"format-specific": {"data": {"data-file": "d"}}},
            qemu.QemuImageInfo(512, encrypted=False, others=("d",)),
        ),
        (
            {
                "format-specific": {
                    "data": {"extents": [{"filename": f"/proc/self/fd/{FILE}"}, {"filename": "/images/b.img"}]}
                }
            },
            qemu.QemuImageInfo(512, encrypted=False, others=("/images/b.img",)),
        ),
    ],
)
def test_facts(program: Program, answer: dict[str, object], facts: qemu.QemuImageInfo) -> None:
    """Of what `qemu-img info` says, we take the size, whether a key is needed, and every other file."""
    program.does(f"echo {shlex.quote(json.dumps({'virtual-size': 512, **answer}))}")
    assert stand_in().info(image("vmdk")) == facts
    assert program.words[:2] == ["info", "--output=json"]


@pytest.mark.parametrize("status", [0, 3, 63])
def test_sound_images(program: Program, status: int) -> None:
    """An image without errors, with space that is only lost, or of a format that cannot be checked, is sound."""
    program.does(f"exit {status}")
    stand_in().check(image())


@pytest.mark.parametrize("status", [1, 2])
def test_damaged_images(program: Program, status: int) -> None:
    """An image with errors is told with the first that qemu finds."""
    program.does(f"echo 'ERROR: bad cluster' >&2; exit {status}")
    with pytest.raises(OperatorError) as caught:
        stand_in().check(image())
    assert str(caught.value) == "/images/a,b.img: is damaged or cut short; copy it here again: ERROR: bad cluster"


# That it never outlives us

WORKING = "printf '    (1.00/100%%)\\r'; exec sleep 1000"
PARENT = """
import os, shutil
from pathlib import Path
from aero_storage.cli.disk_images.formats import ImageFile
from aero_storage.cli.disk_images.open_image import OpenImage
from aero_storage.cli.disk_images.qemu import QemuImg

def advance(count):
    print(count, flush=True)

target = os.open(os.devnull, os.O_WRONLY)
image = OpenImage(ImageFile(Path("/images/a.img"), target, 0), "qcow2")
QemuImg(shutil.which("qemu-img"), None).convert(image, target, advance, 10_000)
"""


@pytest.fixture
def parent(program: Program) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of ours whose child is at work."""
    program.does(WORKING)
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"100\n"
        yield process
        process.kill()


def test_killed_with_us(program: Program, parent: subprocess.Popen[bytes]) -> None:
    """When we are killed with SIGKILL, so is the child."""
    child = os.pidfd_open(program.pid)
    try:
        assert select.select([child], [], [], 0)[0] == []
        parent.kill()
        assert select.select([child], [], [], HANG)[0] == [child]
    finally:
        os.close(child)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_killed_on_exceptions(program: Program, error: type[BaseException]) -> None:
    """Whatever is raised while the child works, it is gone before we go on."""
    program.does(WORKING)

    def advance(_: int) -> None:
        raise error

    with pytest.raises(error):
        convert(advance)
    assert program.is_gone()


def test_gone_when_done(program: Program) -> None:
    """A child that has ended is waited for."""
    program.does("")
    convert()
    assert program.is_gone()


def test_not_started_for_nobody(program: Program) -> None:
    """A child whose parent died before it could be tied to it does nothing."""
    program.does("")
    command = [sys.executable, str(confined_exec.__file__), "1", "-", str(program.place / "qemu-img")]
    assert subprocess.run(command, timeout=HANG, check=False).returncode == 0
    assert not (program.place / "pid").exists()


def test_real_program(qemu_img: Callable[..., str], disk: Path, tmp_path: Path) -> None:
    """The real qemu-img understands all that, and an odd name too."""
    path, copy = tmp_path / "it's 1,2=3:4.img", tmp_path / "nbd:5,6=7.raw"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, path)
    program = qemu.find_qemu_img()
    told: list[int] = []
    with open_image(path, "qcow2") as source, copy.open("wb") as target:
        assert program.info(source) == qemu.QemuImageInfo(disk.stat().st_size, encrypted=False, others=())
        program.check(source)
        program.convert(source, target.fileno(), told.append, disk.stat().st_size)
    assert copy.read_bytes() == disk.read_bytes()
    assert sum(told) == disk.stat().st_size
    assert len(told) > 1
