"""Takes from a Python what Linux has beyond POSIX, as other systems lack it: PYTHONPATH names this directory.

Gone are inotify, sendfile, Landlock, cachestat, locks of open files, /proc, netlink, epoll, timerfd, memfd, holes and
their like. A call of them gets the error that such a system gives, or finds no such name.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import os
import select
import socket
from typing import Any

_NAMES = {
    os: (
        *("sendfile", "memfd_create", "copy_file_range", "splice", "eventfd", "pidfd_open", "pipe2", "fdatasync"),
        *("posix_fadvise", "posix_fallocate", "sched_getaffinity", "sched_setaffinity", "getxattr", "setxattr"),
        *("O_PATH", "O_DIRECT", "O_TMPFILE", "O_NOATIME", "SEEK_DATA", "SEEK_HOLE"),
        *(name for name in dir(os) if name.startswith(("RWF_", "POSIX_FADV_", "MFD_", "EFD_"))),
    ),
    socket: (
        *("AF_NETLINK", "AF_VSOCK", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_PEERCRED", "SO_BINDTODEVICE", "TCP_INFO"),
        *("TCP_QUICKACK", "TCP_CORK", "TCP_USER_TIMEOUT", "TCP_DEFER_ACCEPT", "TCP_FASTOPEN"),
    ),
    select: ("epoll", *(name for name in dir(select) if name.startswith("EPOLL"))),
    fcntl: ("F_OFD_GETLK", "F_OFD_SETLK", "F_OFD_SETLKW", "F_GETPIPE_SZ", "F_SETPIPE_SZ", "F_ADD_SEALS"),
}
_CALLS = frozenset(
    {
        *("inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fallocate", "syncfs", "prctl"),
        *("timerfd_create", "timerfd_settime", "mallopt", "malloc_trim", "gnu_get_libc_version", "fstatfs64"),
    }
)
_OFD = range(36, 39)

for _module, _names in _NAMES.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)


def _fails(*_arguments: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


class _Missing:
    """A system call of another system: all of ours are unknown to it."""

    argtypes: object = None
    restype: object = None
    __call__ = staticmethod(_fails)


class _LocksWithoutOwners:
    """fcntl(2) of a library, which does not know locks of open files."""

    call: Any

    def __init__(self, call: Any) -> None:
        object.__setattr__(self, "call", call)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.call, name, value)

    def __call__(self, descriptor: int, command: int, *arguments: object) -> object:
        return _fails() if command in _OFD else self.call(descriptor, command, *arguments)


def _without(library: type[ctypes.CDLL]) -> type[ctypes.CDLL]:
    class Library(library):  # type: ignore[misc, valid-type]
        def __getattr__(self, name: str) -> Any:
            if name in _CALLS:
                raise AttributeError(name)
            found = super().__getattr__(name)
            return _Missing() if name == "syscall" else _LocksWithoutOwners(found) if name == "fcntl" else found

    Library.__name__ = library.__name__
    return Library


ctypes.CDLL, ctypes.PyDLL = _without(ctypes.CDLL), _without(ctypes.PyDLL)  # type: ignore[assignment, misc]

_fcntl = fcntl.fcntl


def _fcntl_without_ofd(descriptor: Any, command: int, argument: Any = 0) -> Any:
    if command in _OFD:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return _fcntl(descriptor, command, argument)


fcntl.fcntl = _fcntl_without_ofd


class _WithoutProc:
    """A call that finds nothing below /proc; no function, which would become a method where a class keeps it."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        path = arguments[0] if arguments else None
        if isinstance(path, str | bytes | os.PathLike):
            text = os.fsdecode(path)
            if text == "/proc" or text.startswith("/proc/"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
        return self._call(*arguments, **named)


for _name in ("open", "stat", "lstat", "readlink", "listdir", "scandir"):
    _call = getattr(os, _name)
    _replacement = _WithoutProc(_call)
    setattr(os, _name, _replacement)
    for _supporting in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if _call in _supporting:
            _supporting.add(_replacement)
builtins.open = _WithoutProc(builtins.open)
os.supports_effective_ids.discard(os.access)
