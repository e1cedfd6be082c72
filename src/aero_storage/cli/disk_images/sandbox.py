"""Confines qemu-img by Landlock: it opens its libraries, and the files of the image at hand, and nothing else.

A qcow2 or VMDK image can be rewritten, between our look at it and qemu's, so that it names any other file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from aero_storage.linux import landlock
from aero_storage.linux.landlock import Access, Rule

_READ = Access.READ_FILE | Access.READ_DIR
_LOAD = _READ | Access.EXECUTE  # execve needs the right to read, too; the dynamic linker is executed
_WRITE = Access.READ_FILE | Access.WRITE_FILE | Access.TRUNCATE

_LIBRARY_NAMES = ("lib", "lib64")
_LIBRARIES = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/nix/store", "/gnu/store"),
)
_PROGRAMS = ("/bin", "/usr/bin")
"""For a qemu-img that is a script; programs that it executes are confined as well."""

_READABLE = (
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/usr/share/zoneinfo", "/usr/share/locale"),
    *("/etc/gnutls", "/etc/crypto-policies", "/usr/share/crypto-policies", "/proc/sys/crypto/fips_enabled"),
    *("/sys/devices/system/node", "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo"),
    *("/dev/zero", "/dev/random", "/dev/urandom"),
)
_WRITABLE = ("/dev/null",)


@attrs.frozen
class Sandbox:
    """Rights of a program to the files that it needs for every image: paths, and rights."""

    places: tuple[tuple[str, Access], ...]
    abi_version: int

    @classmethod
    def around(cls, program: str) -> Sandbox | None:
        """Return the sandbox for a program, an absolute path; None if the kernel has no Landlock."""
        version = landlock.abi_version()
        return cls(tuple(_places(program)), version) if version else None

    @contextmanager
    def ruleset(self, reads: Iterable[int], writes: Iterable[int]) -> Iterator[int]:
        """Make a Landlock ruleset for a with block, which also allows these open files; yield its descriptor.

        Raises OperatorError if the kernel refuses.
        """
        places = list(_opened(self.places))
        try:
            rules = [
                *places,
                *(Rule(descriptor, Access.READ_FILE) for descriptor in reads),
                *(Rule(descriptor, _WRITE) for descriptor in writes),
            ]
            ruleset = landlock.create_ruleset(rules, self.abi_version)
        finally:
            for rule in places:
                os.close(rule.descriptor)
        try:
            yield ruleset
        finally:
            os.close(ruleset)


def _places(program: str) -> Iterator[tuple[str, Access]]:
    for name in {program, os.path.realpath(program)}:
        yield name, _LOAD
        folder = Path(name).parent
        if folder.name == "bin":
            yield from ((str(folder.with_name(library)), _LOAD) for library in _LIBRARY_NAMES)
    yield from ((name, _LOAD) for name in (*_LIBRARIES, *_PROGRAMS))
    yield from ((str(name), _READ) for name in (*_READABLE, *Path("/etc").glob("ld-musl-*.path")))
    yield from ((name, _WRITE) for name in _WRITABLE)


def _opened(places: Iterable[tuple[str, Access]]) -> Iterator[Rule]:
    for path, access in places:
        with suppress(OSError):  # not on this system
            yield Rule(os.open(path, os.O_PATH | os.O_CLOEXEC), access)
