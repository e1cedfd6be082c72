"""The directory of this machine in which a command on a bucket makes what it uploads."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aero_storage.atomic_files import Directory, staging_directory
from aero_storage.cli.repository import Say
from aero_storage.errors import BusyError, OperatorError
from aero_storage.sizes import format_size


@contextmanager
def local_work(identity: str, image_id: str, say: Say) -> Iterator[Directory]:
    """Own a directory for work on one image of one bucket; leftovers of killed commands are removed.

    Raises BusyError if another command of this machine works on the image, OperatorError if it is not ours.
    """
    place, parent = _temporary_place(), f"aero-storage-{os.geteuid()}~"
    name = hashlib.sha256(f"{identity} {image_id}".encode()).hexdigest()[:16]
    with Directory.opened(place) as top:
        freed = _swept(top, parent)
        if freed:
            say(f"An interrupted command had left {format_size(freed)} in {place / parent}; removed it.")
        with staging_directory(top, parent, name) as staging:
            yield staging.directory


def _temporary_place() -> Path:
    """Return the directory for temporary files: /var/tmp, where TMPDIR names none, as /tmp is often in memory."""
    large = Path("/var/tmp")  # noqa: S108 - below it, a directory of ours that nobody else can write to
    is_chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return large if not is_chosen and os.access(large, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def _swept(top: Directory, parent: str) -> int:
    """Remove what killed commands have left, of every image that none works on; return the bytes freed."""
    freed = 0
    try:
        with top.below(parent) as directory:
            names = directory.names()
    except (OSError, OperatorError):
        return 0
    for name in names:
        with suppress(BusyError, OperatorError, OSError), staging_directory(top, parent, name) as staging:
            freed += staging.leftover or 0
    return freed
