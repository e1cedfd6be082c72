"""Keys of catalog entries that nobody reads: mostly a known one, written wrongly."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import attrs

from aero_storage.catalog.model import Image
from aero_storage.catalog.parser import read_document

KNOWN_KEYS = tuple(field.name for field in attrs.fields(Image) if field.name != "follow_links")
"""The keys of an entry (http.md §3); `follow_links` comes from the kind of catalog."""

_SIMILAR = 0.7
"""Similarity from which on a key is taken for another one, from 0 to 1; `pubilc` and `public` have 0.83."""


@attrs.frozen
class UnknownKey:
    """A key of the entry of an image; `nearest` is the known key that it resembles, or None."""

    image_id: str
    key: str
    nearest: str | None


def unknown_keys(data: bytes) -> Iterator[UnknownKey]:
    """Yield the unknown keys of a valid manifest, in the order of the file."""
    document = read_document(data)
    entries = document["images"] if isinstance(document, dict) else document
    for entry in entries if isinstance(entries, list) else ():
        for key in entry:
            if key not in KNOWN_KEYS:
                yield UnknownKey(entry["id"], key, _nearest(key))


def _nearest(key: str) -> str | None:
    """Return the known key that resembles `key`, whatever the case of its letters and what parts its words."""
    plain = {_plain(known): known for known in KNOWN_KEYS}
    found = difflib.get_close_matches(_plain(key), plain, 1, _SIMILAR)
    return plain[found[0]] if found else None


def _plain(key: str) -> str:
    return "".join(filter(str.isalnum, key)).lower()
