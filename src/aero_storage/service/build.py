"""The build of the daemon, for `/version`."""

from __future__ import annotations

from collections.abc import Mapping

from aero_storage.delivery.operations import Build
from aero_storage.settings.original_variables import BUILD_VARIABLES, find_variable


def build_of(version: str, environ: Mapping[str, str]) -> Build:
    """The build for `/version`; a packager may set the variables."""
    named, git_sha, built_at = (find_variable(environ, name) for name in BUILD_VARIABLES)
    return Build(
        version if named is None else named.value,
        "dev" if git_sha is None else git_sha.value,
        "" if built_at is None else built_at.value,
    )
