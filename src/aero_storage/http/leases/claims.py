"""The claims of a lease as a value: their names and forms (http.md §12; RFC 7519 §4)."""

from __future__ import annotations

import math
import re

import attrs

from aero_storage.http.identifiers import is_image_id
from aero_storage.http.leases.results import malformed
from aero_storage.http.leases.tokens import load_object
from aero_storage.strict_json import Values

READ_SCOPE = "disk:read"
"""The scope that reads an image."""

MAX_IMAGES = 16
"""Limit of the images of one lease."""

MAX_SUBJECT, MAX_IDENTIFIER = 128, 64
"""Limits of `sub` and `jti`, in characters."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,128}")


@attrs.frozen
class Claims:
    """The claims of one token; times in seconds since the epoch."""

    images: tuple[str, ...]
    """`img`: the images that it opens, 1 to 16."""
    scopes: frozenset[str]
    issued_at: float
    """`iat`."""
    expires_at: float
    """`exp`."""
    audience: tuple[str, ...] = ()
    """`aud`; empty without one."""
    subject: str | None = None
    """`sub`: the user."""
    identifier: str | None = None
    """`jti`."""
    not_before: float | None = None
    """`nbf`."""
    url_until: float | None = None
    """`uexp`: the last moment at which it may travel in a URL."""
    version: str | None = None
    """`ver`: the only version that it opens."""

    @property
    def lifetime(self) -> float:
        """Seconds from `iat` to `exp`."""
        return self.expires_at - self.issued_at

    def remaining(self, now: float) -> int:
        """Whole seconds to `exp`, without leeway: the value of `Aero-Lease-Remaining`."""
        return max(0, math.floor(self.expires_at - now))


def is_visible(text: str, limit: int) -> bool:
    """Return whether a text has 1 to `limit` characters, all visible and of ASCII."""
    return len(text) <= limit and _VISIBLE.fullmatch(text) is not None


def parse_claims(payload: bytes) -> Claims:
    """Return the claims of a payload. Raises LeaseRefusedError, `malformed`, if one has not the form that it must."""
    values = load_object(payload, "payload")
    claims = Claims(
        images=_images(values),
        scopes=frozenset(_required_text(values, "scope").split(" ")),
        issued_at=_required_time(values, "iat"),
        expires_at=_required_time(values, "exp"),
        audience=_audience(values),
        subject=_name(values, "sub", MAX_SUBJECT),
        identifier=_name(values, "jti", MAX_IDENTIFIER),
        not_before=_optional_time(values, "nbf"),
        url_until=_optional_time(values, "uexp"),
        version=_version(values),
    )
    if claims.expires_at < claims.issued_at:
        raise malformed("`exp` lies before `iat`")
    if claims.url_until is not None and claims.url_until > claims.expires_at:
        raise malformed("`uexp` lies behind `exp`")
    return claims


def _images(values: Values) -> tuple[str, ...]:
    found = values.get("img")
    images = found if isinstance(found, list) else [found]
    if not 1 <= len(images) <= MAX_IMAGES:
        raise malformed(f"`img` names no image, or more than {MAX_IMAGES}")
    valid = tuple(one for one in images if isinstance(one, str) and is_image_id(one))
    if len(valid) < len(images):
        raise malformed("`img` is missing, or is no image id or array of them")
    return valid


def _audience(values: Values) -> tuple[str, ...]:
    if "aud" not in values:
        return ()
    found = values["aud"]
    audience = found if isinstance(found, list) else [found]
    texts = tuple(one for one in audience if isinstance(one, str))
    if len(texts) < len(audience):
        raise malformed("`aud` is no text or array of them")
    return texts


def _required_text(values: Values, name: str) -> str:
    found = values.get(name)
    if not isinstance(found, str):
        raise malformed(f"`{name}` is missing, or is no text")
    return found


def _name(values: Values, name: str, limit: int) -> str | None:
    if name not in values:
        return None
    found = values[name]
    if not isinstance(found, str) or not is_visible(found, limit):
        raise malformed(f"`{name}` is not 1 to {limit} visible characters")
    return found


def _version(values: Values) -> str | None:
    if "ver" not in values:
        return None
    found = values["ver"]
    if not isinstance(found, str) or not _VERSION.fullmatch(found):
        raise malformed("`ver` is no version: 1 to 128 characters of A-Z a-z 0-9 . _ -")
    return found


def _required_time(values: Values, name: str) -> float:
    if name not in values:
        raise malformed(f"`{name}` is missing")
    moment = time_of(values[name])
    if moment is None:
        raise malformed(f"`{name}` is no finite number of seconds")
    return moment


def _optional_time(values: Values, name: str) -> float | None:
    return _required_time(values, name) if name in values else None


def time_of(value: object) -> float | None:
    """Return a time in seconds; None for anything but a finite number (RFC 7519 §2, NumericDate)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) else None
