"""Variables of the original server, which are taken below ours and above the file (http.md §10).

An old deployment whose images root is ignored serves the wrong directory; one whose CORS list is ignored is open to
all pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

WHITE_SPACE = " \t\r\n\v\f"  # a bare strip() removes Unicode white space too, and could change a token

ORIGINAL_VARIABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "AERO_STORAGE_LISTEN_ADDR": (
            "AERO_BIND",
            "AERO_STORAGE_SERVER_ADDR",
            "AERO_STORAGE_SERVER_LISTEN_ADDR",
        ),
        "AERO_STORAGE_IMAGE_ROOT": ("AERO_IMAGE_ROOT", "AERO_IMAGE_DIR", "AERO_STORAGE_SERVER_IMAGES_ROOT"),
        "AERO_STORAGE_CORS_ORIGIN": ("AERO_STORAGE_SERVER_CORS_ORIGIN",),
        "AERO_STORAGE_CROSS_ORIGIN_RESOURCE_POLICY": (
            "AERO_STORAGE_CORP",
            "AERO_STORAGE_SERVER_CROSS_ORIGIN_RESOURCE_POLICY",
        ),
        "AERO_STORAGE_LOG_LEVEL": ("AERO_STORAGE_SERVER_LOG_LEVEL",),
        "AERO_STORAGE_VERSION": ("AERO_STORAGE_SERVER_VERSION",),
        "AERO_STORAGE_GIT_SHA": ("AERO_STORAGE_SERVER_GIT_SHA", "GIT_SHA"),
        "AERO_STORAGE_BUILT_AT": ("AERO_STORAGE_SERVER_BUILD_TIMESTAMP", "BUILD_TIMESTAMP"),
    }
)
"""Our variables, and those that the original has for the same, the strongest first."""

BUILD_VARIABLES = ("AERO_STORAGE_VERSION", "AERO_STORAGE_GIT_SHA", "AERO_STORAGE_BUILT_AT")
"""Variables of `/version`, which are no settings."""


@attrs.frozen
class FoundVariable:
    """The variable that a value comes from: ours, or one of the original server."""

    name: str
    value: str
    ours: str

    @property
    def remark(self) -> str | None:
        """A sentence for the operator who uses the original's name; None for ours."""
        return None if self.name == self.ours else f"{self.name} is the original server's name; use {self.ours}"


def find_variable(environ: Mapping[str, str], ours: str) -> FoundVariable | None:
    """Return the first variable that is set: ours, then those of the original; an empty one is not set."""
    for name in (ours, *ORIGINAL_VARIABLES.get(ours, ())):
        if value := environ.get(name, "").strip(WHITE_SPACE):
            return FoundVariable(name, value, ours)
    return None


def warnings_of(environ: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Return one warning for each of our variables `names` in whose place one of the original is taken."""
    found = (find_variable(environ, name) for name in names)
    return tuple(one.remark for one in found if one is not None and one.remark is not None)
