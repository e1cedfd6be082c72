"""Tokens taken apart: the compact form of a JSON Web Signature and its header (RFC 7515 §3.1, §4; http.md §12).

Nothing here is verified. The payload stays bytes until its signature is.
"""

from __future__ import annotations

import re

import attrs

from aero_storage import strict_json
from aero_storage.errors import JsonError
from aero_storage.http.leases import base64url
from aero_storage.http.leases.results import malformed
from aero_storage.http.leases.signatures import Algorithm

MAX_TOKEN_BYTES = 2048
"""Longest token."""

TYPE = "aero-lease+jwt"
"""The value of `typ`, which keeps tokens apart that were made for something else (RFC 8725 §3.11)."""

MAX_JSON_VALUES = 1024
"""Limit of the values in a header or in claims; more do not fit into a token that is of any use."""

_REFUSED = ("crit", "jku", "jwk", "x5u", "x5c")
_COMPACT = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)")


@attrs.frozen
class Jws:
    """The parts of a token."""

    kid: str
    algorithm: Algorithm
    """As the header says; that of the key decides."""
    signed: bytes = attrs.field(repr=False)
    """The bytes that are signed: header and payload, as they were sent."""
    payload: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)


def parse_token(token: str) -> Jws:
    """Take a token apart. Raises LeaseRefusedError, `malformed`, if its size, shape or header breaks a rule."""
    if len(token) > MAX_TOKEN_BYTES:
        raise malformed(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise malformed("the token is not three parts of base64url with dots between them")
    header, payload, signature = (base64url.decode(part) for part in match.groups())
    if header is None or payload is None or signature is None:
        raise malformed("a part of the token has padding, stray bits or an impossible length")
    algorithm, kid = _read_header(header)
    return Jws(kid, algorithm, token[: match.end(2)].encode("ascii"), payload, signature)


def _read_header(data: bytes) -> tuple[Algorithm, str]:
    header = load_object(data, "header")
    for name in _REFUSED:
        if name in header:
            raise malformed(f"the header has `{name}`, which leases do not have")
    if header.get("typ") != TYPE:
        raise malformed(f"the header's `typ` is not {TYPE}")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise malformed("the header has no `kid`, the name of its key")
    return _algorithm(header.get("alg")), kid


def _algorithm(value: object) -> Algorithm:
    if not isinstance(value, str) or value not in set(Algorithm):
        raise malformed(f"the header's `alg` is neither {' nor '.join(Algorithm)}")
    return Algorithm(value)


def load_object(data: bytes, what: str) -> strict_json.Values:
    """Return the JSON object that is the header or the payload. Raises LeaseRefusedError, `malformed`."""
    try:
        document = strict_json.load(data, MAX_JSON_VALUES)
    except JsonError:  # its text may quote the token
        raise malformed(f"the {what} is not strict JSON in UTF-8 without doubled names") from None
    if not isinstance(document, dict):
        raise malformed(f"the {what} is no JSON object")
    return document
