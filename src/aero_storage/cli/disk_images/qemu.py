"""qemu-img as a child process that is told everything: the format, and that the image is a plain file.

The child never outlives us: it is killed on any exception, and by the kernel when we are.
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

from aero_storage.cli.disk_images.formats import FORMATS, printable
from aero_storage.cli.disk_images.sparse_copy import Advance
from aero_storage.errors import JsonError, OperatorError
from aero_storage.strict_json import load

_SHOWN_LENGTH = 400
_READ = 64 * 1024
_MAX_VALUES = 1_000_000  # 65,536 snapshots, the most that qcow2 has, are some 600,000
_PROGRESS = re.compile(rb"\(([0-9]+(?:\.[0-9]+)?)/100%\)")
_LONGEST_MARK = 32
_SOUND = frozenset({0, 3, 63})
"""How `qemu-img check` ends for an image without errors, with leaked space only, of a format that it cannot check."""

# Runs another program in its place, once the kernel has promised to kill it (PR_SET_PDEATHSIG, SIGKILL) when the
# thread that started it ends. Not as a preexec_fn: that is unsafe beside other threads, such as a progress bar's.
_TETHER = """
import ctypes, os, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@attrs.frozen
class QemuImageInfo:
    """What `qemu-img info` says of an image: `size`, the disk's, in bytes; `encrypted`; the `others` it needs."""

    size: int
    encrypted: bool
    others: tuple[str, ...]
    """Names of other files: backing file, data file, extents."""


@attrs.frozen
class _Ended:
    status: int
    errors: str


def find() -> str:
    """Find qemu-img. Raises OperatorError that tells how to install it."""
    path = shutil.which("qemu-img")
    if path is None:
        raise OperatorError(
            "qemu-img is not installed, and all formats but raw need it; on Debian or Ubuntu: apt install qemu-utils"
        )
    return os.path.abspath(path)  # noqa: PTH100 - without resolving links, which may be how a program is told its name


def info(path: Path, name: str) -> QemuImageInfo:
    """Ask for the facts of the image `path` in the format `name`; no other file is opened for them.

    Raises OperatorError if qemu cannot read it.
    """
    output = bytearray()
    ended = _run(("info", "--output=json", "--image-opts", _image_options(path, name)), output.extend)
    if ended.status:
        raise OperatorError(_complaint(path, f"cannot be read as {name}", ended, name))
    try:
        return _facts(path, _object(load(bytes(output), _MAX_VALUES)))
    except JsonError as error:
        raise OperatorError(f"{path}: what qemu-img says of it is {error}") from error


def _facts(path: Path, answer: Mapping[str, object]) -> QemuImageInfo:
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
    """Have the image's tables checked, where qemu can: what they miss in a file cut short would be read as zeros.

    Raises OperatorError if they are damaged.
    """
    ended = _run(("check", "--output=json", "--image-opts", _image_options(path, name)), lambda _: None)
    if ended.status not in _SOUND:
        raise OperatorError(_complaint(path, "is damaged or cut short; copy it here again", ended, name))


def convert(path: Path, name: str, target: Path, advance: Advance, total: int) -> None:
    """Write the disk in an image, `total` bytes long, to the raw file `target`, sparse; `advance` adds up to `total`.

    Raises OperatorError with what qemu says if that fails.
    """
    meter = _Meter(total, advance)
    arguments = ("convert", "-p", "-S", "4k", "-O", "raw", "--image-opts", _image_options(path, name))
    ended = _run((*arguments, str(_absolute(target))), meter.feed)
    if ended.status:
        raise OperatorError(_complaint(path, "could not be converted", ended, name))
    meter.reach(total)


@attrs.define
class _Meter:
    """Turns the percentages that qemu prints into bytes."""

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
    """Name the file so that it cannot be taken for anything else, and nothing is probed."""
    file = str(_absolute(path)).replace(",", ",,")
    # By default qemu takes the size of most VHDs from their geometry, and the end of VirtualBox's gets lost.
    more = "force_size_calc=current_size," if name == "vhd" else ""
    return f"driver={FORMATS.get(name, name)},{more}file.driver=file,file.filename={file}"


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolving links is for the kernel


def _complaint(path: Path, what: str, ended: _Ended, name: str) -> str:
    quote = f"'{_image_options(path, name)}'"
    lines = (line.removeprefix("qemu-img: ") for line in ended.errors.splitlines())
    said = "; ".join(line.replace(f"Could not open {quote}: ", "").replace(quote, "it") for line in lines if line)
    return f"{printable(path, None)}: {what}: {printable(said, _SHOWN_LENGTH) or f'it ended with {ended.status}'}"


def _run(arguments: Sequence[str], take: Callable[[bytes], object]) -> _Ended:
    """Run qemu-img, and hand over what it prints as it comes."""
    with tempfile.TemporaryFile() as errors:  # a pipe would need a reader of its own
        with _child((find(), *arguments), errors) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            while output := os.read(process.stdout.fileno(), _READ):
                take(output)
        errors.seek(0)
        return _Ended(process.returncode, errors.read(_READ).decode("utf-8", "backslashreplace"))


@contextmanager
def _child(command: Sequence[str], errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a with block, at whose end it has ended by itself or is killed."""
    tether = (sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()))
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(  # noqa: S603 - no shell
        (*tether, *command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            process.wait()
            raise
