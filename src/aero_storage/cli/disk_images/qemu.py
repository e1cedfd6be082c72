"""Runs qemu-img as a child process with explicit options: the format, and that the image is a plain file.

The child never outlives this process: it is killed on any exception, and by the kernel when this process is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import attrs

from aero_storage.cli.disk_images.formats import FORMATS
from aero_storage.cli.disk_images.sparse_copy import Advance
from aero_storage.cli.terminal import printable
from aero_storage.errors import JsonError, OperatorError
from aero_storage.strict_json import load

_SHOWN_LENGTH = 400
_READ = 64 * 1024
_MAX_VALUES = 1_000_000  # 65,536 snapshots, the most that qcow2 has, are some 600,000
_PROGRESS = re.compile(rb"\(([0-9]+(?:\.[0-9]+)?)/100%\)")
_LONGEST_MARK = 32
_SOUND = frozenset({0, 3, 63})
"""Exit statuses of `qemu-img check`: no errors, only leaked clusters, a format without checks."""

# Sets PR_SET_PDEATHSIG, so that the kernel kills the child when the thread that started it ends, then executes the
# program. Not as a preexec_fn: that is unsafe with other threads, such as a progress bar's.
_DIE_WITH_PARENT = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


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


def find() -> str:
    """Return the path of qemu-img. Raises OperatorError, with the command to install it, if there is none."""
    path = shutil.which("qemu-img")
    if path is None:
        raise OperatorError(
            "qemu-img is not installed, and all formats but raw need it; on Debian or Ubuntu: apt install qemu-utils"
        )
    return os.path.abspath(path)  # noqa: PTH100 - links are not resolved: a program may act by its name


def info(path: Path, name: str) -> QemuImageInfo:
    """Run `qemu-img info` on the image `path` in the format `name`; no other file is opened.

    Raises OperatorError if qemu cannot read it.
    """
    output = bytearray()
    ended = _run(("info", "--output=json", "--image-opts", _image_options(path, name)), output.extend)
    if ended.status:
        raise OperatorError(_error_text(path, f"cannot be read as {name}", ended, name))
    try:
        return _image_info(path, _object(load(bytes(output), _MAX_VALUES)))
    except JsonError as error:
        raise OperatorError(f"{path}: the output of qemu-img info is {error}") from error


def _image_info(path: Path, answer: Mapping[str, object]) -> QemuImageInfo:
    specific = _object(_object(answer.get("format-specific")).get("data"))
    extents = specific.get("extents")
    names = [
        answer.get("full-backing-filename"),
        answer.get("backing-filename"),
        specific.get("data-file"),
        *(_object(extent).get("filename") for extent in (extents if isinstance(extents, list) else ())),
    ]
    others = tuple(name for name in names if isinstance(name, str) and name != str(_absolute(path)))
    size = answer["virtual-size"]
    assert isinstance(size, int)  # noqa: S101 - qemu's own schema
    return QemuImageInfo(size, bool(answer.get("encrypted")), others)


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def check(path: Path, name: str) -> None:
    """Run `qemu-img check`, if qemu can check the format: blocks missing in a file cut short are read as zeros.

    Raises OperatorError if the image is damaged.
    """
    ended = _run(("check", "--output=json", "--image-opts", _image_options(path, name)), lambda _: None)
    if ended.status not in _SOUND:
        raise OperatorError(_error_text(path, "is damaged or cut short; copy it here again", ended, name))


def convert(path: Path, name: str, target: int, advance: Advance, total: int) -> None:
    """Write the disk in an image, `total` bytes long, to the raw file `target`, sparse; `advance` adds up to `total`.

    `target` is a descriptor, which qemu-img inherits: a path could lead elsewhere by now.

    Raises OperatorError with qemu's message if that fails.
    """
    meter = _Meter(total, advance)
    arguments = ("convert", "-p", "-S", "4k", "-O", "raw", "--image-opts", _image_options(path, name))
    ended = _run((*arguments, f"/proc/self/fd/{target}"), meter.feed, target)
    if ended.status:
        raise OperatorError(_error_text(path, "could not be converted", ended, name))
    meter.reach(total)


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


def _image_options(path: Path, name: str) -> str:
    """Return image options that name the file as a plain file and its format, so that qemu probes nothing."""
    file = str(_absolute(path)).replace(",", ",,")
    # By default qemu takes the size of most VHDs from their geometry, which cuts off the end of VirtualBox's.
    more = "force_size_calc=current_size," if name == "vhd" else ""
    return f"driver={FORMATS.get(name, name)},{more}file.driver=file,file.filename={file}"


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - the kernel resolves links


def _error_text(path: Path, what: str, ended: _Ended, name: str) -> str:
    quote = f"'{_image_options(path, name)}'"
    lines = (line.removeprefix("qemu-img: ") for line in ended.errors.splitlines())
    message = "; ".join(line.replace(f"Could not open {quote}: ", "").replace(quote, "it") for line in lines if line)
    return f"{printable(path, None)}: {what}: {printable(message, _SHOWN_LENGTH) or f'it ended with {ended.status}'}"


def _run(arguments: Sequence[str], take: Callable[[bytes], object], *inherited: int) -> _Ended:
    """Run qemu-img, which inherits some descriptors, and pass its output to `take` as it arrives."""
    with tempfile.TemporaryFile() as errors:  # a pipe would need a reader of its own
        with _child((find(), *arguments), errors, inherited) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            while output := os.read(process.stdout.fileno(), _READ):
                take(output)
        errors.seek(0)
        return _Ended(process.returncode, errors.read(_READ).decode("utf-8", "backslashreplace"))


@contextmanager
def _child(command: Sequence[str], errors: IO[bytes], inherited: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program during a with block; at its end the program has ended or is killed."""
    tether = (sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()))
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(  # noqa: S603 - no shell
        (*tether, *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment,
        pass_fds=inherited,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
