"""The files of the client for browsers, which the package has as data."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def client_files() -> Mapping[str, bytes]:
    """Read the scripts, some 40 with 150 KB, by their names."""
    directory = files("aero_storage") / "client"
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.name.endswith(".js")}
