"""URLs of prefixes in object stores: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import attrs

from aero_storage.errors import AeroStorageError

SCHEMES = ("s3", "gs", "az")
RULE = "a directory, or s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
_MAX_PREFIX_BYTES = 512
_BUCKETS = {  # the rules of the stores; Google alone has underscores
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII),
    "az": re.compile(r"[a-z0-9$](?:-?[a-z0-9]){2,62}", re.ASCII),
}


class OriginUrlError(AeroStorageError):
    """A text is not the URL of a prefix; the message completes "… is not"."""


@attrs.frozen
class OriginUrl:
    """A bucket, and a prefix in it without slashes around it, perhaps empty; `str()` returns the URL."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def parse_origin_url(text: str) -> OriginUrl:
    """Parse the URL of a prefix. Raises OriginUrlError, whose message does not repeat the URL."""
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in SCHEMES:
        raise OriginUrlError(RULE)
    _refuse_credentials(rest)
    bucket, _, prefix = rest.partition("/")
    if not _BUCKETS[scheme.lower()].fullmatch(bucket):
        raise OriginUrlError(f"{RULE}: the name of the bucket breaks the rules of the store")
    prefix = prefix.rstrip("/")
    if not is_key(prefix) and prefix:
        raise OriginUrlError(f"{RULE}: the prefix has an empty part, a dot as a part, or what cannot be printed")
    if len(prefix.encode()) > _MAX_PREFIX_BYTES:
        raise OriginUrlError(f"{RULE}: the prefix has over {_MAX_PREFIX_BYTES} bytes")
    return OriginUrl(scheme.lower(), bucket, prefix)


def _refuse_credentials(rest: str) -> None:
    """Refuse what may be a credential: it belongs in the variables of the store (http.md §10)."""
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise OriginUrlError(
            f"{RULE}, without user, password, query or fragment: credentials belong in the store's variables"
        )


def is_key(text: str) -> bool:
    """Return whether a text can be the key of an object: printable parts with single slashes between."""
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: bytes of a file name that are no UTF-8
        return False
    return text.isprintable() and not {"", ".", ".."} & {*text.split("/")}


def endpoint_host(endpoint: str) -> str:
    """Return the scheme, host and port of an endpoint. Raises OriginUrlError if it is none, or has credentials."""
    try:
        parts = urlsplit(endpoint)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        raise OriginUrlError("http://host:port or https://host:port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OriginUrlError("http://host:port or https://host:port")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OriginUrlError("http://host:port or https://host:port, without user, password or query")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
