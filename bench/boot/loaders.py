"""How the emulator gets at its disk: what is compared."""

from __future__ import annotations

import attrs

MIB = 1 << 20
NGINX, DAEMON, HTTP2 = "nginx", "aero-storage", "aero-storage behind nginx, HTTP/2"


@attrs.frozen
class Loader:
    """A name for figures, a title for people, the server, and JavaScript that gives v86's `hda`.

    In the JavaScript `url` is the image and `size` its length.
    """

    name: str
    title: str
    server: str
    script: str
    warm: bool = False
    """Whether a boot goes before that is not measured, over the same browser profile."""
    wants_profile: bool = False
    """Whether a boot counts only if it fetched the boot profile."""


def _own(options: str = "") -> str:
    return f"({{ url, size, async: true{options} }})"


def _client(options: str) -> str:
    return f"machine.through(globalThis.disk = await aero.AeroDisk.open(url, {{ {options} }}))"


V86_NGINX, V86, V86_HTTP2, CLIENT, PROFILE, OPFS = (
    "v86-nginx",
    "v86",
    "v86-http2",
    "client",
    "client-profile",
    "client-opfs",
)
CLASSROOMS = (V86, PROFILE)
LOADERS = (
    Loader(V86_NGINX, "v86's own loader, nginx", NGINX, _own()),
    Loader(V86, "v86's own loader", DAEMON, _own()),
    Loader(V86_HTTP2, "v86's own loader, HTTP/2 through nginx", HTTP2, _own()),
    Loader("v86-chunks", "v86's own loader, `fixed_chunk_size` 1 MiB", DAEMON, _own(f", fixed_chunk_size: {MIB}")),
    Loader(CLIENT, "aero-disk, no profile", DAEMON, _client("profile: false")),
    Loader(PROFILE, "aero-disk with the boot profile", DAEMON, _client("profile: 'boot'"), wants_profile=True),
    Loader(OPFS, "aero-disk from OPFS", DAEMON, _client("profile: 'boot', persistent: 'opfs'"), warm=True),
)
