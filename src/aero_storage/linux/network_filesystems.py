"""Detects file systems served by a process (FUSE) or another machine (NFS, SMB, 9P, Ceph ...).

There even `fstat` and a read of resident pages may block, as the kernel revalidates its cache with the server.
`sendfile` on FUSE was seen to block for a second in readahead of pages that it did not send. So the reactor's thread
does not touch such files.
"""

from __future__ import annotations

import ctypes
import sys

# Magic numbers of linux/magic.h and of the file systems' own headers.
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
_BUFFER_BYTES = 256
"""More than the size of `struct statfs` on any platform; its first word is the magic number."""

_LIBC = ctypes.CDLL(None)


def is_network_filesystem(descriptor: int) -> bool:
    """Return whether an open file is on such a file system; False if the kernel cannot tell.

    It may block: call it in a thread.
    """
    if not sys.platform.startswith("linux"):
        return False
    status = ctypes.create_string_buffer(_BUFFER_BYTES)
    if _LIBC.fstatfs(descriptor, status):
        return True  # statfs failed
    return ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF in _REMOTE
