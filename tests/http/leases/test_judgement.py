"""What a verified lease is good for now, and which of several tokens is the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.http.leases.carriers import Carrier, Presented, presented
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.judgement import MISSING, Verdict, Wanted, choose, judge
from aero_storage.http.leases.results import LeaseResult
from aero_storage.http.leases.verification import Lease, digits_of
from aero_storage.http.queries import first_value

NOW = 1_800_000_000.0
LEEWAY = 30.0
CLAIMS = Claims(("a", "b"), frozenset({"disk:read"}), NOW - 60, NOW + 840)


def judged(
    now: float = NOW,
    image: str = "a",
    *,
    in_url: bool = False,
    versions: tuple[str, ...] | None = None,
    **changed: Any,
) -> str:
    lease = Lease("k", "name", attrs.evolve(CLAIMS, **changed), frozenset({"revoked"}))
    return judge(lease, Wanted(image, versions), now, LEEWAY, in_url=in_url)


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (NOW, "ok"),
        (NOW + 840, "ok"),
        (NOW + 869.999, "ok"),
        (NOW + 870, "expired"),
        (NOW - 90, "ok"),
        (NOW - 90.001, "not_yet"),
        (0, "not_yet"),
        (1e300, "expired"),
    ],
)
def test_times(now: float, word: str) -> None:
    """A lease is good from `iat` to just before `exp`, with the leeway on both."""
    assert judged(now) == word


@pytest.mark.parametrize(("now", "word"), [(NOW + 69.999, "not_yet"), (NOW + 70, "ok"), (NOW + 870, "expired")])
def test_not_before(now: float, word: str) -> None:
    """With `nbf` it is good from then on."""
    assert judged(now, not_before=NOW + 100) == word


def test_not_before_issued() -> None:
    """An `nbf` of long ago does not make an `iat` in the future good."""
    assert judged(NOW - 91, not_before=0.0) == "not_yet"


@pytest.mark.parametrize(
    ("now", "in_url", "word"),
    [
        (NOW + 60, True, "ok"),
        (NOW + 90, True, "ok"),
        (NOW + 90.001, True, "expired"),
        (NOW + 90.001, False, "ok"),
        (NOW + 870, False, "expired"),
    ],
)
def test_in_a_url(now: float, in_url: bool, word: str) -> None:  # noqa: FBT001 - a column of the table
    """Behind `uexp` a lease is expired in a URL, and good elsewhere."""
    assert judged(now, in_url=in_url, url_until=NOW + 60) == word


@pytest.mark.parametrize("scopes", [("",), ("disk:write",), ("disk:reader",), ("DISK:READ",), ("disk:read\n",)])
def test_scope(scopes: tuple[str, ...]) -> None:
    """Without `disk:read` among its scopes a lease opens nothing, also no other image."""
    assert judged(scopes=frozenset(scopes)) == "wrong_scope"
    assert judged(image="c", scopes=frozenset(scopes)) == "wrong_scope"
    assert judged(scopes=frozenset({*scopes, "disk:read"})) == "ok"


@pytest.mark.parametrize(("image", "word"), [("a", "ok"), ("b", "ok"), ("c", "wrong_image"), ("A", "wrong_image")])
def test_image(image: str, word: str) -> None:
    """It opens the images that it names, before any version."""
    assert judged(image=image) == word
    if word != "ok":
        assert judged(image=image, version="v-1", versions=()) == word


@pytest.mark.parametrize(
    ("version", "versions", "word"),
    [
        (None, (), "ok"),
        ("v-1", None, "ok"),
        ("v-1", ("v-1",), "ok"),
        ("v-1", ("x", "v-1"), "ok"),
        ("v-1", ("v-2", "V-1"), "wrong_version"),
        ("v-1", (), "wrong_version"),
    ],
)
def test_version(version: str | None, versions: tuple[str, ...] | None, word: str) -> None:
    """With `ver` it opens that version alone; one match of those that a URL means is enough."""
    assert judged(version=version, versions=versions) == word


def test_order() -> None:
    """An image's revocation comes before the times, and times before scope, image and version."""
    assert judged(NOW + 9000, image="revoked", scopes=frozenset()) == "revoked"
    assert judged(NOW + 9000, image="c", scopes=frozenset()) == "expired"
    assert judged(NOW + 9000, not_before=NOW + 99999, image="c") == "expired"


@pytest.mark.parametrize(
    ("now", "seconds"), [(NOW, 840), (NOW + 0.001, 839), (NOW + 839.5, 0), (NOW + 840, 0), (NOW + 869, 0)]
)
def test_remaining(now: float, seconds: int) -> None:
    """The seconds that remain are rounded down, without leeway, and are never negative."""
    assert CLAIMS.remaining(now) == seconds


def verdict(word: str, number: int = 0) -> Verdict:
    return Verdict(LeaseResult(word), Presented(Carrier.QUERY, f"t{number}"))


@pytest.mark.parametrize(
    ("words", "which"),
    [
        (["ok", "expired"], 0),
        (["expired", "ok"], 1),
        (["wrong_image", "ok", "ok"], 1),
        (["expired", "wrong_image", "wrong_scope"], 1),
        (["expired", "malformed"], 0),
        (["wrong_version", "expired"], 0),
        (["revoked", "unknown_key", "wrong_version"], 2),
    ],
)
def test_choice(words: list[str], which: int) -> None:
    """The first good token wins; else the first that is valid answers, else the first."""
    verdicts = [verdict(word, number) for number, word in enumerate(words)]
    assert choose(verdicts) is verdicts[which]


def test_nothing_presented() -> None:
    """Without any token the answer is that one is missing, with nothing to be logged."""
    assert choose(()) is MISSING
    assert MISSING.name is None


def test_no_more_than_needed() -> None:
    """Behind a good token none is looked at."""

    def verdicts() -> Iterator[Verdict]:
        yield verdict("expired")
        yield verdict("ok")
        raise AssertionError

    assert choose(verdicts()).result == "ok"


@given(words=st.lists(st.sampled_from([*LeaseResult]).filter(lambda word: word != "missing"), max_size=4))
def test_choice_is_never_better_than_its_tokens(words: list[LeaseResult]) -> None:
    """The answer is good only if a token is, and forbidden only if one is valid."""
    chosen = choose([verdict(word) for word in words]).result
    assert (chosen == "ok") == ("ok" in words)
    assert chosen.is_valid == any(word.is_valid for word in words)


def test_name() -> None:
    """A good lease is called by its name, a refused one by the digits of its token, whatever it claims."""
    lease = Lease("k", "name", CLAIMS)
    shown = Presented(Carrier.BEARER, "zqtoken")
    assert Verdict(LeaseResult.OK, shown, lease).name == "name"
    assert Verdict(LeaseResult.WRONG_IMAGE, shown, lease).name == digits_of("zqtoken")
    assert "zqtoken" not in repr(Verdict(LeaseResult.OK, shown, lease))


BEARER, QUERY, COOKIE = Carrier.BEARER, Carrier.QUERY, Carrier.COOKIE


@pytest.mark.parametrize(
    ("authorization", "queries", "cookies", "found"),
    [
        (None, (), None, []),
        (None, ("",), "", []),
        ("Bearer a", ("lease=b",), "x=1", [(BEARER, "a"), (QUERY, "b")]),
        (None, ("lease=b",), "aero-lease=d; __Secure-aero-lease=c", [(QUERY, "b"), (COOKIE, "c"), (COOKIE, "d")]),
        ("bearer   a", (), None, [(BEARER, "a")]),
        ("Bearer a b", (), None, [(BEARER, "a b")]),
        ("Bearer", (), None, []),
        ("Bearer ", (), None, []),
        ("Basic YTpi", ("lease=b",), None, [(QUERY, "b")]),
        ("", (), None, []),
        (None, ("lease=b", "lease=c"), None, [(QUERY, "b"), (QUERY, "c")]),
        (None, ("lease=b", "lease=b"), "aero-lease=b", [(QUERY, "b"), (QUERY, "b"), (COOKIE, "b")]),
        (None, ("lease=&lease=b",), None, []),
        (None, ("lease&lease=b",), None, []),
        (None, ("x=1&lease=b&lease=c",), None, [(QUERY, "b")]),
        (None, ("Lease=b&%6cease=c&lease%3d=d&leases=e&xlease=f",), None, []),
        (None, ("lease=a%2Eb+c%zz",), None, [(QUERY, "a.b+c%zz")]),
        (None, ("lease=%ff%00",), None, [(QUERY, "\xff\x00")]),
        (None, ("lease=a=b;lease=c",), None, [(QUERY, "a=b;lease=c")]),
        (None, (), "a=b;aero-lease=c;aero-lease=d", [(COOKIE, "c")]),
        (None, (), "aero-lease=; x=y", []),
        (None, (), "Aero-Lease=c; xaero-lease=d; aero-leasex=e; aero-lease", []),
        (None, (), "a=b aero-lease=c;  aero-lease=d; xaero-lease=e; aero-lease=f ;g=h", [(COOKIE, "f")]),
        (None, (), " aero-lease=c", []),
        (None, (), ";;; =; aero-lease=c=d", [(COOKIE, "c=d")]),
    ],
)  # fmt: skip
def test_carriers(
    authorization: str | None, queries: tuple[str, ...], cookies: str | None, found: list[tuple[Carrier, str]]
) -> None:
    """Tokens are found in the order of their carriers; another scheme and an empty value are none."""
    assert [(one.carrier, one.token) for one in presented(authorization, queries, cookies)] == found


@given(
    authorization=st.text(max_size=30) | st.none(),
    query=st.text("lease=&%a+", max_size=40),
    cookies=st.text(max_size=40),
)
def test_any_request(authorization: str | None, query: str, cookies: str) -> None:
    """No header and no query raises, and no token is empty."""
    assert all(one.token for one in presented(authorization, (query,), cookies))


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", None),
        ("a", ""),
        ("a=", ""),
        ("b&a=1", "1"),
        ("ab=1", None),
        ("a=1&a=2", "1"),
        ("a=%41%4", "A%4"),
        ("&&a=x", "x"),
    ],
)
def test_first_value(query: str, value: str | None) -> None:
    """The first parameter of a name counts, percent-decoded; its name is compared as it was sent."""
    assert first_value(query, "a") == value
