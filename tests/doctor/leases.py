"""A catalog with a private image, keys, and leases for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.lease_tokens import CLAIMS, KEYS, token_of

PRIVATE = "secret"


def lease_for(image: str = PRIVATE, **changed: object) -> str:
    """Make a lease that is good for a quarter of an hour from now; ... leaves a claim out."""
    now = int(time.time())
    claims = CLAIMS | {"img": image, "iat": now - 60, "exp": now + 840} | changed
    return token_of({name: value for name, value in claims.items() if value is not ...}, "ed")


def write_catalog(root: Path) -> None:
    """Write a catalog with one image that is private and one that is not, over the same file."""
    entries = [
        {"id": PRIVATE, "file": "disk.img", "name": "Private", "public": False},
        {"id": "open", "file": "disk.img", "name": "Public"},
    ]
    root.mkdir(exist_ok=True)
    (root / "manifest.json").write_text(json.dumps(entries), encoding="utf-8")


def write_keys(home: Path) -> Path:
    """Write the keys, for their owner alone."""
    path = home / "keys.json"
    path.touch(0o600)
    path.write_bytes(KEYS)
    return path
