"""Which file systems have someone else answer: a process (FUSE) or another machine (NFS, SMB, 9P, Ceph ...).

There even `fstat` and a read of what is in memory may wait for as long as that one takes: the kernel asks it whether
what it remembers still holds. `sendfile` was seen to wait a second on FUSE for pages that it did not send, which it
read ahead. So nothing of such a file is for the reactor's thread.
"""

from __future__ import annotations

import ctypes
import sys

# The magic numbers of linux/magic.h and of the file systems' own headers.
_REMOTE = frozenset(
    {
        0x65735546,  # FUSE, virtiofs
        0x00006969,  # NFS
        0x0000517B,  # SMB
        0xFF534D42,  # CIFS
        0xFE534D42,  # SMB2
        0x01021997,  # 9P
        0x00C36400,  # Ceph
        0x5346414F,  # AFS
        0x6B414653,  # AFS, the kernel's own
        0x73757245,  # Coda
        0x0BD00BD0,  # Lustre
        0x47504653,  # GPFS
        0x20030528,  # OrangeFS
        0x19830326,  # BeeGFS
        0x013111A8,  # IBRIX
        0x786F4256,  # VirtualBox's shared folders
        0xBACBACBC,  # VMware's
        0x01161970,  # GFS2, whose nodes lock each other out
        0x7461636F,  # OCFS2, likewise
    }
)
_ROOM = 256
"""More than `struct statfs` takes anywhere; its first word is the magic number."""

_LIBC = ctypes.CDLL(None)


def is_network_filesystem(descriptor: int) -> bool:
    """Whether someone else answers for the file system of an open file; False where the kernel cannot tell.

    For a thread: it may wait for the answer.
    """
    if not sys.platform.startswith("linux"):
        return False
    status = ctypes.create_string_buffer(_ROOM)
    if _LIBC.fstatfs(descriptor, status):
        return True  # not even that could be had of it
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF in _REMOTE
