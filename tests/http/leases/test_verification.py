"""Tokens: which are verified, which are refused, and by which word, in the contract's order."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.lease_tokens import (
    CLAIMS,
    KEYS,
    NOW,
    OKP,
    PRIVATE,
    SECRET,
    b64,
    header_of,
    key_document,
    sign,
    token_of,
    with_claims,
)

from aero_storage.http.leases import base64url
from aero_storage.http.leases.key_set import parse_key_set
from aero_storage.http.leases.results import LeaseRefusedError, LeaseResult
from aero_storage.http.leases.revocations import read_revocations
from aero_storage.http.leases.signatures import Ed25519Key, HmacKey
from aero_storage.http.leases.verification import Lease, LeaseRules, LeaseVerifier

VERIFIER = LeaseVerifier(parse_key_set(KEYS))
VALID = token_of()
KIDS = ("hs", "ed")


def result(token: str, verifier: LeaseVerifier = VERIFIER) -> str:
    """The word of a token; `ok` if it is verified."""
    try:
        verifier.verify(token)
    except LeaseRefusedError as error:
        return error.result
    return "ok"


@pytest.mark.parametrize("kid", KIDS)
def test_valid(kid: str) -> None:
    """A token of either algorithm becomes a lease with the claims that it was given."""
    found = VERIFIER.verify(token_of(kid=kid))
    assert isinstance(found, Lease)
    assert (found.kid, found.name, found.claims.images, found.claims.subject) == (kid, "lease-1", ("win98",), "ada")
    assert (found.claims.issued_at, found.claims.expires_at) == (NOW - 60, NOW + 840)


def test_name_without_jti() -> None:
    """A lease without `jti` is called by the first 8 hex digits of its SHA-256."""
    token = with_claims(jti=...)
    assert VERIFIER.verify(token).name == hashlib.sha256(token.encode()).hexdigest()[:8]


def test_rfc_7515_a1() -> None:
    """The example of HS256 of RFC 7515 verifies, and not with another byte."""
    secret = base64url.decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    )
    signature = base64url.decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert secret is not None
    assert signature is not None
    signed = (
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    key = HmacKey("a", secret)
    assert key.verifies(signature, signed)
    assert not key.verifies(signature, signed + b"Q")


def test_rfc_8037_a4() -> None:
    """The example of Ed25519 of RFC 8037 verifies, and not with another byte."""
    public = base64url.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    signature = base64url.decode(
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    assert public is not None
    assert signature is not None
    signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    key = Ed25519Key.of("a", public)
    assert key.verifies(signature, signed)
    assert not key.verifies(signature, signed + b"Q")
    assert not key.verifies(signature[:-1], signed)


def test_size() -> None:
    """A token of 2,048 bytes is taken, one of 2,049 is not."""
    made: dict[int, str] = {}
    for pad in range(1240, 1320):
        for more in range(3):
            token = token_of(CLAIMS | {"pad": "x" * pad}, header=header_of(x="y" * more))
            made[len(token)] = token
    assert (result(made[2048]), result(made[2049])) == ("ok", "malformed")


def changed_header(**members: object) -> str:
    return token_of(header=header_of(**members))


def confused(algorithm: str) -> str:
    """A token that is signed by HMAC with the bytes of the public Ed25519 key, as if that were a secret."""
    signed = ".".join(
        map(b64, (json.dumps(header_of("ed") | {"alg": algorithm}).encode(), json.dumps(CLAIMS).encode()))
    )
    public = PRIVATE.public_key().public_bytes_raw()
    return f"{signed}.{b64(hmac.digest(public, signed.encode(), 'sha256'))}"


HEADER, PAYLOAD, SIGNATURE = VALID.split(".")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LAST_STRAY = ALPHABET[ALPHABET.index(SIGNATURE[-1]) + 1]
"""Decodes as the last character of the signature does where nobody looks at the bits that are left over."""


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        f"{HEADER}.{PAYLOAD}.",
        f"{HEADER}..{SIGNATURE}",
        f".{PAYLOAD}.{SIGNATURE}",
        f"{VALID}.",
        f"{VALID}.{SIGNATURE}",
        f".{VALID}",
        f"{VALID}\n",
        f" {VALID}",
        f"{VALID} ",
        f"{VALID}=",
        f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}==.{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}{LAST_STRAY}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}+",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}/",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}é",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}\ud800",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}\uff21",  # a full-width A
        f"{HEADER}.{PAYLOAD}.\x00{SIGNATURE[1:]}",
        "x" * 2049,
        "." * 2048,
        token_of(header=b""),
        token_of(header=b"null"),
        token_of(header=b"[]"),
        token_of(header=b'"HS256"'),
        token_of(header=b"{" * 400),
        token_of(header=b"[" * 1300),
        token_of(header=b"\xff\xfe"),
        token_of(header=b"\xef\xbb\xbf" + json.dumps(header_of()).encode()),
        token_of(header=json.dumps(header_of()).encode() + b" x"),
        token_of(header=json.dumps(header_of()).encode("utf-16")),
        token_of(header=b'{"alg":"none","alg":"HS256","kid":"hs","typ":"aero-lease+jwt"}'),
        token_of(header=b'{"alg":"HS256","kid":"hs","\\u006bid":"hs","typ":"aero-lease+jwt"}'),
        *(
            changed_header(alg=alg)
            for alg in ("none", "None", "nOnE", "", "hs256", "HS384", "RS256", "ES256", "Ed25519")
        ),
        *(changed_header(alg=alg) for alg in (None, 0, True, [], ["HS256"], {"HS256": 1})),
        *(changed_header(typ=typ) for typ in ("JWT", "aero-lease+JWT", "application/aero-lease+jwt", "", None, 1)),
        *(changed_header(kid=kid) for kid in ("", None, 1, ["hs"], {"hs": 1})),
        *(token_of(header={k: v for k, v in header_of().items() if k != name}) for name in ("alg", "kid", "typ")),
        changed_header(crit=["b64"], b64=False),
        changed_header(crit=[]),
        changed_header(jku="https://attacker.example/keys"),
        changed_header(jwk={"kty": "oct", "k": b64(SECRET)}),
        changed_header(x5u="https://attacker.example/x"),
        changed_header(x5c=["MII"]),
        f"{b64(json.dumps(header_of(alg='none')).encode())}.{PAYLOAD}.",
    ],
)
def test_malformed_before_the_key(token: str) -> None:
    """A token whose size, shape or header breaks a rule is malformed, whatever its signature is."""
    assert result(token) == "malformed"


@pytest.mark.parametrize("kid", ["HS", "hs ", "hs\x00", "../hs", "' OR 1=1", "k" * 200, "ключ", "\ud800"])
def test_unknown_key(kid: str) -> None:
    """A name that no key has is told before the signature is looked at; nothing but the very name counts."""
    assert result(token_of(b"no JSON", header=header_of() | {"kid": kid})) == "unknown_key"


@pytest.mark.parametrize(
    "token",
    [
        confused("HS256"),
        confused("EdDSA"),
        token_of(header=header_of(alg="EdDSA")),
        token_of(kid="ed", header=header_of("ed", alg="HS256")),
        sign(f"{b64(json.dumps(header_of('ed')).encode())}.{PAYLOAD}", "hs"),
        sign(f"{b64(json.dumps(header_of('hs')).encode())}.{PAYLOAD}", "ed"),
        f"{HEADER}.{PAYLOAD}.{b64(bytes(32))}",
        f"{HEADER}.{PAYLOAD}.{b64(bytes(64))}",
        f"{HEADER}.{PAYLOAD}.AA",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}A",  # 33 bytes
        f"{HEADER}.{b64(json.dumps(CLAIMS | {'img': 'secret'}).encode())}.{SIGNATURE}",
        f"{b64(json.dumps(header_of(x=1)).encode())}.{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}.{b64(b'no JSON')}.{SIGNATURE}",
    ],
)
def test_bad_signature(token: str) -> None:
    """A signature that the key has not made, or of another algorithm than the key's, is told before the JSON."""
    assert result(token) == "bad_signature"


def test_malleable_signature() -> None:
    """An Ed25519 signature with the group's order added to S is another text, and is refused (RFC 8032 §5.1.7)."""
    signed, _, signature = token_of(kid="ed").rpartition(".")
    raw = base64url.decode(signature)
    assert raw is not None
    order = 2**252 + 27742317777372353535851937790883648493
    other = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert result(f"{signed}.{b64(other)}") == "bad_signature"


TIMES = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", '"1800000000"', "true", "null", "[1]", "{}", "9" * 400)


def with_raw(name: str, text: str) -> str:
    """A token whose claim is written as that text."""
    others = json.dumps({key: value for key, value in CLAIMS.items() if key != name})
    return token_of(f'{others[:-1]}, "{name}": {text}}}')


WHOLE = json.dumps(CLAIMS).encode()


@pytest.mark.parametrize("kid", KIDS)
@pytest.mark.parametrize(
    "payload",
    [
        *(b"no JSON", b"null", b"[]", b"{}", b"1", b"\xff", b"[" * 1300, b"\xef\xbb\xbf" + WHOLE, WHOLE + b"}"),
        *(WHOLE.decode().encode("utf-16"), b'{"img":"a",' + WHOLE[1:], b'{"\\u0069mg":"a",' + WHOLE[1:]),
    ],
)
def test_malformed_payload(kid: str, payload: bytes) -> None:
    """A payload that is well signed and is no strict JSON object with the claims is malformed."""
    assert result(token_of(payload, kid)) == "malformed"


NO_NAMES: list[object] = ["", "a b", "a\nb", "\x00", "é", "\ud800", None, 1, True, ["a"], {}]
NO_IMAGES: list[object] = [
    "*",
    "a*",
    "a/b",
    ".",
    "..",
    "x" * 129,
    "win98\n",
    "%61",
    [],
    ["a", ""],
    ["a"] * 17,
    [["a"]],
]
MALFORMED: dict[str, list[object]] = {
    "img": [..., *NO_IMAGES, *(one for one in NO_NAMES if one != ["a"]), ["a", None], {"a": 1}],
    "scope": [..., None, 1, True, ["disk:read"], {}],
    "iat": [..., NOW + 840.001],
    "exp": [..., NOW - 60.001],
    "aud": [None, 1, True, {}, [1], ["a", None], [["a"]]],
    "sub": [*NO_NAMES, "x" * 129],
    "jti": [*NO_NAMES, "x" * 65],
    "ver": [*NO_NAMES, "x" * 129, "a/b", "v:1"],
    "uexp": [NOW + 840.5],
}


@pytest.mark.parametrize("kid", KIDS)
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_malformed_claims(kid: str, name: str, value: object) -> None:
    """A claim that is missing, or has not the form of the contract, makes a well signed token malformed."""
    assert result(with_claims(kid, **{name: value})) == "malformed"


@pytest.mark.parametrize("name", ["iat", "exp", "nbf", "uexp"])
@pytest.mark.parametrize("text", TIMES)
def test_no_times(name: str, text: str) -> None:
    """A time is a finite number: no constant of JavaScript, no text, no truth value, none that overflows."""
    assert result(with_raw(name, text)) == "malformed"


@pytest.mark.parametrize(
    "changed",
    [
        {"iat": NOW - 0.5, "exp": NOW + 0.5},
        {"exp": CLAIMS["iat"]},
        {"iat": -5, "exp": -5.0},
        {"img": [f"a{n}" for n in range(16)]},
        {"img": ["win98"]},
        {"img": ["win98", "win98"]},
        {"scope": ""},
        {"scope": "  disk:write   disk:read "},
        {"aud": "x"},
        {"aud": ["x", "y"]},
        {"aud": []},
        {"sub": "!" * 128},
        {"jti": "~" * 64},
        {"sub": ..., "jti": ...},
        {"nbf": NOW, "uexp": CLAIMS["exp"]},
        {"uexp": 0},
        {"ver": "sha256-" + "0" * 64},
        {"other": {"a": [None, 1.5]}},
    ],
)
def test_forms_that_are_taken(changed: dict[str, object]) -> None:
    """Claims at the edge of their rules are taken, and unknown ones ignored."""
    assert result(with_claims(**changed)) == "ok"


@pytest.mark.parametrize("kid", KIDS)
def test_unknown_members_of_the_header(kid: str) -> None:
    """Members of the header that nobody knows are ignored (RFC 7515 §4)."""
    assert result(token_of(kid=kid, header=header_of(kid, cty="x", x5t="y", b64=False, zip="DEF"))) == "ok"


@pytest.mark.parametrize(
    ("aud", "word"),
    [
        ("disks.example", "ok"),
        (["other", "disks.example"], "ok"),
        (..., "wrong_audience"),
        ([], "wrong_audience"),
        ("other", "wrong_audience"),
        ("disks.example.attacker", "wrong_audience"),
        (["Disks.Example"], "wrong_audience"),
        ("", "wrong_audience"),
    ],
)
def test_audience(aud: object, word: str) -> None:
    """With an audience set, `aud` is that one or holds it; it comes before the lifetime."""
    verifier = LeaseVerifier(parse_key_set(KEYS), rules=LeaseRules("disks.example"))
    assert result(with_claims(aud=aud), verifier) == word
    if word != "ok":
        assert result(with_claims(aud=aud, exp=NOW + 1e9), verifier) == word


@pytest.mark.parametrize(
    ("exp", "word"), [(NOW - 60 + 900, "ok"), (NOW - 60 + 900.5, "too_long"), (1e308, "too_long")]
)
def test_lifetime(exp: float, word: str) -> None:
    """A lease lives at most as long as the operator allows, without leeway."""
    assert result(with_claims(exp=exp), LeaseVerifier(parse_key_set(KEYS), rules=LeaseRules(None, 900))) == word


def test_lifetime_that_overflows() -> None:
    """A lifetime beyond all numbers is too long."""
    assert result(with_claims(iat=-1.7e308, exp=1.7e308)) == "too_long"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"jti":"lease-1"}', "revoked"),
        ('{"jti":"lease-2"}', "ok"),
        ('{"kid":"hs"}', "revoked"),
        ('{"kid":"ed"}', "ok"),
        ('{"sub":"ada","before":1799999940.5}', "revoked"),
        ('{"sub":"ada","before":1799999940}', "ok"),
        ('{"sub":"bob","before":1900000000}', "ok"),
        ('{"jti":"ada"}', "ok"),
        ('{"img":"win98","before":1900000000}', "ok"),
    ],
)
def test_revocation(line: str, word: str) -> None:
    """A lease is revoked by its `jti`, by its key, or by its user if it was issued before that time."""
    verifier = LeaseVerifier(parse_key_set(KEYS), read_revocations([line.encode()], 0))
    assert result(token_of(), verifier) == word
    assert result(with_claims(exp=NOW + 1e6), verifier) == "too_long", "the lifetime comes first"


def test_revoked_images() -> None:
    """An image's revocation makes a lease none for that image, and for no other one."""
    lines = [
        b'{"img":"a","before":1800000000}',
        b'{"img":"b","before":1700000000}',
        b'{"img":"d","before":1900000000}',
    ]
    verifier = LeaseVerifier(parse_key_set(KEYS), read_revocations(lines, 0))
    assert verifier.verify(with_claims(img=["a", "b", "c"])).revoked_images == {"a"}


def test_only_its_own_keys() -> None:
    """A key that is not in the set verifies nothing, whatever verified before."""
    verifier = LeaseVerifier(parse_key_set(key_document(OKP)))
    assert result(VALID, verifier) == "unknown_key"
    assert result(token_of(kid="ed"), verifier) == "ok"


def test_nothing_of_it_is_shown() -> None:
    """No text of what a token becomes, and of no refusal, has a part of the token or of a secret."""
    begun = VERIFIER.begin(VALID)
    shown = repr(begun) + repr(VERIFIER) + repr(VERIFIER.verify(VALID))
    for secret in (*VALID.split("."), b64(SECRET), repr(SECRET)):
        assert secret not in shown
    for token in (
        VALID[:-1],
        token_of(b"zqsecret"),
        with_claims(sub="zq secret"),
        token_of(header=b'{"zq":1,"zq":2}'),
    ):
        with pytest.raises(LeaseRefusedError) as caught:
            VERIFIER.verify(token)
        assert "zq" not in str(caught.value)
        assert token not in str(caught.value)


BYTES = st.binary(max_size=60).map(lambda data: data.decode("latin-1"))


@given(token=st.text(max_size=200) | BYTES | st.text("eyJ.AQ-_=", max_size=80))
def test_any_text(token: str) -> None:
    """No text whatever raises anything but a refusal, and none that is made up is a lease."""
    assert result(token) in {"malformed", "unknown_key", "bad_signature"}


@given(header=st.binary(max_size=200), payload=st.binary(max_size=200), signature=st.binary(max_size=70))
def test_any_parts(header: bytes, payload: bytes, signature: bytes) -> None:
    """Nor do any bytes in the three parts."""
    assert result(".".join(map(b64, (header, payload, signature)))) in {"malformed", "unknown_key", "bad_signature"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(
    name=st.sampled_from(["img", "scope", "iat", "exp", "aud", "sub", "jti", "nbf", "uexp", "ver", "x"]), value=JSON
)
def test_any_claim(name: str, value: object) -> None:
    """A claim of any JSON value is taken or refused; nothing else happens."""
    assert result(with_claims(**{name: value})) in {"ok", "malformed", "too_long"}


@given(payload=st.binary(max_size=300))
@example(payload=b'{"img":"a","scope":"disk:read","iat":1,"exp":' + b"9" * 309 + b"}")
def test_any_signed_payload(payload: bytes) -> None:
    """Nor does anything else happen with any payload that is well signed."""
    assert result(token_of(payload)) in set(LeaseResult)


@given(data=st.data(), kid=st.sampled_from(KIDS))
def test_mutations(data: st.DataObject, kid: str) -> None:
    """A valid token in which anything was changed, left out, put in or exchanged is never accepted."""
    valid = token_of(kid=kid)
    at = data.draw(st.integers(0, len(valid)))
    to = data.draw(st.integers(at, min(len(valid), at + 4)))
    put = data.draw(st.text("AQgwxyz019-_.=+/ \n\x00é", max_size=4) | st.just(valid[at:to][::-1]))
    mutated = valid[:at] + put + valid[to:]
    assert (result(mutated) == "ok") == (mutated == valid)


def test_every_bit() -> None:
    """So it is for each single bit of a token."""
    for kid in KIDS:
        valid = token_of(kid=kid)
        for position, char in enumerate(valid):
            for bit in range(8):
                mutated = valid[:position] + chr(ord(char) ^ 1 << bit) + valid[position + 1 :]
                assert result(mutated) != "ok", (position, bit)


def test_results() -> None:
    """Each word has its status and challenge (RFC 6750 §3.1)."""
    table = {word: (word.status, word.challenge) for word in LeaseResult}
    assert table.pop(LeaseResult.OK) == (200, None)
    assert table.pop(LeaseResult.MISSING) == (401, "Bearer")
    for word in (LeaseResult.WRONG_SCOPE, LeaseResult.WRONG_IMAGE, LeaseResult.WRONG_VERSION):
        assert table.pop(word) == (403, 'Bearer error="insufficient_scope"')
    assert set(table.values()) == {(401, 'Bearer error="invalid_token"')}
    words = {
        "malformed",
        "unknown_key",
        "bad_signature",
        "expired",
        "not_yet",
        "too_long",
        "wrong_audience",
        "revoked",
    }
    assert set(table) == words
