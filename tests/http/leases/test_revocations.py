"""Revocations: the lines that are taken, what they cost, and which are dropped."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases import revocations
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.revocations import NO_REVOCATIONS, Revocation, parse_lines, read_revocations

CLAIMS = Claims(("a", "b"), frozenset({"disk:read"}), 1000.0, 2000.0, subject="ada", identifier="one")
LATIN = "é"


@pytest.mark.parametrize(
    ("line", "revocation"),
    [
        ('{"jti":"one"}', Revocation("jti", "one")),
        (' { "jti" : "one" } \r\n', Revocation("jti", "one")),
        ('{"jti": "a \\"b\\u00e9"}', Revocation("jti", f'a "b{LATIN}')),
        ('{"jti":"one","at":5,"note":{"by":["me"]}}', Revocation("jti", "one")),
        ('{"jti":"one","before":5}', Revocation("jti", "one")),
        ('{"jti": "one", "at": 1800000000}', Revocation("jti", "one")),
        ('{"kid":"k"}', Revocation("kid", "k")),
        ('{"sub":"ada","before":5}', Revocation("sub", "ada", 5)),
        ('{"before":5.5,"img":"win98"}', Revocation("img", "win98", 5.5)),
        ('{"sub":"ada","before":-1e3}', Revocation("sub", "ada", -1000)),
    ],
)
def test_lines(line: str, revocation: Revocation) -> None:
    """A line revokes one name; further keys are ignored, and so are blank lines."""
    assert list(parse_lines([b"\n", line.encode(), b" \t\r\n"])) == [revocation]


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "null",
        "[]",
        "{}",
        '"jti"',
        '{"jti":"a"} {"jti":"b"}',
        '{"jti":"a"',
        '{"jti":"a","jti":"a"}',
        '{"jti":""}',
        '{"jti":1}',
        '{"jti":["a"]}',
        '{"jti":null}',
        '{"JTI":"a"}',
        '{"jti":"a","at":05}',
        '{"jti":"a","sub":"b","before":1}',
        '{"kid":"a","jti":"b"}',
        '{"sub":"a"}',
        '{"sub":"a","before":"1"}',
        '{"sub":"a","before":true}',
        '{"sub":"a","before":NaN}',
        '{"sub":"a","before":1e400}',
        '{"sub":"a","before":null}',
        '{"img":["a"],"before":1}',
        '{"img":"a"}',
        '{"before":1}',
        "\x00",
        '{"jti":"' + "x" * 5000 + '"}',
        "[" * 4000,
    ],
)
def test_bad_lines(line: str) -> None:
    """One bad line makes all of it broken, and is told by its number."""
    with pytest.raises(LeaseDocumentError) as caught:
        read_revocations([b'{"jti":"a"}\n', b"\n", line.encode() + b"\n", b'{"jti":"b"}\n'], 0)
    assert str(caught.value).startswith("line 3: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("line", "whole", "images"),
    [
        (b'{"jti":"one"}', True, set()),
        (b'{"jti":"One"}', False, set()),
        (b'{"kid":"key"}', True, set()),
        (b'{"jti":"key"}', False, set()),
        (b'{"sub":"ada","before":1000}', False, set()),
        (b'{"sub":"ada","before":1000.001}', True, set()),
        (b'{"img":"b","before":1001}', False, {"b"}),
        (b'{"img":"b","before":1000}', False, set()),
        (b'{"img":"c","before":1001}', False, set()),
    ],
)
def test_hits(line: bytes, whole: bool, images: set[str]) -> None:  # noqa: FBT001 - a column of the table
    """A name hits leases that have it; one with a time hits those that were issued before, to the second and less."""
    found = read_revocations([line], 0)
    assert found.revoke("key", CLAIMS) == whole
    assert found.images_of(CLAIMS) == images


def test_latest_time() -> None:
    """Of several lines for one name the latest time counts."""
    lines = [b'{"sub":"ada","before":900}', b'{"sub":"ada","before":1500}', b'{"sub":"ada","before":1200}']
    found = read_revocations(lines, 0)
    assert len(found) == 1
    assert found.revoke("", attrs.evolve(CLAIMS, issued_at=1499.0))
    assert not found.revoke("", attrs.evolve(CLAIMS, issued_at=1500.0))


def test_none() -> None:
    """Without revocations nothing is revoked."""
    assert not NO_REVOCATIONS.revoke("key", CLAIMS)
    assert NO_REVOCATIONS.images_of(CLAIMS) == set()
    assert not NO_REVOCATIONS.has_dropped


def test_expired_ones_are_dropped() -> None:
    """A time that no living lease was issued before takes no memory; a lease that could live is still hit."""
    lines = [
        b'{"sub":"ada","before":1000}',
        b'{"sub":"bob","before":1000.5}',
        b'{"img":"a","before":999}',
        b'{"jti":"x"}',
    ]
    found = read_revocations(lines, oldest=1000)
    assert (len(found), found.has_dropped) == (2, True)
    assert found.revoke("", attrs.evolve(CLAIMS, subject="bob", issued_at=1000.2))
    assert not read_revocations(lines[1:2], oldest=1000).has_dropped


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the limit break the file; those that are dropped do not count."""
    monkeypatch.setattr(revocations, "MAX_REVOCATIONS", 3)
    lines = [b'{"jti":"%d"}' % number for number in range(3)]
    old = [b'{"sub":"%d","before":1}' % number for number in range(9)]
    assert len(read_revocations([*lines, *old], 5)) == 3
    with pytest.raises(LeaseDocumentError, match="more than 3"):
        read_revocations([*lines, b'{"jti":"d"}'], 0)


def test_a_hundred_thousand() -> None:
    """Many revocations take 48 bytes each at most, and all of them are found, and nothing else."""
    tracemalloc.start()
    found = read_revocations((b'{"jti":"lease-%06d"}\n' % number for number in range(100_000)), 0)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 48 * 100_000
    assert len(found) == 100_000
    revoked = [
        found.revoke("", attrs.evolve(CLAIMS, identifier=f"lease-{number:06}")) for number in range(99_000, 101_000)
    ]
    assert revoked == [True] * 1000 + [False] * 1000


def test_a_look_up_is_short() -> None:
    """A look-up among many takes microseconds, not a walk through all."""
    found = read_revocations((b'{"jti":"lease-%06d"}\n' % number for number in range(50_000)), 0)
    began = time.perf_counter()
    for _ in range(1000):
        found.revoke("key", CLAIMS)
    assert time.perf_counter() - began < 0.5, "ten times what a slow machine takes; a walk takes a thousand times"


NAMES = st.text('ab\u00e9"\\ \n', min_size=1, max_size=3)


@given(
    entries=st.lists(st.tuples(st.sampled_from(["jti", "kid", "sub", "img"]), NAMES, st.floats(-10, 10)), max_size=40)
)
def test_as_a_dictionary_does(entries: list[tuple[str, str, float]]) -> None:
    """The table says of every name what a dictionary would say."""
    lines = [json.dumps({kind: value, "before": before}).encode() for kind, value, before in entries]
    found, wanted = read_revocations(lines, float("-inf")), dict[tuple[str, str], float]()
    for kind, value, before in entries:
        time_of = float("inf") if kind in {"jti", "kid"} else before
        wanted[kind, value] = max(time_of, wanted.get((kind, value), time_of))
    assert len(found) == len(wanted)
    for (kind, value), before in wanted.items():
        claims = Claims((value,), frozenset(), min(before, 1e9), 2e9, subject=value, identifier=value)
        just_before = attrs.evolve(claims, issued_at=claims.issued_at - 1)
        hit = bool(found.images_of(just_before)) if kind == "img" else found.revoke(value, just_before)
        assert hit


@given(lines=st.lists(st.binary(max_size=60), max_size=5))
def test_any_lines(lines: list[bytes]) -> None:
    """Any bytes are revocations or are refused; nothing else happens."""
    with suppress(LeaseDocumentError):
        assert len(read_revocations(lines, 0)) <= len(lines)
