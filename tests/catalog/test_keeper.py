"""The catalog in force: the last good one, whatever happens to the file meanwhile (http.md §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.catalog.keeper import CatalogKeeper, Change
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.errors import CatalogError


def good(name: str, *, fresh: bool = True) -> Reading:
    return Reading(Catalog((Image(id=name, file=name, name=name),)), None, fresh)


def bad(reason: str, *, fresh: bool = True) -> Reading:
    return Reading(None, CatalogError(reason), fresh)


NONE, LOADED, FAILED, RECOVERED = Change.NONE, Change.LOADED, Change.FAILED, Change.RECOVERED

# Readings by what they stand for: a letter is a catalog, a digit a failure, each with a quote if it was read before.
SEQUENCES = {
    "first catalog": ("a", [LOADED]),
    "same catalog again": ("a a a'", [LOADED, NONE, NONE]),
    "another catalog": ("a b", [LOADED, LOADED]),
    "another catalog from the same file": ("a b'", [LOADED, LOADED]),
    "back to the one before": ("a b a", [LOADED, LOADED, LOADED]),
    "failure from the start": ("1", [FAILED]),
    "same failure of the same file": ("1 1' 1'", [FAILED, NONE, NONE]),
    "same failure of another file": ("1 1", [FAILED, FAILED]),
    "another failure": ("1 2", [FAILED, FAILED]),
    "another failure of the same file": ("1 2'", [FAILED, FAILED]),
    "first catalog after a failure": ("1 a", [FAILED, LOADED]),
    "failure after a catalog": ("a 1", [LOADED, FAILED]),
    "failure of the same file after a catalog": ("a 1'", [LOADED, FAILED]),
    "same failure after a catalog": ("a 1 1'", [LOADED, FAILED, NONE]),
    "recovered": ("a 1 a", [LOADED, FAILED, RECOVERED]),
    "recovered once": ("a 1 a a a'", [LOADED, FAILED, RECOVERED, NONE, NONE]),
    "another catalog after a failure": ("a 1 b", [LOADED, FAILED, LOADED]),
    "fails again after recovery": ("a 1 a 1", [LOADED, FAILED, RECOVERED, FAILED]),
    "fails again in the same file": ("a 1 a' 1'", [LOADED, FAILED, RECOVERED, FAILED]),
}


def reading_of(symbol: str) -> Reading:
    name, fresh = symbol[0], not symbol.endswith("'")
    return bad(f"reason {name}", fresh=fresh) if name.isdigit() else good(name, fresh=fresh)


def current(keeper: CatalogKeeper) -> Catalog:
    return keeper.current


def refusal(keeper: CatalogKeeper) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        current(keeper)
    return caught.value


@pytest.mark.parametrize(("symbols", "expected"), SEQUENCES.values(), ids=SEQUENCES)
def test_changes(symbols: str, expected: list[Change]) -> None:
    """What a reading brings is told once: a new catalog, a new failure, the old catalog good again."""
    keeper = CatalogKeeper()
    assert [keeper.take(reading_of(symbol)) for symbol in symbols.split()] == expected


def test_unread() -> None:
    """Before the first reading there is no catalog, and asking for it says so."""
    keeper = CatalogKeeper()
    assert not keeper.has_catalog
    assert keeper.error is None
    assert str(refusal(keeper))


def test_no_good_reading_yet() -> None:
    """While no reading has been good, asking for the catalog raises the latest reason."""
    keeper = CatalogKeeper()
    for reason in ("one", "two"):
        keeper.take(bad(reason))
        assert not keeper.has_catalog
        assert str(refusal(keeper)) == reason
    assert str(keeper.error) == "two"


def test_last_good_one_stays() -> None:
    """A failure never replaces a good catalog, and is gone once a reading is good."""
    keeper, reading = CatalogKeeper(), good("a")
    keeper.take(reading)
    keeper.take(bad("one"))
    keeper.take(bad("two"))
    assert keeper.has_catalog
    assert keeper.current is reading.catalog
    assert str(keeper.error) == "two"
    keeper.take(good("a"))
    assert keeper.error is None


def test_asking_leaves_nothing_behind() -> None:
    """However often the missing catalog is asked for, the error that is raised does not grow."""
    keeper = CatalogKeeper()
    keeper.take(bad("one"))
    for _ in range(50):
        error = refusal(keeper)
    depth, trace = 0, error.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10


@given(symbols=st.text("abc12", max_size=12))
def test_any_sequence(symbols: str) -> None:
    """After any readings the last good catalog is in force, with the latest failure if that came last."""
    keeper = CatalogKeeper()
    for symbol in symbols:
        change = keeper.take(reading_of(symbol))
        assert change is not (LOADED if symbol.isdigit() else FAILED)
        assert keeper.take(reading_of(f"{symbol}'")) is NONE
    loaded = [symbol for symbol in symbols if not symbol.isdigit()]
    assert keeper.has_catalog is bool(loaded)
    if loaded:
        assert keeper.current == good(loaded[-1]).catalog
    failed = symbols[-1:].isdigit()
    assert str(keeper.error) == (f"reason {symbols[-1]}" if failed else "None")
