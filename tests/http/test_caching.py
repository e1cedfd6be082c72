"""Who may keep a response, and for how long (http.md §4 to §6, §12)."""

from __future__ import annotations

import pytest

from aero_storage.http import caching
from aero_storage.http.caching import Caching
from aero_storage.http.cors import Headers

YEAR = "max-age=31536000, immutable, no-transform"
NOBODY = "private, no-store, no-transform"


@pytest.mark.parametrize("max_age", [0, 1, 3600, 2**31])
def test_public_bytes(max_age: int) -> None:
    """Public bytes may be kept for the configured seconds and never be transformed."""
    kept = caching.public_bytes(max_age=max_age, credentials=False)
    assert kept == Caching(f"public, max-age={max_age}, no-transform")


def test_public_bytes_that_never_change() -> None:
    """Public bytes that never change under their URL may be kept for a year without another look."""
    assert caching.public_bytes(max_age=None, credentials=False) == Caching(f"public, {YEAR}")


@pytest.mark.parametrize("max_age", [None, 0, 3600])
def test_public_bytes_for_credentials(max_age: int | None) -> None:
    """What was asked for with credentials is kept by nobody; as the image is public, credentials select nothing."""
    assert caching.public_bytes(max_age=max_age, credentials=True) == Caching(NOBODY)


@pytest.mark.parametrize(
    ("kept_by_browser", "leases", "expected"),
    [
        (False, False, Caching(NOBODY)),
        (False, True, Caching(NOBODY, by_credentials=True)),
        (True, False, Caching(f"private, {YEAR}")),
        (True, True, Caching(f"private, {YEAR}")),
    ],
)
def test_private_bytes(*, kept_by_browser: bool, leases: bool, expected: Caching) -> None:
    """Private bytes are kept by nobody, or by the browser alone, and then for whatever lease is shown next."""
    assert caching.private_bytes(kept_by_browser=kept_by_browser, leases=leases) == expected


def test_private_metadata() -> None:
    """Metadata that a lease opens are kept by nobody."""
    assert caching.private_metadata() == Caching(NOBODY, by_credentials=True)


def test_fields() -> None:
    """The fields are `Cache-Control`, and `Vary` where credentials select the response."""
    assert Caching("no-cache").headers == (("Cache-Control", "no-cache"),)
    assert Caching("x", by_credentials=True).headers == (("Cache-Control", "x"), ("Vary", "Authorization, Cookie"))


A, B, C = ("Vary", "Origin"), ("A", "b"), ("Vary", "Authorization, Cookie")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), ()),
        ((B,), (B,)),
        ((A, B), (A, B)),
        ((B, C), (B, C)),
        ((A, B, C), (B, ("Vary", "Origin, Authorization, Cookie"))),
        ((A, C, B), (B, ("Vary", "Origin, Authorization, Cookie"))),
    ],
    ids=repr,
)
def test_one_vary(headers: Headers, expected: Headers) -> None:
    """A response has one `Vary`, which names all that selects it; other fields stay in their order."""
    assert caching.with_one_vary(headers) == expected


def test_fixed_values() -> None:
    """Errors are never kept, nor transformed on the data plane; metadata is revalidated each time."""
    assert caching.ERROR == "no-store, no-transform"
    assert caching.NO_STORE == "no-store"
    assert caching.REVALIDATE == "no-cache"
    assert caching.PRIVATE == NOBODY
