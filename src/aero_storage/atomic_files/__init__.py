"""Atomic and durable changes of files and directories: complete or not made, even if the process is killed.

Others may write to the directory that is changed. So everything in it is reached by the descriptor of an open
directory, and no symbolic link is followed on the way. Locks are `flock`s on files: the kernel releases them when
their holder ends. All functions may wait for a disk.
"""

from __future__ import annotations

from aero_storage.atomic_files.directory import Directory, disk_usage, sync_directory
from aero_storage.atomic_files.free_space import IMAGES_ROOT, WATCH_SECONDS, FileSystemStatus, FreeSpace
from aero_storage.atomic_files.locks import LOCK_TIMEOUT, Waiting, is_locked, locked
from aero_storage.atomic_files.replacing import Replaceable, replace_file, replaceable
from aero_storage.atomic_files.staging import StagingDirectory, is_at_work, staging_directory

__all__ = [
    "IMAGES_ROOT",
    "LOCK_TIMEOUT",
    "WATCH_SECONDS",
    "Directory",
    "FileSystemStatus",
    "FreeSpace",
    "Replaceable",
    "StagingDirectory",
    "Waiting",
    "disk_usage",
    "is_at_work",
    "is_locked",
    "locked",
    "replace_file",
    "replaceable",
    "staging_directory",
    "sync_directory",
]
