"""One table of settings, from which flags, variables, file keys, help and documentation are derived.

`Settings` is that table: a field is a setting, its metadata define its parser and its help text.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from aero_storage.errors import SettingsError
from aero_storage.settings import values
from aero_storage.settings.fields import optional, setting, several
from aero_storage.settings.origin_url import OriginUrl
from aero_storage.settings.rows import Setting, row
from aero_storage.settings.values import ListenAddress

PAGE_DIRECTORY = ".page"
"""The directory of v86 and SeaBIOS below an images root; its dot keeps it out of listings."""
_MAX_WORKERS = 128  # about five descriptors each; a process may have 1,024


@attrs.frozen
class Settings:
    """Every setting, parsed: bytes, seconds and counts as numbers; paths absolute once resolved."""

    listen_addr: ListenAddress = setting(
        values.listen_address,
        "0.0.0.0:8080",
        "ADDRESS",
        "Listen at host:port or [IPv6]:port; port 0 is any free port.",
    )
    endpoint: tuple[str, ...] = several(
        values.endpoint,
        "DESCRIPTION",
        "Listen at this Twisted endpoint, such as unix:/run/aero, instead of --listen-addr.",
    )
    workers: int = setting(
        values.whole(0, _MAX_WORKERS), "1", "N", "Run this many worker processes; 0 is one for each core."
    )
    trusted_proxy: tuple[str, ...] = several(
        values.proxy,
        "CIDR",
        "Trust X-Forwarded-For of peers with this address, in this network, or on a UNIX socket (unix).",
    )
    cors_origin: tuple[str, ...] = several(
        values.origin,
        "ORIGIN",
        "Allow pages of this origin to read, with credentials; * or no origin: all pages, without credentials.",
    )
    cross_origin_resource_policy: str = setting(
        values.policy, "same-site", "POLICY", "Allow same-origin, same-site or cross-origin pages to embed images."
    )
    images_root: Path | OriginUrl = setting(
        values.images_root,
        "./images",
        "DIR",
        "Serve the images in this directory, which must exist unless it is the default, or below this "
        "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
        variable="AERO_STORAGE_IMAGE_ROOT",
    )
    require_manifest: bool = setting(
        values.boolean,
        "false",
        "",
        "Serve only what manifest.json lists, never a bare directory; do so in production.",
    )
    origin_timeout_secs: float = setting(
        values.seconds,
        "20",
        "SECONDS",
        "Allow an object store this long for each piece, retries included; then answer 503.",
    )
    origin_refresh_secs: float = setting(
        values.seconds, "5", "SECONDS", "Show a change in an object store within this time."
    )
    origin_stale_secs: float = setting(
        values.decimal,
        "3600",
        "SECONDS",
        "While an object store does not answer, serve from the cache what it had at most this long ago.",
    )
    cache_dir: Path | None = optional(
        values.path, "DIR", "Keep blocks of objects in this directory, on a local disk; without one nothing is kept."
    )
    cache_max_bytes: int = setting(
        values.whole(1), "10737418240", "BYTES", "Let that directory take this much of its disk."
    )
    cache_block_bytes: int = setting(
        values.block_size,
        "1048576",
        "BYTES",
        "Read objects in blocks of this size, a power of two from 65536 to 16777216.",
    )
    log_level: str = setting(
        values.level, "info", "LEVEL", "Log events of this level or above: debug, info, warn, error or critical."
    )
    request_log: bool = setting(values.boolean, "true", "", "Log one line of level info for each request.")
    max_concurrent_bytes_requests: int = setting(
        values.whole(0),
        "64",
        "N",
        "Let this many requests for image bytes hold a place at once; 0 is no limit.",
    )
    bytes_queue_timeout_secs: float = setting(
        values.decimal, "1", "SECONDS", "Queue requests over that limit for this long before a 429; 0 is no queue."
    )
    header_timeout_secs: float = setting(
        values.seconds, "20", "SECONDS", "Allow this long for a request head to arrive; then answer 408."
    )
    idle_timeout_secs: float = setting(
        values.seconds, "60", "SECONDS", "Close connections that are idle for this long."
    )
    max_connections: int = setting(
        values.whole(0), "4096", "N", "Serve at most this many connections; answer others 503. 0 is no limit."
    )
    max_connections_per_client: int = setting(
        values.whole(0),
        "0",
        "N",
        "Limit the connections (of a trusted proxy: requests) of one IPv4 address or IPv6 /64; 0 is no limit.",
    )
    stall_timeout_secs: float = setting(
        values.decimal,
        "60",
        "SECONDS",
        "Abort responses whose clients accept no data for this long; slow clients are not affected. 0 is never.",
    )
    max_waiting_body_bytes: int = setting(
        values.whole(0),
        "67108864",
        "BYTES",
        "Let lists, metrics and errors that wait for clients take this much memory of a process; 0 is no limit.",
    )
    max_bytes_per_second: int = setting(
        values.whole(0), "0", "BYTES", "Limit each connection to this many image bytes a second; 0 is no limit."
    )
    max_total_bytes_per_second: int = setting(
        values.whole(0),
        "0",
        "BYTES",
        "Limit all connections of a process together to this many image bytes a second; 0 is no limit.",
    )
    drain_delay_secs: float = setting(
        values.decimal,
        "0",
        "SECONDS",
        "On SIGTERM, keep serving for this long with /readyz at 503, so that load balancers stop sending traffic.",
    )
    shutdown_grace_secs: float = setting(
        values.decimal, "30", "SECONDS", "Then wait this long for responses under way; a second signal ends the wait."
    )
    max_range_bytes: int | None = setting(
        values.whole_or_none(1),
        "8388608",
        "BYTES",
        "Answer ranges longer than this with 413; none is no limit.",
        may_be_none=True,
    )
    max_chunk_bytes: int = setting(
        values.whole(1), "8388608", "BYTES", "Answer chunk files longer than this with 413."
    )
    virtual_chunks: bool = setting(
        values.boolean,
        "false",
        "",
        "Serve images without published chunks as virtual chunks, cut from the raw file on request.",
    )
    virtual_chunk_bytes: int = setting(
        values.chunk_size,
        "4194304",
        "BYTES",
        "The size of virtual chunks, a multiple of 512; an image's recommended chunk size takes precedence.",
    )
    open_ended_ranges: str = setting(
        values.one_of("stream", "limit"),
        "stream",
        "MODE",
        "Handle bytes=N- by stream (send up to the end) or limit (apply --max-range-bytes).",
    )
    public_cache_max_age_secs: int = setting(
        values.whole(0), "3600", "SECONDS", "Allow shared caches to store the bytes of public images for this long."
    )
    cors_preflight_max_age_secs: int = setting(
        values.whole(0), "86400", "SECONDS", "Allow browsers to cache preflight responses for this long."
    )
    require_range: bool = setting(
        values.boolean, "false", "", "Answer a GET of an image without a Range with 416 instead of the whole image."
    )
    lease_keys_file: Path | None = optional(
        values.path, "FILE", "Serve private images to holders of leases that a key of this JWK Set has signed."
    )
    lease_revocations_file: Path | None = optional(
        values.path, "FILE", "Refuse the leases that the JSON lines of this file revoke."
    )
    lease_audience: str | None = optional(
        values.visible_ascii, "AUDIENCE", "Take only leases that are made out to this audience (aud)."
    )
    lease_max_lifetime_secs: float = setting(
        values.seconds, "86400", "SECONDS", "Refuse leases that are good for longer than this."
    )
    lease_leeway_secs: float = setting(
        values.decimal, "30", "SECONDS", "Allow clocks of issuers to differ this much from ours."
    )
    lease_stream_grace_secs: float = setting(
        values.decimal, "3600", "SECONDS", "Reset a response this long after its lease has ended."
    )
    lease_failures_per_sec: int = setting(
        values.whole(0), "10", "N", "Answer a client with 429 after this many bad leases in a second; 0 is no limit."
    )
    max_streams_per_lease: int = setting(
        values.whole(0),
        "0",
        "N",
        "Let a process answer this many requests for bytes of one lease at once; 0 is no limit.",
    )
    max_bytes_per_second_per_lease: int = setting(
        values.whole(0),
        "0",
        "BYTES",
        "Limit each lease to this many image bytes a second of a process; 0 is no limit.",
    )
    warm_profiles: bool = setting(
        values.boolean,
        "true",
        "",
        "Bring what boot profiles name into memory, or into the block cache, at idle times.",
    )
    page: bool = setting(
        values.boolean,
        "true",
        "",
        "Serve a page that shows the images, at /, and the client for browsers, below /client/.",
    )
    page_parts: Path | None = optional(
        values.path,
        "DIR",
        "Serve v86 and SeaBIOS from this directory, where `aero-storage page fetch` puts them; by default .page in "
        "an images root that is a directory.",
    )
    express: bool = setting(
        values.boolean,
        "true",
        "",
        "Remember decisions for requests that differ in range alone; off, answers are the same.",
    )
    disable_metrics: bool = setting(values.boolean, "false", "", "Do not serve /metrics, even if a token is set.")
    metrics_auth_token: str | None = optional(
        values.visible_ascii,
        "TOKEN",
        "Require this bearer token at /metrics; ps shows it, so prefer a file.",
        is_secret=True,
    )
    metrics_auth_token_file: Path | None = optional(
        values.path, "FILE", "Read that token from this file of at most 4 KiB; surrounding white space is ignored."
    )
    image_metrics_max_ids: int = setting(
        values.whole(0),
        "100",
        "N",
        "Count the bytes of this many images by id, and of all others together.",
        variable="AERO_IMAGE_METRICS_MAX_IDS",
    )

    @property
    def page_directory(self) -> Path | None:
        """Where v86 and SeaBIOS are, if they are; None for an images root in an object store, if nothing is set."""
        if self.page_parts is not None or isinstance(self.images_root, OriginUrl):
            return self.page_parts
        return self.images_root / PAGE_DIRECTORY

    @property
    def image_directory(self) -> Path:
        """The images root as a directory. Raises SettingsError if it is in an object store."""
        if isinstance(self.images_root, OriginUrl):
            raise SettingsError(f"{self.images_root} is in an object store, where this needs a directory")
        return self.images_root


def table() -> tuple[Setting, ...]:
    """Return the settings in the order of the help."""
    return tuple(row(field.name, **field.metadata) for field in attrs.fields(Settings))
