"""The catalog documents below a prefix of a bucket, as a daemon watches them (http.md §11)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import attrs
from typing_extensions import override

from aero_storage.catalog.documents import CatalogDocuments, DocumentState
from aero_storage.catalog.listing import OWN_DIRECTORIES, is_listed_name, listing_of, why_not_listed
from aero_storage.catalog.model import MANIFEST_NAME, Catalog
from aero_storage.catalog.parser import MAX_MANIFEST_BYTES
from aero_storage.errors import (
    BlobNotFoundError,
    CatalogDeniedError,
    CatalogError,
    CatalogUnavailableError,
    ObjectTooLargeError,
    OriginDeniedError,
    OriginUnavailableError,
)
from aero_storage.storage.objects.common_looks import LIST_PATIENCE, CommonLooks
from aero_storage.storage.objects.origin import Listed

_LOOK_SHARE = 0.75
"""Part of the refresh time for which a HEAD is believed; the rest is for the polls of a worker, and for the look.
A listing is believed for all of it: a request that comes later waits for the next one."""


@attrs.define(eq=False)
class PolledDocuments(CatalogDocuments):
    """The documents below the prefix of an origin, for a daemon that polls `state`, ten times in a refresh time.

    The store is asked once in a refresh time for all workers. Where there is no manifest it is listed only if
    somebody `is_asked` for. The first look, which a start waits for, is that of `first`.
    """

    _common: CommonLooks
    _first: CommonLooks
    _refresh_secs: float
    _now: Callable[[], float] = time.monotonic
    answered_at: float | None = attrs.field(init=False, default=None)
    """When the look began that last told the state of the catalog; None if none has."""
    is_asked: bool = attrs.field(init=False, default=True)
    """Set by those who want the listing to be as it is now; cleared when it is made."""
    _listed_at: float = attrs.field(init=False, default=-math.inf)
    _anew_from: float = attrs.field(init=False, default=-math.inf)
    _has_looked: bool = attrs.field(init=False, default=False)
    _has_manifest: bool = attrs.field(init=False, default=False)
    _listed: tuple[str, ...] = attrs.field(init=False, default=())
    """Names of the objects directly below the prefix, as of the last listing."""

    @property
    @override
    def manifest_name(self) -> str:
        return f"{self._common.origin_name}/{MANIFEST_NAME}"

    def silent_seconds(self) -> float | None:
        """Return for how long the origin has not told the state of the catalog; None if it never has."""
        return None if self.answered_at is None else self._now() - self.answered_at

    def is_old(self) -> bool:
        """Return whether the catalog is a listing in which a change may be missing for too long."""
        return not self._has_manifest and self._now() - self._listed_at > self._refresh_secs

    @override
    def look_anew(self) -> None:
        self._anew_from, self.is_asked = math.nextafter(self._now(), math.inf), True

    @override
    def state(self) -> DocumentState:
        common = self._common if self._has_looked else self._first
        self._has_looked = True
        since = self._since(_LOOK_SHARE)
        with _told_as_ours():
            seen = common.head(MANIFEST_NAME, since, failed_since=since, patience=LIST_PATIENCE)
            if seen.value is None:
                self._list(common, self._since(1))
        self._has_manifest, self.answered_at = seen.value is not None, seen.began
        mark = self._listed if seen.value is None else (seen.value.pin, seen.value.size)
        return DocumentState(mark, is_settled=True)

    def _since(self, share: float) -> float:
        return max(self._now() - share * self._refresh_secs, self._anew_from)

    def _list(self, common: CommonLooks, since: float) -> None:
        if not self.is_asked:
            return
        self.is_asked = False
        try:
            listing = common.list("", delimiter=True, since=since, failed_since=since)
        except BaseException:
            self.is_asked = True
            raise
        if listing.began != self._listed_at:
            self._listed = tuple(sorted(listed.key for listed in listing.value if listed.status))
            self._listed_at = listing.began

    @override
    def has_manifest(self) -> bool:
        return self._has_manifest

    @override
    def read_manifest(self) -> bytes:
        with _told_as_ours():
            try:
                since = -math.inf if self.answered_at is None else self.answered_at
                return self._common.read(MANIFEST_NAME, MAX_MANIFEST_BYTES, since).value
            except ObjectTooLargeError:
                raise CatalogError(f"{self.manifest_name}: larger than {MAX_MANIFEST_BYTES} bytes") from None
            except BlobNotFoundError:
                raise CatalogError(f"{self.manifest_name}: no such object") from None

    @override
    def list_images(self) -> Catalog:
        return listing_of(filter(is_listed_name, self._listed))

    @override
    def left_out(self) -> dict[str, str]:
        with _told_as_ours():
            return left_out_of(self._common.list("", delimiter=True, since=self._now()).value)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except OriginUnavailableError as error:
        raise CatalogUnavailableError(str(error)) from error
    except OriginDeniedError as error:
        raise CatalogDeniedError(str(error)) from error


def left_out_of(listed: Iterable[Listed]) -> dict[str, str]:
    """Return what the listing of an origin leaves out → why; names with a dot in front are not told."""
    found = sorted(listed, key=lambda one: one.key)
    reasons = {one.key: _reason_left_out(one) for one in found}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason_left_out(listed: Listed) -> str | None:
    name, is_object = listed.key, listed.status is not None
    if name.startswith(".") or name in OWN_DIRECTORIES or (is_object and is_listed_name(name)):
        return None
    if not is_object:
        return f"the listing shows nothing below a slash; name the images there in {MANIFEST_NAME}"
    return why_not_listed(name)
