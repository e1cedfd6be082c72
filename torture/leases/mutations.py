"""Tokens and the ways to mutate them: their text, and with a good signature their headers and claims. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from torture.leases.issuer import HS, IMAGE, KEYS, Key, as_json, b64

Way = Callable[[str, random.Random], str]

ODD = (
    ".", "..", "=", "==", "+", "/", " ", "\n", "\r\n", "\t", "\0", "%2E", "%00", "é", "\ud800", "\uff21", "\u202e",
    "~", ",", ";", '"', "A", "AAAA", "_", "-", "\x7f", "\x80", "\xff", "\u0130",
)  # fmt: skip
HEADER_VALUES: dict[str, tuple[object, ...]] = {
    "alg": (
        "none", "None", "NONE", "nOnE", "hs256", "Hs256", "HS384", "HS512", "RS256", "ES256", "PS256", "eddsa",
        "EDDSA", "Ed25519", "EdDSA", "HS256", "HS256 ", " HS256", "", None, 0, True, [], ["HS256"], {"alg": "HS256"},
    ),
    "kid": (
        "hs", "ed", "hs-2", "ed-2", "", "HS", "hs ", "../hs", "hs\0", "/dev/null", None, 0, True, [],
        ["hs"], "\ud800",
    ),
    "typ": (
        "JWT", "jwt", "at+jwt", "AERO-LEASE+JWT", "aero-lease+jwt ", "application/aero-lease+jwt", "", None, 1, [],
    ),
    "crit": (["exp"], [], None), "jku": ("http://127.0.0.1:9/keys",), "jwk": ({"kty": "oct", "k": "AA"}, None),
    "x5u": ("http://127.0.0.1:9/",), "x5c": (["AA"],), "b64": (False,), "cty": ("JWT",), "zip": ("DEF",), "x": (1,),
}  # fmt: skip
TIMES: tuple[object, ...] = (
    None, True, False, "", "1800000000", [], {}, -1, 0, 1, 1.5, -0.0, 10**400, -(10**400), 1e308, -1e308, 10**17,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
SHIFTS = (-100_000, -86_401, -86_400, -31, -30, -29, -1, 0, 1, 29, 30, 31, 600, 86_400, 86_401, 0.5, -30.5)
CLAIM_VALUES: dict[str, tuple[object, ...]] = {
    "img": (
        None, "", ".", "..", "other", "Disk", "disk ", "disk\0", "../disk", "disk/x", "*", "d*", [], ["disk"],
        ["other"], ["other", "disk"], ["disk", "disk"], ["disk", None], ["disk"] * 16, ["disk"] * 17, [["disk"]],
        {"disk": 1}, 1,
        True, "x" * 128, "x" * 129, "d\u0131sk", "\ud800",
    ),
    "scope": (
        None, "", " ", "disk:read", "disk:read disk:write", "disk:write", "Disk:read", "disk:rea", "disk:read\t",
        "disk:readx", "xdisk:read", "disk:read\n", " disk:read", "disk:*", "*", [], ["disk:read"], 1, True,
    ),
    "aud": (None, "", "a", [], ["a"], ["a", 1], 1, {}, "\ud800"),
    "sub": (None, "", "a", "a b", "é", "x" * 128, "x" * 129, 1, [], "a\n", "\x7f"),
    "jti": (None, "", "a", "a b", "x" * 64, "x" * 65, 1, [], "\0"),
    "ver": (None, "", "v-1", "v-2", "x" * 128, "x" * 129, "a/b", 1, []),
    "crit": (["exp"],), "iss": ("x",), "cnf": ({"jkt": "x"},), "x": ([[[[[]]]]], 10**300),
}  # fmt: skip


def valid(rng: random.Random, now: float) -> tuple[Key, dict[str, Any], dict[str, Any]]:
    """Return key, header and claims of a token that opens the image."""
    key = rng.choice(KEYS[::2]) if rng.random() < 0.85 else rng.choice(KEYS[1::2])  # HS256 costs less
    issued = int(now) - rng.randrange(600)
    claims: dict[str, Any] = {
        "img": IMAGE,
        "scope": "disk:read",
        "iat": issued,
        "exp": issued + rng.randrange(700, 900),
    }
    if rng.random() < 0.3:
        claims["jti"] = f"lease-{rng.randrange(1000)}"
    if rng.random() < 0.3:
        claims |= {"sub": "ada", "nbf": issued, "uexp": claims["exp"] - 1, "ver": "v-1"}
    return key, key.header, claims


def mutated(rng: random.Random, now: float) -> str:
    """Return a token to which something has been done, or nothing, or too much."""
    key, header, claims = valid(rng, now)
    if rng.random() < 0.4:
        return _signed(key, header, claims, rng, now)
    token = key.token(as_json(header), as_json(claims))
    for _ in range(rng.choices((0, 1, 2, 4), (5, 80, 10, 5))[0]):
        token = rng.choice(WAYS)(token, rng)
    return token


def _signed(key: Key, header: dict[str, Any], claims: dict[str, Any], rng: random.Random, now: float) -> str:
    """Return a token with odd contents and a good signature, of its own key or of another."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice((_claim, _claim, _time, _time, _header, _leave_out, _fill))(header, claims, rng, now)
    texts = [_written(header, rng), _written(claims, rng)]
    signer = rng.choice(KEYS) if rng.random() < 0.1 else key
    return signer.token(texts[0], texts[1])


def _claim(_header: dict[str, Any], claims: dict[str, Any], rng: random.Random, _now: float) -> None:
    name = rng.choice(("img", "img", "img", *CLAIM_VALUES))  # it has most values
    claims[name] = rng.choice(CLAIM_VALUES[name])


def _time(_header: dict[str, Any], claims: dict[str, Any], rng: random.Random, now: float) -> None:
    name = rng.choice(("iat", "exp", "nbf", "uexp"))
    base: Any = rng.choice((int(now), claims.get("iat"), claims.get("exp")))
    is_time = isinstance(base, int | float) and abs(base) < 1e15
    claims[name] = base + rng.choice(SHIFTS) if is_time and rng.random() < 0.7 else rng.choice(TIMES)


def _header(header: dict[str, Any], _claims: dict[str, Any], rng: random.Random, _now: float) -> None:
    name = rng.choice(tuple(HEADER_VALUES))
    header[name] = rng.choice(HEADER_VALUES[name])


def _leave_out(header: dict[str, Any], claims: dict[str, Any], rng: random.Random, _now: float) -> None:
    values = rng.choice((header, claims, claims))
    if values:
        del values[rng.choice(tuple(values))]


def _fill(header: dict[str, Any], claims: dict[str, Any], rng: random.Random, _now: float) -> None:
    """Bring the token near to its longest, from either side: four characters hold three bytes."""
    room = 2048 - 90 - (len(as_json(header)) + len(as_json(claims)) + 9) * 4 // 3
    claims["pad"] = "x" * max(0, room * 3 // 4 + rng.randrange(-40, 40))


def _written(values: dict[str, Any], rng: random.Random) -> bytes:
    """Return JSON, now and then with something that readers take in two ways, or that is none."""
    text = json.dumps(values, separators=(",", ":"))
    if rng.random() < 0.8:
        return text.encode("ascii")
    return rng.choice(WRITINGS)(text, rng)


def _doubled(text: str, rng: random.Random) -> bytes:
    """Give a name twice, now and then with an escape in it."""
    name, value = rng.choice((("img", '"disk"'), ("exp", "9999999999"), ("alg", '"none"'), ("kid", '"hs"')))
    spelt = name if rng.random() < 0.5 else f"\\u{ord(name[0]):04x}{name[1:]}"
    return f'{text[:-1]}{"," if len(text) > 2 else ""}"{spelt}":{value}}}'.encode()


WRITINGS: tuple[Callable[[str, random.Random], bytes], ...] = (
    _doubled,
    _doubled,
    lambda text, _: b"\xef\xbb\xbf" + text.encode(),
    lambda text, _: text.encode("utf-16"),
    lambda text, _: text.encode("utf-32-le"),
    lambda text, rng: f"{text}{rng.choice(ODD[:12])}".encode("utf-8", "surrogatepass"),
    lambda text, _: f" \n{text}\t".encode(),
    lambda text, _: f"[{text}]".encode(),
    lambda text, _: b"[" * 700 + b"]" * 700 + text[:0].encode(),
    lambda text, _: text.replace('"', "'").encode(),
    lambda text, _: text.replace("disk", "\xe9").encode("latin-1"),
    lambda text, _: text.replace("disk", "d\\u0069sk").encode(),
    lambda text, _: text.replace(":", ":" + "9" * 1100, 1).encode(),
    lambda text, rng: text[: rng.randrange(len(text) + 1)].encode(),
    lambda _, rng: rng.choice((b"", b"{}", b"[]", b"null", b"0", b'""', b"\x00" * 200, b"{" * 300)),
)


def _flip(token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token)) if token else 0
    return token[:at] + rng.choice("ABCdef019_-") + token[at + 1 :]


def _last(token: str, rng: random.Random) -> str:
    """Change the bits that are left over in a last character."""
    ends = [at for at, one in enumerate(token + ".") if one == "." and at]
    at = rng.choice(ends or [1]) - 1
    return token[:at] + rng.choice("ABCDEFGHQRSTgwxyz0189-_") + token[at + 1 :]


def _insert(token: str, rng: random.Random) -> str:
    at = rng.choice((0, len(token), rng.randrange(len(token) + 1)))
    return token[:at] + rng.choice(ODD) + token[at:]


def _cut(token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token) + 1)
    return token[:at] + token[at + rng.randint(1, 40) :]


def _double(token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token) + 1)
    return token[:at] + token[at : at + rng.randint(1, 60)] * rng.choice((1, 2, 30)) + token[at:]


def _swap(token: str, rng: random.Random) -> str:
    parts = token.split(".")
    rng.shuffle(parts)
    return ".".join(parts)


def _part(token: str, rng: random.Random) -> str:
    """Put another part in, leave one out, or empty one."""
    parts = token.split(".")
    at = rng.randrange(len(parts))
    parts[at] = rng.choice(("", parts[-1 - at], b64(rng.randbytes(32)), b64(rng.randbytes(64)), b64(b"\0" * 32)))
    return ".".join(parts[: rng.choice((1, 2, 3, 3, 3, 4))])


def _case(token: str, rng: random.Random) -> str:
    return rng.choice((str.upper, str.lower, str.swapcase))(token)


def _other_head(token: str, rng: random.Random) -> str:
    """Put another header before the payload, which the signature does not cover."""
    name = rng.choice(tuple(HEADER_VALUES))
    header = {"alg": HS, "kid": "hs", "typ": "aero-lease+jwt", name: rng.choice(HEADER_VALUES[name])}
    return ".".join([b64(json.dumps(header).encode()), *token.split(".")[1:]])


def _other_claims(token: str, rng: random.Random) -> str:
    """Put other claims in place, which the signature does not cover."""
    name = rng.choice(tuple(CLAIM_VALUES))
    claims = {"img": IMAGE, "scope": "disk:read", "iat": 1, "exp": 9e9, name: rng.choice(CLAIM_VALUES[name])}
    parts = token.split(".")
    return ".".join([parts[0], b64(json.dumps(claims).encode()), *parts[2:]])


def _long(token: str, rng: random.Random) -> str:
    return token + rng.choice("A.=") * rng.choice((2048 - len(token), 2049 - len(token), 2000, 9000))


WAYS: tuple[Way, ...] = (
    _flip, _flip, _last, _insert, _insert, _cut, _double, _swap, _part, _case, _other_head, _other_claims, _long,
)  # fmt: skip
