"""Runs qemu-img as a child process with explicit options: the format, and that the image is a plain file.

The child inherits the files as descriptors, and is confined to them where the kernel can do that (sandbox.py). It
never outlives this process: it is killed on any exception, and by the kernel when this process is killed.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO

import attrs

from aero_storage.atomic_files import WATCH_SECONDS
from aero_storage.cli.disk_images import confined_exec
from aero_storage.cli.disk_images.formats import FORMATS
from aero_storage.cli.disk_images.image_map import MapReader
from aero_storage.cli.disk_images.open_image import OpenImage, inherited_path
from aero_storage.cli.disk_images.sandbox import Sandbox
from aero_storage.cli.disk_images.sparse_copy import Advance
from aero_storage.cli.terminal import printable
from aero_storage.errors import JsonError, OperatorError
from aero_storage.sizes import format_size
from aero_storage.strict_json import load

_SHOWN_LENGTH = 400
_READ = 64 * 1024
_MAX_VALUES = 1_000_000  # 65,536 snapshots, the most that qcow2 has, are some 600,000
_PROGRESS = re.compile(rb"\(([0-9]+(?:\.[0-9]+)?)/100%\)")
_LONGEST_MARK = 32
_NO_MEMORY = re.compile(r"Cannot allocate memory|failed to allocate|qemu_thread_create")
_SOUND = frozenset({0, 3, 63})
"""Exit statuses of `qemu-img check`: no errors, only leaked clusters, a format without checks."""


def _pass() -> None:
    pass


@attrs.frozen
class QemuImageInfo:
    """Result of `qemu-img info`: `size` of the disk in bytes, whether it is `encrypted`, the `others` it needs."""

    size: int
    encrypted: bool
    others: tuple[str, ...]
    """Names of other files: backing file, data file, extents."""


@attrs.frozen
class _Ended:
    status: int
    errors: str


def find_qemu_img() -> QemuImg:
    """Return qemu-img, confined if that is possible here.

    Raises OperatorError, with the command to install it, if there is none.
    """
    path = shutil.which("qemu-img")
    if path is None:
        raise OperatorError(
            "qemu-img is not installed, and all formats but raw need it; on Debian or Ubuntu: apt install qemu-utils"
        )
    program = os.path.abspath(path)  # noqa: PTH100 - links are not resolved: a program may act by its name
    confined = QemuImg(program, Sandbox.around(program))
    # A program with files in places that the sandbox does not know, or in a container that forbids sandboxes.
    return confined if confined.is_confined and confined.starts() else QemuImg(program, None)


@attrs.frozen
class QemuImg:
    """The program, an absolute path, and the sandbox that it runs in; None if it is not confined."""

    program: str
    sandbox: Sandbox | None

    @property
    def is_confined(self) -> bool:
        """Whether it can open no other files than those of the image."""
        return self.sandbox is not None

    def starts(self) -> bool:
        """Run `qemu-img --version`, and return whether that works."""
        try:
            return self._run(("--version",), (), lambda _: None).status == 0
        except OperatorError:
            return False

    def info(self, image: OpenImage) -> QemuImageInfo:
        """Run `qemu-img info` on an image. Raises OperatorError if qemu cannot read it."""
        output = bytearray()
        ended = self._run_on(image, ("info", "--output=json"), output.extend)
        if ended.status:
            raise OperatorError(_error_text(image, f"cannot be read as {image.format}", ended))
        try:
            return _image_info(image, _object(load(bytes(output), _MAX_VALUES)))
        except JsonError as error:
            name = printable(image.path, None)
            raise OperatorError(f"{name}: the output of qemu-img info is {error}") from error

    def check(self, image: OpenImage) -> None:
        """Run `qemu-img check`, if qemu can check the format: blocks missing in a file cut short are read as zeros.

        Raises OperatorError if the image is damaged.
        """
        ended = self._run_on(image, ("check", "--output=json"), lambda _: None)
        if ended.status not in _SOUND:
            raise OperatorError(_error_text(image, "is damaged or cut short; copy it here again", ended))

    def require_whole(self, image: OpenImage) -> None:
        """Run `qemu-img map`, and compare the places of the data with the length of the file.

        Raises OperatorError if the file ends before them; `qemu-img check` misses that in the last cluster.
        """
        places = MapReader(image)
        try:
            ended = self._run_on(image, ("map", "--output=json"), places.feed)
            if ended.status:
                raise OperatorError(_error_text(image, "is damaged or cut short; copy it here again", ended))
            places.finish()
        except JsonError as error:
            name = printable(image.path, None)
            raise OperatorError(f"{name}: the output of qemu-img map is {error}") from error

    def convert(
        self, image: OpenImage, target: int, advance: Advance, total: int, watch: Callable[[], object] = _pass
    ) -> None:
        """Write the disk in an image, `total` bytes long, to the raw file `target`, sparse; `advance` adds up to it.

        `target` is a descriptor, which qemu-img inherits: a path could lead elsewhere by now. `watch` is called every
        WATCH_SECONDS; if it raises an exception, qemu-img is killed.

        Raises OperatorError with qemu's message if that fails.
        """
        meter = _Meter(total, advance)
        ended = self._run_on(image, ("convert", "-p", "-S", "4k", "-O", "raw"), meter.feed, target, watch=watch)
        if ended.status:
            watch()  # then that is the reason
            raise OperatorError(_error_text(image, "could not be converted", ended))
        meter.reach(total)

    def _run_on(
        self,
        image: OpenImage,
        arguments: Sequence[str],
        take: Callable[[bytes], object],
        *targets: int,
        watch: Callable[[], object] = _pass,
    ) -> _Ended:
        """Run qemu-img on an image; it may read the image's files, and write to the targets."""
        words = (*arguments, "--image-opts", _image_options(image), *map(inherited_path, targets))
        return self._run(words, image.readable, take, *image.inherited, targets=targets, watch=watch)

    def _run(
        self,
        arguments: Sequence[str],
        readable: Sequence[int],
        take: Callable[[bytes], object],
        *inherited: int,
        targets: Sequence[int] = (),
        watch: Callable[[], object] = _pass,
    ) -> _Ended:
        """Run qemu-img, and pass its output to `take` as it arrives; `watch` is called every WATCH_SECONDS."""
        confined = nullcontext(None) if self.sandbox is None else self.sandbox.ruleset(readable, targets)
        with tempfile.TemporaryFile() as errors, confined as ruleset:  # a pipe would need a reader of its own
            with _child((self.program, *arguments), errors, ruleset, (*inherited, *targets)) as process:
                assert process.stdout is not None  # noqa: S101 - it is a pipe
                for output in _outputs(process.stdout.fileno()):
                    watch()
                    if output:
                        take(output)
            errors.seek(0)
            return _Ended(process.returncode, errors.read(_READ).decode("utf-8", "backslashreplace"))


def _outputs(descriptor: int) -> Iterator[bytes]:
    """Yield what comes through a pipe up to its end, and nothing whenever it brings nothing for WATCH_SECONDS."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(1000 * WATCH_SECONDS):
            yield b""
        elif output := os.read(descriptor, _READ):
            yield output
        else:
            return


def _image_info(image: OpenImage, answer: Mapping[str, object]) -> QemuImageInfo:
    specific = _object(_object(answer.get("format-specific")).get("data"))
    extents = specific.get("extents")
    names = [
        answer.get("full-backing-filename"),
        answer.get("backing-filename"),
        specific.get("data-file"),
        *(_object(extent).get("filename") for extent in (extents if isinstance(extents, list) else ())),
    ]
    others = tuple(name for name in names if isinstance(name, str) and not image.is_own(name))
    size = answer["virtual-size"]
    assert isinstance(size, int)  # noqa: S101 - qemu's own schema
    return QemuImageInfo(size, bool(answer.get("encrypted")), others)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


@attrs.define
class _Meter:
    """Converts the percentages that qemu prints to bytes."""

    total: int
    advance: Advance
    _done: int = 0
    _rest: bytes = b""

    def feed(self, output: bytes) -> None:
        text = self._rest + output
        self._rest = text[-_LONGEST_MARK:]
        for mark in _PROGRESS.finditer(text):
            self.reach(int(self.total * min(float(mark[1]), 100.0) / 100))

    def reach(self, done: int) -> None:
        if done > self._done:
            moved, self._done = done - self._done, done
            self.advance(moved)


def _image_options(image: OpenImage) -> str:
    """Return image options that name the file as a plain file and its format, so that qemu probes nothing."""
    # By default qemu takes the size of most VHDs from their geometry, which cuts off the end of VirtualBox's.
    more = "force_size_calc=current_size," if image.format == "vhd" else ""
    driver, file = FORMATS.get(image.format, image.format), inherited_path(image.first)
    return f"driver={driver},{more}file.driver=file,file.filename={file}"


def _error_text(image: OpenImage, what: str, ended: _Ended) -> str:
    if _NO_MEMORY.search(ended.errors):
        most = format_size(confined_exec.MOST_MEMORY)
        what = (
            f"takes qemu-img more than the {most} of memory that it may have; convert it to raw first if you trust it"
        )
    quote = f"'{_image_options(image)}'"
    lines = (line.removeprefix("qemu-img: ") for line in ended.errors.splitlines())
    message = "; ".join(line.replace(f"Could not open {quote}: ", "").replace(quote, "it") for line in lines if line)
    shown = printable(image.named(message), _SHOWN_LENGTH)
    return f"{printable(image.path, None)}: {what}: {shown or f'it ended with {ended.status}'}"


@contextmanager
def _child(
    command: Sequence[str], errors: IO[bytes], ruleset: int | None, inherited: Sequence[int]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program during a with block; at its end the program has ended or is killed."""
    confined = "-" if ruleset is None else str(ruleset)
    tether = (sys.executable, "-I", "-S", str(confined_exec.__file__), str(os.getpid()), confined)
    # An arena of malloc for each thread would take the address space, which is limited, on machines of many cores.
    environment = {**os.environ, "LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
    with subprocess.Popen(  # noqa: S603 - no shell
        (*tether, *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        pass_fds=inherited if ruleset is None else (*inherited, ruleset),
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
