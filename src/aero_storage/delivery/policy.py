"""The settings that decisions hang on, as one value."""

from __future__ import annotations

import attrs

from aero_storage.http.cors import CorsPolicy
from aero_storage.http.forwarded import TrustedProxies


@attrs.frozen
class Policy:
    """How requests are answered; sizes in bytes, ages in seconds."""

    cors: CorsPolicy = CorsPolicy()
    resource_policy: str = "same-site"
    """`Cross-Origin-Resource-Policy` of the data plane."""
    max_range_bytes: int = 8 * 1024 * 1024
    max_chunk_bytes: int = 8 * 1024 * 1024
    virtual_chunks: bool = False
    """Whether images without chunk artifacts are served in virtual chunks, where their entries leave it open."""
    virtual_chunk_bytes: int = 4 * 1024 * 1024
    limit_open_ended: bool = False
    """Whether `bytes=N-` is held to `max_range_bytes` too."""
    require_range: bool = False
    public_max_age: int = 3600
    proxies: TrustedProxies = TrustedProxies()
    """Who is believed about where a request came from."""
