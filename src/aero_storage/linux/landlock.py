"""Landlock, by its system calls: a process gives up the right to open files, but for those that rules name.

A rule is on an inode: of one file, or of a directory with all that is below it. A file that gets the name of an
allowed one later is denied. Descriptors that are open already stay usable. See landlock(7).
"""

from __future__ import annotations

import ctypes
import enum
import os
import platform
import stat
import sys
from collections.abc import Iterable

import attrs

from aero_storage.errors import OperatorError

# Numbers of include/uapi/asm-generic/unistd.h; the same on every machine but Alpha.
_CREATE_RULESET = 444
_ADD_RULE = 445
RESTRICT_SELF = 446

# All below is of include/uapi/linux/landlock.h.
_CREATE_RULESET_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1


class Access(enum.IntFlag):
    """LANDLOCK_ACCESS_FS_*: rights to files and directories."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
"""Rights that a rule on a file, not on a directory, may have."""

_RIGHTS_BY_ABI = ((5, 16), (3, 15), (2, 14), (1, 13))
"""ABI version, and how many rights over files it knows: the lowest bits."""

_NETWORK_ABI = 4
_NETWORK = 0b11
"""LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP."""

_SCOPES_ABI = 6
_SCOPES = 0b11
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and _SIGNAL."""


class _RulesetAttributes(ctypes.Structure):
    # Older kernels know only the first fields, and take the others as long as they are zero.
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


@attrs.frozen
class Rule:
    """Allows `access` to an open file, or to all below an open directory; O_PATH is enough."""

    descriptor: int
    access: Access


def abi_version() -> int:
    """Return the version of Landlock's ABI; 0 if the kernel has none, or if it is switched off or forbidden here."""
    if sys.platform != "linux" or platform.machine() == "alpha":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)))


def create_ruleset(rules: Iterable[Rule], version: int) -> int:
    """Return the descriptor of a ruleset that allows what `rules` say, and no more; the caller closes it.

    `version` is that of the ABI, above 0: from 4 on TCP is forbidden, from 6 on abstract UNIX sockets and signals to
    other processes. UDP, and UNIX sockets with a path, are not restricted.

    Raises OperatorError if the kernel refuses.
    """
    attributes = _attributes(version)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = _checked(_syscall(_CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0)))
    try:
        for rule in rules:
            _add(ruleset, rule, int(attributes.fs))
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def _attributes(version: int) -> _RulesetAttributes:
    rights = next(count for since, count in _RIGHTS_BY_ABI if version >= since)
    return _RulesetAttributes(
        fs=(1 << rights) - 1,
        net=_NETWORK if version >= _NETWORK_ABI else 0,
        scoped=_SCOPES if version >= _SCOPES_ABI else 0,
    )


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    access = int(rule.access) & handled
    if not stat.S_ISDIR(os.fstat(rule.descriptor).st_mode):
        access &= int(_OF_FILES)
    beneath = _PathBeneath(access=access, parent=rule.descriptor)
    kind, flags = ctypes.c_int(_RULE_PATH_BENEATH), ctypes.c_uint32(0)
    _checked(_syscall(_ADD_RULE, ctypes.c_int(ruleset), kind, ctypes.byref(beneath), flags))


def _syscall(number: int, *arguments: object) -> int:
    """Call the kernel; return -1 with ctypes' errno set if it refuses."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        raise OperatorError(f"Landlock failed: {os.strerror(ctypes.get_errno())}")
    return result
