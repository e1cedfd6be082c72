"""Who may keep a response, and for how long (http.md §4 to §6)."""

from __future__ import annotations

import pytest

from aero_storage.http import caching

WHO = {
    "public image, nobody in particular": (True, False, True),
    "public image, credentials": (True, True, False),
    "private image": (False, False, False),
    "private image, credentials": (False, True, False),
}


@pytest.mark.parametrize(("image", "credentials", "expected"), WHO.values(), ids=WHO)
def test_publicly_cacheable(*, image: bool, credentials: bool, expected: bool) -> None:
    """Only a public image that was asked for without credentials is for shared caches."""
    assert caching.publicly_cacheable(public_image=image, credentials=credentials) is expected


@pytest.mark.parametrize("max_age", [0, 1, 3600, 2**31])
def test_public_image_bytes(max_age: int) -> None:
    """Public bytes may be kept for the configured seconds and never be transformed."""
    assert caching.image_bytes(public=True, max_age=max_age) == f"public, max-age={max_age}, no-transform"


def test_private_image_bytes() -> None:
    """Private bytes are kept by nobody, whatever the configured seconds."""
    assert caching.image_bytes(public=False, max_age=3600) == "private, no-store, no-transform"


def test_immutable_object() -> None:
    """A public object that never changes may be kept for a year, a private one not at all."""
    assert caching.immutable_object(public=True) == "public, max-age=31536000, immutable, no-transform"
    assert caching.immutable_object(public=False) == "private, no-store, no-transform"


def test_fixed_values() -> None:
    """Errors are never kept, nor transformed on the data plane; metadata is revalidated each time."""
    assert caching.ERROR == "no-store, no-transform"
    assert caching.NO_STORE == "no-store"
    assert caching.REVALIDATE == "no-cache"
    assert caching.PRIVATE == "private, no-store, no-transform"
