"""Brings v86 and SeaBIOS, the parts of "Boot it" that the package does not have."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from aero_storage.cli.downloads import npm
from aero_storage.cli.downloads.cache import Downloads, UnavailableError
from aero_storage.cli.downloads.deb import read_files
from aero_storage.cli.downloads.debian import Mirror
from aero_storage.emulator.files import BIOS, CODE, SCRIPT, VGA_BIOS, EmulatorFiles, Work

V86 = npm.NpmPackage(
    "v86",
    "0.5.462",
    "sha512-aKPX7DdzqAKFRv2omDkqSju0uEzlOxzo+II82J5UT7+tZNsboA6kyaNq9NKAnxvo9hzpJ8dQj7vcvcz0J7I2QA==",
)
"""The version that the client is tried with."""

SEABIOS = "seabios"
_V86_LICENCE, _SEABIOS_LICENCE = "v86-licence.txt", "seabios-copyright.txt"
_V86_FILES = {SCRIPT: "build/libv86.mjs", CODE: "build/v86.wasm", _V86_LICENCE: "LICENSE"}
_SEABIOS_FILES = {
    BIOS: "/usr/share/seabios/bios.bin",
    VGA_BIOS: "/usr/share/seabios/vgabios-stdvga.bin",
    _SEABIOS_LICENCE: f"/usr/share/doc/{SEABIOS}/copyright",
}


NAMES = frozenset({*_V86_FILES, *_SEABIOS_FILES})
"""The names that the files have with us."""


@attrs.frozen
class Origins:
    """Where the parts come from."""

    registry: str
    mirror: Mirror
    downloads: Downloads


def fetch(origins: Origins) -> EmulatorFiles:
    """Fetch all parts. Raises UnavailableError, OperatorError and OSError."""
    archive = npm.fetch(origins.downloads, origins.registry, V86)
    members = npm.read_members(archive, _V86_FILES.values())
    firmware, version = _seabios(origins.mirror)
    files = {**{ours: members[theirs] for ours, theirs in _V86_FILES.items()}, **firmware}
    works = (
        Work("v86", V86.version, "BSD-2-Clause", _V86_LICENCE, "https://github.com/copy/v86"),
        Work("SeaBIOS", version, "LGPL-3.0-only", _SEABIOS_LICENCE, f"https://packages.debian.org/source/{SEABIOS}"),
    )
    return EmulatorFiles(files, works)


def _seabios(mirror: Mirror) -> tuple[Mapping[str, bytes], str]:
    package = mirror.find([SEABIOS])[SEABIOS]
    files = read_files(mirror.fetch(package), frozenset(_SEABIOS_FILES.values()).__contains__)
    if missing := sorted(set(_SEABIOS_FILES.values()) - files.keys()):
        raise UnavailableError(f"the package {SEABIOS} {package.version} has no file {missing[0]}")
    return {ours: files[theirs] for ours, theirs in _SEABIOS_FILES.items()}, package.version
