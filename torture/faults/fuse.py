"""A file system with one file, served to the kernel by hand (/dev/fuse): it delays, fails and hangs on command.

The messages are those of linux/fuse.h, version 7.31; no library is needed for the few that one file takes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from torture.image_content import Content

NAME = "disk"
_ROOT, _FILE = 1, 2
_VERSION = 7, 31
_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_LARGEST = 1 << 20
_READAHEAD = 1 << 17
_NEVER_ANSWERED = {2, 36, 42}
"""FORGET, INTERRUPT, BATCH_FORGET."""
_DETACH = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


def missing() -> str:
    """Why there can be no such file system here; empty if there can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    return "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "there is no /dev/fuse to be opened"


@attrs.define(eq=False)
class SlowDisk:
    """The file system: set `delay` and `fails` at any time; while `answers` is not set it does not answer at all."""

    content: Content
    device: int
    delay: float = 0.0
    """Seconds before a read is answered."""
    fails: bool = False
    """Whether reads are answered with EIO."""
    reads: int = 0
    answers: threading.Event = attrs.field(init=False, factory=threading.Event)

    def __attrs_post_init__(self) -> None:
        self.answers.set()

    def serve(self) -> None:
        """Answer the kernel until it is unmounted."""
        while True:
            try:
                message = os.read(self.device, _LARGEST + 4096)
            except OSError as error:
                if error.errno in {errno.ENODEV, errno.EBADF}:
                    return
                if error.errno not in {errno.EINTR, errno.ENOENT, errno.EAGAIN}:
                    raise
            else:
                self.answers.wait()
                self._take(message)

    def _take(self, message: bytes) -> None:
        _, operation, unique, node, *_ = _HEADER.unpack_from(message)
        body = message[_HEADER.size :]
        if operation == 15:
            self.reads += 1
            threading.Timer(self.delay, self._read, (unique, body)).start()
        elif operation not in _NEVER_ANSWERED:
            answer = _ANSWERS.get(operation)
            result = -errno.ENOSYS if answer is None else answer(self, node, body)
            self._reply(unique, result)

    def _read(self, unique: int, body: bytes) -> None:
        _, offset, size = struct.unpack_from("<QQI", body)
        length = max(min(size, self.content.size - offset), 0)
        self._reply(unique, -errno.EIO if self.fails else self.content.part(offset, length))

    def _reply(self, unique: int, result: bytes | int) -> None:
        code, data = (result, b"") if isinstance(result, int) else (0, result)
        try:
            os.write(self.device, _ANSWER.pack(_ANSWER.size + len(data), code, unique) + data)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV, errno.EBADF}:  # interrupted, or unmounted
                raise

    def init(self, _node: int, body: bytes) -> bytes:
        _, _, readahead, _ = struct.unpack_from("<IIII", body)
        return struct.pack("<IIIIHHIIHHI28x", *_VERSION, min(readahead, _READAHEAD), 0, 64, 48, 4096, 1, 0, 0, 0)

    def _attributes(self, node: int) -> bytes:
        mode, size = (0o40755, 0) if node == _ROOT else (0o100644, self.content.size)
        return _ATTRIBUTES.pack(node, size, -(-size // 512), *[1_600_000_000] * 3, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def getattr(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 1, 0, 0) + self._attributes(node)

    def lookup(self, _node: int, body: bytes) -> bytes | int:
        if body != NAME.encode("ascii") + b"\0":
            return -errno.ENOENT
        return struct.pack("<QQQQII", _FILE, 0, 1, 1, 0, 0) + self._attributes(_FILE)

    def opened(self, _node: int, _body: bytes) -> bytes:
        return bytes(16)

    def nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def statfs(self, _node: int, _body: bytes) -> bytes:
        return bytes(80)


# The opcodes of fuse.h.
_ANSWERS: dict[int, Callable[[SlowDisk, int, bytes], bytes | int]] = {
    1: SlowDisk.lookup,
    3: SlowDisk.getattr,
    14: SlowDisk.opened,
    17: SlowDisk.statfs,
    18: SlowDisk.nothing,
    25: SlowDisk.nothing,
    26: SlowDisk.init,
    27: SlowDisk.opened,
    28: SlowDisk.nothing,
    29: SlowDisk.nothing,
    38: SlowDisk.nothing,
}


@contextmanager
def mounted(place: Path, content: Content) -> Iterator[SlowDisk]:
    """Mount it at a directory for the length of a with block; OSError if that is not allowed."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode("ascii")
    if _LIBC.mount(b"torture", os.fsencode(place), b"fuse", 0, options):
        os.close(device)
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount a FUSE file system: {os.strerror(number)}", str(place))
    disk = SlowDisk(content, device)
    server = threading.Thread(target=disk.serve, daemon=True)
    server.start()
    try:
        yield disk
    finally:
        disk.delay = 0.0
        disk.answers.set()
        _LIBC.umount2(os.fsencode(place), _DETACH)
        server.join(10)
        os.close(device)
