"""The client for browsers and the page, which the package has as data."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from aero_storage.delivery.client_module import ClientModule
from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.page import Page


def package_parts() -> PackageParts:
    """Read both, some 55 files with 200 KB."""
    scripts = {name: body for name, body in _files_of("client").items() if name.endswith(".js")}
    return PackageParts(ClientModule.of(scripts), Page.of(_files_of("page")))


def _files_of(directory: str) -> Mapping[str, bytes]:
    """Return the files of a directory by their names."""
    found = (files("aero_storage") / directory).iterdir()
    return {file.name: file.read_bytes() for file in found if file.is_file()}
