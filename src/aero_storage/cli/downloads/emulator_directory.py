"""The directory of v86 and SeaBIOS: filled, cleaned of what a killed process has left, and emptied.

Its document is written last, so a directory without one may hold files of ours all the same: of a process that was
killed. A plan of the same form, with their digests, is written first; it tells them from files of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, Replaceable, Waiting, locked, staging_directory
from aero_storage.cli.downloads.emulator import NAMES, V86
from aero_storage.emulator.files import (
    DOCUMENT,
    EmulatorFiles,
    EmulatorFilesError,
    read_bounded,
    read_digests,
    read_emulator_files,
)
from aero_storage.errors import OperatorError

_LOCK, _PLAN, _STAGING = ".parts.lock~", ".parts.plan~", ".fetching~"
_TEMPORARY = frozenset(f".{name}~" for name in (*NAMES, DOCUMENT, _PLAN))
"""Names of files that were being written when their process was killed."""

_MOST_BYTES = 32 << 20
_LEFT = frozenset({_LOCK, _PLAN, _STAGING, *_TEMPORARY})


def present(directory: Path) -> EmulatorFiles | None:
    """Return what a directory has, if all of it is as it was fetched, with this version of v86."""
    try:
        found = read_emulator_files(directory)
    except EmulatorFilesError:
        return None
    is_current = found is not None and any((one.name, one.version) == (V86.name, V86.version) for one in found.works)
    return found if is_current else None


def has_leftovers(directory: Path) -> bool:
    """Return whether a process is at work there, or was killed at its work."""
    return any((directory / name).exists() for name in _LEFT)


def remove(directory: Path, waiting: Waiting) -> bool:
    """Remove all that is ours from a directory; return whether there was anything. Other files stay.

    Raises BusyError, OperatorError and OSError.
    """
    if not (directory / DOCUMENT).exists() and not has_leftovers(directory):
        return False
    with at_work(directory, waiting) as work:
        work.remove()
    return True


@contextmanager
def at_work(directory: Path, waiting: Waiting) -> Iterator[EmulatorDirectory]:
    """Hold the directory for a with block, made if it is missing; another process at work there is waited for.

    A new directory that is empty at the end is removed again. Raises BusyError, OperatorError and OSError.
    """
    new = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with locked(directory / _LOCK, waiting, keeps_file=False), Directory.opened(directory) as opened:
            yield EmulatorDirectory(directory, opened)
    finally:
        with suppress(OSError):  # it has files by now, as it should
            for path in new:
                path.rmdir()


@attrs.frozen
class EmulatorDirectory:
    """The directory, while no other process works there."""

    path: Path
    _opened: Directory

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a directory in it for a with block, emptied before and removed afterwards. Raises OperatorError."""
        with staging_directory(self._opened, _STAGING) as staging:
            yield staging.path

    def store(self, found: EmulatorFiles) -> None:
        """Write the files and then their document, each atomically.

        Raises OperatorError if a file of these names is there that is nobody's of ours, and OSError.
        """
        self._check_ours(found)
        self._clean()
        Replaceable(self._opened, _PLAN).replace(found.document())
        for name, body in found.files.items():
            Replaceable(self._opened, name).replace(body)
        Replaceable(self._opened, DOCUMENT).replace(found.document())
        self._opened.unlink(_PLAN)

    def clean(self) -> None:
        """Remove what a killed process has left. Raises OperatorError and OSError."""
        with self.staging():
            self._clean()

    def remove(self) -> None:
        """Remove the files, the document, and what a killed process has left. Raises OperatorError and OSError."""
        self.clean()
        if (self.path / DOCUMENT).exists():
            for name in (*NAMES, DOCUMENT):  # it last, so that an interrupted removal can go on
                self._opened.unlink(name)

    def _clean(self) -> None:
        planned = self._planned()
        if not (self.path / DOCUMENT).exists():
            for name in planned:
                if self._is_as_planned(name, planned):
                    self._opened.unlink(name)
        for name in (*_TEMPORARY, _PLAN):
            self._opened.unlink(name)

    def _planned(self) -> Mapping[str, str]:
        """Return the digests of what a killed process was writing."""
        try:
            digests = read_digests(self.path / _PLAN) or {}
        except EmulatorFilesError:
            return {}
        return {name: digest for name, digest in digests.items() if name in NAMES}

    def _is_as_planned(self, name: str, planned: Mapping[str, str]) -> bool:
        body = read_bounded(self.path / name, _MOST_BYTES) if name in planned else None
        return body is not None and hashlib.sha256(body).hexdigest() == planned[name]

    def _check_ours(self, found: EmulatorFiles) -> None:
        """Refuse a directory that has no document, and in it files of these names that we have not put there."""
        if (self.path / DOCUMENT).exists():
            return
        planned = self._planned()
        for name, body in found.files.items():
            path = self.path / name
            is_ours = not path.exists() or read_bounded(path, len(body)) == body or self._is_as_planned(name, planned)
            if not is_ours:
                raise OperatorError(f"{path} is not of v86 and SeaBIOS as they were fetched; name another directory")
