"""The settings that decisions depend on, as one value."""

from __future__ import annotations

import attrs

from aero_storage.http.cors import CorsPolicy, Headers
from aero_storage.http.forwarded import TrustedProxies


@attrs.frozen
class Policy:
    """How requests are answered: settings, under the names that their table gives them.

    Sizes are in bytes, ages in seconds. The defaults stand in the table of settings alone.
    """

    cors: CorsPolicy
    cross_origin_resource_policy: str
    """`Cross-Origin-Resource-Policy` of the data plane."""
    max_range_bytes: int | None
    """None: no limit."""
    max_chunk_bytes: int
    virtual_chunks: bool
    """Whether images without chunk artifacts are served in virtual chunks, unless their entries say otherwise."""
    virtual_chunk_bytes: int
    open_ended_ranges: str
    """`limit` if `max_range_bytes` limits `bytes=N-` too, else `stream`."""
    require_range: bool
    public_cache_max_age_secs: int
    trusted_proxy: TrustedProxies
    """The proxies whose `X-Forwarded-For` is trusted."""
    leases: bool = False
    """Whether private images are served to holders of a lease only (http.md §12)."""
    resource_policy: Headers = attrs.field(init=False)
    """The header of the data plane that has `cross_origin_resource_policy`."""

    @resource_policy.default
    def _make_header(self) -> Headers:
        return (("Cross-Origin-Resource-Policy", self.cross_origin_resource_policy),)
