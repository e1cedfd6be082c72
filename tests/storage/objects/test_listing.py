"""A listing whose page the client cannot take goes on by directories, behind what it has told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from aero_storage.storage.objects.listing import Listing
from aero_storage.storage.objects.origin import ObjectStatus, Pin
from aero_storage.storage.objects.store_client import StoreClient
from aero_storage.storage.objects.store_failures import ERROR, StoreFailureError

T = TypeVar("T")
KEYS = ["p/a/1", "p/a/2", "p/b/1", "p/c/1", "p/d"]
BROKEN = "p/c"
"""The directory with a key that cannot be named."""


def status(key: str) -> ObjectStatus:
    return ObjectStatus(key, 1, Pin('"1"'), 0)


class Client:
    """Gives one page of two keys; the next one has a key that cannot be named."""

    def list_flat(self, _prefix: str, _after: str | None, _limit: float) -> Iterator[list[ObjectStatus]]:
        yield [status(key) for key in KEYS[:2]]
        raise StoreFailureError(ERROR, "a key", is_unnameable=True)

    def list_directory(self, directory: str, _limit: float) -> tuple[list[ObjectStatus], list[str]]:
        if directory == BROKEN:
            raise StoreFailureError(ERROR, "a key", is_unnameable=True)
        below = [key for key in KEYS if key.startswith(f"{directory}/")]
        rests = {key: key.removeprefix(f"{directory}/") for key in below}
        prefixes = {f"{directory}/{rest.partition('/')[0]}" for rest in rests.values() if "/" in rest}
        return [status(key) for key, rest in rests.items() if "/" not in rest], sorted(prefixes)


def at_once(attempt: Callable[[float], T]) -> T:
    return attempt(1.0)


def test_each_key_is_told_once() -> None:
    """What came before the page is not told again; the directory with the key is told without its keys."""
    told = list(Listing(cast("StoreClient", Client()), at_once, "p", 100).flat())
    assert sorted(key for key, found in told if found) == ["p/a/1", "p/a/2", "p/b/1", "p/d"]
    assert [key for key, found in told if found is None] == [BROKEN]
