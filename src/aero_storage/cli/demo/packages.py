"""The parts of the guest, taken out of Debian packages."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from aero_storage.cli.demo.initial_ram_disk import MODULES
from aero_storage.cli.downloads.deb import read_files
from aero_storage.cli.downloads.debian import DebianPackage, Mirror
from aero_storage.errors import OperatorError

_KERNEL = "linux-image-686"
"""Depends on the newest kernel for PCs without PAE."""

_NEWEST = re.compile(r"\blinux-image-([0-9][^ ]*-686)\b")
_BUSYBOX, _ISOLINUX, _SYSLINUX = "busybox-static", "isolinux", "syslinux-common"
_MODULE = re.compile(r"/lib/modules/[^/]+/kernel/.*/([^/]+)\.ko")
_BUSYBOX_PROGRAM = "/bin/busybox"
_FIRST_SECTOR, _LOADER = "/usr/lib/ISOLINUX/isohdpfx.bin", "/usr/lib/ISOLINUX/isolinux.bin"
_LOADER_CODE = "/usr/lib/syslinux/modules/bios/ldlinux.c32"


@attrs.frozen
class Contents:
    """Files of packages, and the packages themselves."""

    kernel: bytes = attrs.field(repr=False)
    modules: Mapping[str, bytes] = attrs.field(repr=False)
    busybox: bytes = attrs.field(repr=False)
    first_sector: bytes = attrs.field(repr=False)
    loader: bytes = attrs.field(repr=False)
    loader_code: bytes = attrs.field(repr=False)
    licences: Mapping[str, bytes] = attrs.field(repr=False)
    packages: tuple[DebianPackage, ...]


@attrs.define
class _Unpacked:
    """Files of one package."""

    package: DebianPackage
    files: Mapping[str, bytes]

    def one(self, path: str) -> bytes:
        """Return a file. Raises OperatorError if the package does not have it."""
        if path not in self.files:
            raise OperatorError(f"the package {self.package.name} {self.package.version} has no file {path}")
        return self.files[path]


def fetch_contents(mirror: Mirror) -> Contents:
    """Fetch the packages and take out what is needed. Raises OperatorError and OSError."""
    found = mirror.find([_KERNEL, _BUSYBOX, _ISOLINUX, _SYSLINUX])
    release = _release_in(found[_KERNEL])
    name = f"linux-image-{release}"
    found = {**found, **mirror.find([name])}
    kernel, busybox, isolinux, syslinux = (
        _unpacked(mirror, found[one]) for one in (name, _BUSYBOX, _ISOLINUX, _SYSLINUX)
    )
    every = (kernel, busybox, isolinux, syslinux)
    return Contents(
        kernel.one(f"/boot/vmlinuz-{release}"),
        {match[1]: data for path, data in kernel.files.items() if (match := _MODULE.fullmatch(path))},
        busybox.one(_BUSYBOX_PROGRAM),
        isolinux.one(_FIRST_SECTOR),
        isolinux.one(_LOADER),
        syslinux.one(_LOADER_CODE),
        {one.package.name: one.files[path] for one in every if (path := _licence_path(one.package)) in one.files},
        tuple(one.package for one in every),
    )


def _release_in(package: DebianPackage) -> str:
    match = _NEWEST.search(package.depends)
    if match is None:
        raise OperatorError(f"the package {_KERNEL} names no kernel; Debian 12 (bookworm) is the last that has one")
    return match[1]


def _unpacked(mirror: Mirror, package: DebianPackage) -> _Unpacked:
    wanted = {_BUSYBOX_PROGRAM, _FIRST_SECTOR, _LOADER, _LOADER_CODE, _licence_path(package)}

    def is_wanted(path: str) -> bool:
        if path in wanted or path.startswith("/boot/vmlinuz-"):
            return True
        match = _MODULE.fullmatch(path)
        return match is not None and match[1] in MODULES

    return _Unpacked(package, read_files(mirror.fetch(package), is_wanted))


def _licence_path(package: DebianPackage) -> str:
    return f"/usr/share/doc/{package.name}/copyright"
