"""The catalog in force: the last good one, whatever happens to the file meanwhile (http.md §3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aero_storage.catalog.current import Change, CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.errors import CatalogError


def good(name: str, *, is_new: bool = True) -> Reading:
    return Reading(Catalog((Image(id=name, file=name, name=name),)), None, is_new)


def bad(reason: str, *, is_new: bool = True) -> Reading:
    return Reading(None, CatalogError(reason), is_new)


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
    name, is_new = symbol[0], not symbol.endswith("'")
    return bad(f"reason {name}", is_new=is_new) if name.isdigit() else good(name, is_new=is_new)


def current(current_catalog: CurrentCatalog) -> Catalog:
    return current_catalog.current


def refusal(current_catalog: CurrentCatalog) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        current(current_catalog)
    return caught.value


@pytest.mark.parametrize(("symbols", "expected"), SEQUENCES.values(), ids=SEQUENCES)
def test_changes(symbols: str, expected: list[Change]) -> None:
    """What a reading brings is told once: a new catalog, a new failure, the old catalog good again."""
    current_catalog = CurrentCatalog()
    assert [current_catalog.take(reading_of(symbol)) for symbol in symbols.split()] == expected


def test_unread() -> None:
    """Before the first reading there is no catalog, and asking for it says so."""
    current_catalog = CurrentCatalog()
    assert not current_catalog.has_catalog
    assert current_catalog.error is None
    assert str(refusal(current_catalog))


def test_no_good_reading_yet() -> None:
    """While no reading has been good, asking for the catalog raises the latest reason."""
    current_catalog = CurrentCatalog()
    for reason in ("one", "two"):
        current_catalog.take(bad(reason))
        assert not current_catalog.has_catalog
        assert str(refusal(current_catalog)) == reason
    assert str(current_catalog.error) == "two"


def test_last_good_one_stays() -> None:
    """A failure never replaces a good catalog, and is gone once a reading is good."""
    current_catalog, reading = CurrentCatalog(), good("a")
    current_catalog.take(reading)
    current_catalog.take(bad("one"))
    current_catalog.take(bad("two"))
    assert current_catalog.has_catalog
    assert current_catalog.current is reading.catalog
    assert str(current_catalog.error) == "two"
    current_catalog.take(good("a"))
    assert current_catalog.error is None


def test_asking_leaves_nothing_behind() -> None:
    """However often the missing catalog is asked for, the error that is raised does not grow."""
    current_catalog = CurrentCatalog()
    current_catalog.take(bad("one"))
    for _ in range(50):
        error = refusal(current_catalog)
    depth, trace = 0, error.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10


@given(symbols=st.text("abc12", max_size=12))
def test_any_sequence(symbols: str) -> None:
    """After any readings the last good catalog is in force, with the latest failure if that came last."""
    current_catalog = CurrentCatalog()
    for symbol in symbols:
        change = current_catalog.take(reading_of(symbol))
        assert change is not (LOADED if symbol.isdigit() else FAILED)
        assert current_catalog.take(reading_of(f"{symbol}'")) is NONE
    loaded = [symbol for symbol in symbols if not symbol.isdigit()]
    assert current_catalog.has_catalog is bool(loaded)
    if loaded:
        assert current_catalog.current == good(loaded[-1]).catalog
    failed = symbols[-1:].isdigit()
    assert str(current_catalog.error) == (f"reason {symbols[-1]}" if failed else "None")
