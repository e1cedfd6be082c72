"""Forged tokens: confused algorithms and keys, keys that are brought along, odd signatures (RFC 8725 §2)."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from torture.leases.issuer import ED, ED_KEY, HS, HS_KEY, Key, as_json, b64, unb64

_ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group of Ed25519 (RFC 8032 §5.1)."""
_ATTACKER = Key("attacker", HS, seed="attacker"), Key("attacker", ED, seed="attacker")
_NONES = ("none", "None", "NONE", "nOnE", "none ", "", "null")
_CASES = ("hs256", "Hs256", "HS256 ", "HS-256", "HMAC-SHA256", "HS512", "eddsa", "EDDSA", "Ed25519", "RS256", "ES256")


def forged_tokens(
    payload: Mapping[str, object], key: Key = ED_KEY, secret: Key = HS_KEY
) -> Iterator[tuple[str, str]]:
    """Yield what it is and the token; none must open anything. The keys are the daemon's, of both algorithms."""
    claims = as_json(payload)
    yield from _public_keys_as_secrets(claims, key, secret)
    yield from _without_algorithm(claims, key, secret)
    yield from _other_keys(claims, key, secret)
    yield from _keys_brought_along(claims, key, secret)
    yield from _odd_signatures(claims, key, secret)
    yield from _odd_shapes(claims, secret)


def _public_keys_as_secrets(claims: bytes, key: Key, secret: Key) -> Iterator[tuple[str, str]]:
    for name, data in _encodings(key):
        for kid in (key.kid, secret.kid):
            yield (
                f"HS256 by the public key, {name}, kid {kid}",
                _hmac({**key.header, "alg": HS, "kid": kid}, claims, data),
            )
        yield f"EdDSA in the header, HMAC by the public key, {name}", _hmac(key.header, claims, data)


def _encodings(key: Key) -> Iterator[tuple[str, bytes]]:
    raw, loaded = key.public, Ed25519PublicKey.from_public_bytes(key.public)
    pem = loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    yield "base64url", b64(raw).encode()
    yield "base64", b64encode(raw)
    yield "PEM", pem
    yield "PEM without its last newline", pem.rstrip(b"\n")
    yield "PEM with CRLF", pem.replace(b"\n", b"\r\n")
    yield "body of PEM", b"".join(pem.splitlines()[1:-1])
    yield "DER", loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    yield "OpenSSH", loaded.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    yield "JWK", as_json(key.jwk)
    yield "JWK with spaces", json.dumps(key.jwk).encode()
    yield "JWK sorted", json.dumps(key.jwk, sort_keys=True, separators=(",", ":")).encode()
    yield "JWK Set", json.dumps({"keys": [key.jwk]}).encode()
    yield "kid", key.kid.encode()
    yield "nothing", b""
    yield "zeros", bytes(32)


def _hmac(header: Mapping[str, object], claims: bytes, secret: bytes) -> str:
    signed = f"{b64(as_json(header))}.{b64(claims)}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _without_algorithm(claims: bytes, key: Key, secret: Key) -> Iterator[tuple[str, str]]:
    for one in (key, secret):
        for name in (*_NONES, *_CASES):
            header = as_json({**one.header, "alg": name})
            yield f"alg {name!r}, well signed by {one.kid}", one.token(header, claims)
            for signature in ("", "AA", b64(bytes(32)), b64(bytes(64))):
                yield (
                    f"alg {name!r}, kid {one.kid}, signature {signature!r}",
                    f"{b64(header)}.{b64(claims)}.{signature}",
                )
        others: tuple[object, ...] = (None, 0, True, [], [one.algorithm], {})
        for value in others:
            yield f"alg {value!r}, well signed", one.token(as_json({**one.header, "alg": value}), claims)
        bare = {name: value for name, value in one.header.items() if name != "alg"}
        yield "no alg, well signed", one.token(as_json(bare), claims)


def _other_keys(claims: bytes, key: Key, secret: Key) -> Iterator[tuple[str, str]]:
    yield "the other algorithm, its kid", secret.token(as_json({**key.header, "alg": HS}), claims)
    yield "the other algorithm, the own alg", secret.token(as_json(key.header), claims)
    yield "EdDSA, kid of the secret", key.token(as_json(secret.header), claims)
    yield "EdDSA and its alg, kid of the secret", key.token(as_json({**secret.header, "alg": ED}), claims)
    for one in _ATTACKER:
        yield f"{one.algorithm} of somebody else", one.token(as_json(one.header), claims)
        for other in (key, secret):
            yield f"{one.algorithm} of somebody else, kid {other.kid}", one.token(as_json(other.header), claims)
            header = as_json({**one.header, "kid": other.kid})
            yield f"{one.algorithm} of somebody else in all, kid {other.kid}", one.token(header, claims)
    for kid in (
        "",
        "../../../dev/null",
        "/dev/null",
        "hs\0",
        "HS",
        "' OR '1'='1",
        "hs;ed",
        None,
        0,
        True,
        ["hs"],
        {"hs": 1},
    ):
        header = as_json({**secret.header, "kid": kid})
        yield f"kid {kid!r}, well signed", secret.token(header, claims)
        yield f"kid {kid!r}, signed by nothing", _hmac({**secret.header, "kid": kid}, claims, b"")


def _keys_brought_along(claims: bytes, key: Key, secret: Key) -> Iterator[tuple[str, str]]:
    urls = ("http://127.0.0.1:9/keys.json", "file:///dev/null", "https://keys.attacker.example/jwks")
    brought: list[tuple[str, object]] = [("jwk", one.jwk) for one in (*_ATTACKER, key)]
    brought += ((name, url) for name in ("jku", "x5u") for url in urls)
    brought += [("x5c", ["MIIB"]), ("x5c", []), ("jwk", None), ("jku", None), ("crit", ["exp"]), ("crit", [])]
    brought += [("x5t", "AA"), ("b64", False)]
    for name, value in brought:
        for signer in _ATTACKER:
            for kid in (key.kid, secret.kid, signer.kid):
                header = {**signer.header, "kid": kid, name: value}
                yield f"{name} {value!r}, signed by its owner, kid {kid}", signer.token(as_json(header), claims)
        if name not in {"x5t", "b64"}:  # these say nothing to leases, and a good signature is good
            yield f"{name} {value!r}, well signed", secret.token(as_json({**secret.header, name: value}), claims)
    unencoded = as_json({**secret.header, "b64": False, "crit": ["b64"]})
    signature = secret.sign(f"{b64(unencoded)}.".encode() + claims)
    yield "RFC 7797, payload not encoded", f"{b64(unencoded)}.{claims.decode()}.{b64(signature)}"
    yield "RFC 7797, payload encoded", f"{b64(unencoded)}.{b64(claims)}.{b64(signature)}"


def _odd_signatures(claims: bytes, key: Key, secret: Key) -> Iterator[tuple[str, str]]:
    for one in (key, secret):
        signed, _, text = one.token(as_json(one.header), claims).rpartition(".")
        good = unb64(text)
        for name, data in (
            ("cut", good[:-1]), ("half", good[: len(good) // 2]), ("one byte", good[:1]), ("longer", good + b"\0"),
            ("twice", good * 2), ("turned", good[::-1]), ("zeros", bytes(len(good))), ("ones", b"\xff" * len(good)),
            ("hex", good.hex().encode()), ("in base64 twice", text.encode()),
        ):  # fmt: skip
            yield f"signature of {one.kid}: {name}", f"{signed}.{b64(data)}"
    signed, _, text = key.token(as_json(key.header), claims).rpartition(".")
    point, scalar = unb64(text)[:32], int.from_bytes(unb64(text)[32:], "little")
    yield "S + L (RFC 8032 §5.1.7)", f"{signed}.{b64(point + (scalar + _ORDER).to_bytes(32, 'little'))}"
    for name, encoded in (("identity", 1), ("minus identity", 2**255 - 20), ("not canonical", 2**255 - 18)):
        yield f"R is the {name}, S is 0", f"{signed}.{b64(encoded.to_bytes(32, 'little') + bytes(32))}"
    truncated = hmac.digest(secret.secret, signed.encode(), "sha256")[:16]
    yield "HMAC cut to 128 bits", f"{signed}.{b64(truncated)}"


def _odd_shapes(claims: bytes, secret: Key) -> Iterator[tuple[str, str]]:
    good = secret.token(as_json(secret.header), claims)
    header, payload, signature = good.split(".")
    other = b64(claims.replace(b"disk", b"DISK"))
    yield "JSON serialization", json.dumps({"protected": header, "payload": payload, "signature": signature})
    yield "JSON serialization in base64url", b64(json.dumps({"payload": payload, "signature": signature}).encode())
    yield "JWE", f"{b64(as_json({'alg': 'dir', 'enc': 'A256GCM'}))}..{b64(bytes(12))}.{payload}.{b64(bytes(16))}"
    yield "nested", secret.token(as_json({**secret.header, "cty": "JWT", "typ": "JWT"}), good.encode())
    yield "detached", f"{header}..{signature}"
    yield "another payload", f"{header}.{other}.{signature}"
    yield "two payloads", f"{header}.{other}.{payload}.{signature}"
    yield "header twice", f"{header}.{header}.{signature}"
    yield "two tokens", f"{good},{good}"
    yield "two tokens in a row", f"{good} {good}"
    for pad in ("=", "==", "\n", " ", "\t", "\0", "%00", ".", "~"):
        yield f"followed by {pad!r}", good + pad
        yield f"preceded by {pad!r}", pad + good
        yield f"{pad!r} behind the header", good.replace(".", f"{pad}.", 1)
    doubled = as_json(secret.header)[:-1] + b',"alg":"HS256"}'
    yield "alg twice, well signed", secret.token(doubled, claims)
    yield "kid twice, well signed", secret.token(as_json(secret.header)[:-1] + b',"kid":"hs"}', claims)
    yield "img twice, well signed", secret.token(as_json(secret.header), claims[:-1] + b',"img":"disk"}')
    for kind in ("JWT", "at+jwt", "AERO-LEASE+JWT", "application/aero-lease+jwt", "", None):
        yield f"typ {kind!r}, well signed", secret.token(as_json({**secret.header, "typ": kind}), claims)
