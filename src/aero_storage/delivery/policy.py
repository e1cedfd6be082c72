"""The settings that decisions depend on, as one value."""

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
    """Whether images without chunk artifacts are served in virtual chunks, unless their entries say otherwise."""
    virtual_chunk_bytes: int = 4 * 1024 * 1024
    limit_open_ended: bool = False
    """Whether `max_range_bytes` limits `bytes=N-` too."""
    require_range: bool = False
    public_max_age: int = 3600
    proxies: TrustedProxies = TrustedProxies()
    """The proxies whose `X-Forwarded-For` is trusted."""
