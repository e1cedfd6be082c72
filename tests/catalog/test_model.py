"""The catalog as values (http.md §3 and §6)."""

from __future__ import annotations

from pathlib import PurePosixPath

import attrs
import pytest

from aero_storage.catalog.model import Catalog, Image

ONE = Image(id="one", file="one.img", name="One")
TWO = Image(id="two", file="two.img", name="Two", chunked_version="v2")


def test_find() -> None:
    """An image is found by its exact id, not by its name or file, and None where there is none."""
    catalog = Catalog((TWO, ONE))
    assert catalog.find("one") is ONE
    assert catalog.find("two") is TWO
    assert [catalog.find(text) for text in ("One", "one.img", "ONE", "", "three")] == [None] * 5
    assert Catalog(()).find("one") is None


def test_order_is_kept() -> None:
    """The images stay in the order they were given in."""
    assert Catalog((TWO, ONE)).images == (TWO, ONE)


def test_equality() -> None:
    """Two catalogs of the same images are equal, a different image, order or origin makes them differ."""
    catalog = Catalog((ONE, TWO))
    assert catalog == Catalog((attrs.evolve(ONE), TWO))
    assert catalog != Catalog((TWO, ONE))
    assert catalog != Catalog((ONE, attrs.evolve(TWO, public=False)))
    assert catalog != Catalog((ONE, TWO), listing=True)


def test_defaults() -> None:
    """An image is public and leaves everything optional open unless told otherwise."""
    assert ONE.public
    optional = (ONE.description, ONE.recommended_chunk_size_bytes, ONE.chunked_version, ONE.etag, ONE.last_modified)
    assert optional == (None,) * 5


def test_chunked_directory() -> None:
    """Chunk artifacts lie under the id, and under the version where there is one."""
    assert ONE.chunked_directory == PurePosixPath("chunked/one")
    assert TWO.chunked_directory == PurePosixPath("chunked/two/v2")


@pytest.mark.parametrize(("value", "field"), [(ONE, "public"), (Catalog((ONE,)), "images")], ids=["image", "catalog"])
def test_frozen(value: Image | Catalog, field: str) -> None:
    """Values cannot be changed once they are made."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, field, None)
