"""Lines of logs from files, pipes and standard input, and what is said where they cannot be had."""

from __future__ import annotations

import gzip
import os
import pty
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from aero_storage.cli.log_sources import log_lines
from aero_storage.errors import OperatorError

LINES = [b"one", b"two"]


def read(*logs: str | Path) -> list[bytes]:
    """Return the lines of logs."""
    return [*log_lines([str(one) for one in logs], lambda _text: None)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_named_pipes_and_pipes_of_the_shell(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A named pipe is waited for, and `<(zcat …)` is a link to a pipe that no path leads to."""
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo)
    plain.write_bytes(b"zero\n")
    data = pack(b"\n".join(LINES))
    feeder = threading.Thread(target=lambda: fifo.write_bytes(data), daemon=True)
    feeder.start()
    assert read(fifo, plain) == [*LINES, b"zero"]
    feeder.join(10)
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    assert read(plain, f"/dev/fd/{reading}") == [b"zero", *LINES]
    os.close(reading)


def test_a_terminal_is_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice is of a log, not of an image."""
    ours, theirs = pty.openpty()
    with open(theirs, "rb", closefd=False, buffering=0) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        with pytest.raises(OperatorError, match=r"pipe a log into it: .*aero-storage profile learn ID -"):
            read("-")
    os.close(ours)
    os.close(theirs)


def test_what_is_no_log(tmp_path: Path) -> None:
    """A directory, a device and a missing file are told of; a compressed log with a tail is not to be imported."""
    for name in (tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="is no regular file"):
            read(name)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(b"one\n") + b"two\n")
    with pytest.raises(OperatorError, match=r"gzip -dc FILE \| aero-storage profile learn ID -, if it is good so"):
        read(packed)
