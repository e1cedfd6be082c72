"""Keys of entries that nobody reads are told with the known key that they resemble."""

from __future__ import annotations

import json

import pytest

from aero_storage.catalog.parser import parse_manifest
from aero_storage.catalog.unknown_keys import KNOWN_KEYS, UnknownKey, unknown_keys

ENTRY = {"id": "disk", "file": "disk.img", "name": "Disk"}


def found(document: object) -> list[UnknownKey]:
    data = json.dumps(document).encode()
    parse_manifest(data)
    return list(unknown_keys(data))


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("pubilc", "public"),
        ("Public", "public"),
        ("chunkedVersion", "chunked_version"),
        ("last-modified", "last_modified"),
        ("lastModifed", "last_modified"),
        ("descripton", "description"),
        ("virtual_chunk", "virtual_chunks"),
        ("recommended_chunk_size", "recommended_chunk_size_bytes"),
        ("e_tag", "etag"),
        ("privateCache", "private_cache"),
        ("cache", None),
        ("follow_links", None),
        ("mine", None),
        ("//", None),
        ("", None),
    ],
)
def test_unknown_keys(key: str, nearest: str | None) -> None:
    """A key that is written wrongly leads to the right one; a foreign one leads nowhere."""
    assert found([ENTRY | {key: 1}]) == [UnknownKey("disk", key, nearest)]
    assert found({"images": [ENTRY | {key: 1}], "more": 1}) == [UnknownKey("disk", key, nearest)]


def test_known_keys() -> None:
    """No key that the parser reads is unknown."""
    whole = ENTRY | dict.fromkeys(set(KNOWN_KEYS) - ENTRY.keys() - {"public"}) | {"public": False}
    assert found([whole]) == []
    assert len(KNOWN_KEYS) == 13
