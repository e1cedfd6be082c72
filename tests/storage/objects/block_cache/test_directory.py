"""Who may use a cache directory, and which directories can hold a cache."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from tests.small_filesystem import mounted_tmpfs

from aero_storage.errors import SettingsError
from aero_storage.storage.objects.block_cache.cache_directory import claim_directory


def _unsupported(*_arguments: object) -> NoReturn:
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def test_second_daemon(tmp_path: Path) -> None:
    """A second daemon is refused in one line, until the first and all its workers have ended."""
    claim = claim_directory(tmp_path)
    inherited = os.dup(claim.descriptor)
    claim.close()
    with pytest.raises(SettingsError, match="another daemon uses it") as refused:
        claim_directory(tmp_path)
    assert "\n" not in str(refused.value)
    os.close(inherited)
    claim_directory(tmp_path).close()


def test_after_a_kill(tmp_path: Path) -> None:
    """A daemon that was killed leaves no lock behind."""
    program = (
        "import sys, pathlib, time; from aero_storage.storage.objects.block_cache.cache_directory import *; "
        "claim = claim_directory(pathlib.Path(sys.argv[1])); print('claimed', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        with pytest.raises(SettingsError, match="another daemon"):
            claim_directory(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    claim_directory(tmp_path).close()


def test_no_holes(tmp_path: Path) -> None:
    """A file system without holes is refused in one line."""
    with pytest.raises(SettingsError, match="cannot punch holes") as refused:
        claim_directory(tmp_path, punch=_unsupported)
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot punch holes"):
        claim_directory(tmp_path, punch=lambda _descriptor, _offset, _length: None)
    claim_directory(tmp_path).close()


@pytest.mark.parametrize("lock", [_unsupported, lambda _descriptor, _start, _length: True])
def test_no_locks(tmp_path: Path, lock: object) -> None:
    """A file system without these locks, or with locks that lock nothing, is refused in one line."""
    with pytest.raises(SettingsError, match="no locks of open file descriptions"):
        claim_directory(tmp_path, lock=lock)  # type: ignore[arg-type]
    claim_directory(tmp_path).close()


def test_unwritable(tmp_path: Path) -> None:
    """A place that is no directory is refused in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="Not a directory"):
        claim_directory(tmp_path / "file")


def test_memory_file_system(tmp_path: Path) -> None:
    """A tmpfs can hold a cache."""
    with mounted_tmpfs(tmp_path, "1m"):
        claim_directory(tmp_path).close()
