"""Brings v86 and SeaBIOS, the parts of "Boot it" that the package does not have, into their directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from aero_storage.atomic_files import Directory, Replaceable, locked
from aero_storage.cli.downloads import npm
from aero_storage.cli.downloads.cache import Downloads, UnavailableError
from aero_storage.cli.downloads.deb import read_files
from aero_storage.cli.downloads.debian import Mirror
from aero_storage.emulator.files import (
    BIOS,
    CODE,
    DOCUMENT,
    SCRIPT,
    VGA_BIOS,
    EmulatorFiles,
    EmulatorFilesError,
    Work,
    read_bounded,
    read_emulator_files,
)
from aero_storage.errors import OperatorError

V86 = npm.NpmPackage(
    "v86",
    "0.5.462",
    "sha512-aKPX7DdzqAKFRv2omDkqSju0uEzlOxzo+II82J5UT7+tZNsboA6kyaNq9NKAnxvo9hzpJ8dQj7vcvcz0J7I2QA==",
)
"""The version that the client is tried with."""

SEABIOS = "seabios"
_LOCK = ".parts.lock~"
_V86_LICENCE, _SEABIOS_LICENCE = "v86-licence.txt", "seabios-copyright.txt"
_V86_FILES = {SCRIPT: "build/libv86.mjs", CODE: "build/v86.wasm", _V86_LICENCE: "LICENSE"}
_SEABIOS_FILES = {
    BIOS: "/usr/share/seabios/bios.bin",
    VGA_BIOS: "/usr/share/seabios/vgabios-stdvga.bin",
    _SEABIOS_LICENCE: f"/usr/share/doc/{SEABIOS}/copyright",
}


@attrs.frozen
class Origins:
    """Where the parts come from."""

    registry: str
    mirror: Mirror
    downloads: Downloads


def present(directory: Path) -> EmulatorFiles | None:
    """Return what a directory has, if all of it is as it was fetched, with this version of v86."""
    try:
        found = read_emulator_files(directory)
    except EmulatorFilesError:
        return None
    is_current = found is not None and any((one.name, one.version) == (V86.name, V86.version) for one in found.works)
    return found if is_current else None


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


def store(found: EmulatorFiles, directory: Path) -> None:
    """Write the files and then their document, each atomically; another process that does so is waited for.

    Raises OperatorError if a file of these names is there that is nobody's of ours, and OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / _LOCK, keeps_file=False), Directory.opened(directory) as opened:
        _check_ours(found, directory)
        for name, body in found.files.items():
            Replaceable(opened, name).replace(body)
        Replaceable(opened, DOCUMENT).replace(found.document())


def _check_ours(found: EmulatorFiles, directory: Path) -> None:
    """Refuse a directory whose files of these names are others, and have no document: we have not put them there."""
    if (directory / DOCUMENT).exists():
        return
    for name, body in found.files.items():
        path = directory / name
        if path.exists() and read_bounded(path, len(body)) != body:
            raise OperatorError(f"{path} is not of v86 and SeaBIOS as they were fetched; name another directory")


def remove(directory: Path) -> bool:
    """Remove the document and the files; False if there is no document. Other files of the directory stay."""
    if not (directory / DOCUMENT).exists():
        return False
    for name in (*_V86_FILES, *_SEABIOS_FILES, DOCUMENT):  # it last, so that an interrupted removal can go on
        (directory / name).unlink(missing_ok=True)
    return True
