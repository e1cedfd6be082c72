"""An images root with private images, and a daemon that asks for leases."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.blackbox.harness import running
from tests.blackbox.image_roots import DISK, VERSION, entry, put_catalog, put_profile, tag_of, version_of, write
from tests.lease_tokens import KEYS, with_claims

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon

SLICED = DISK[:196_608]
SLICED_VERSION = version_of(len(SLICED), tag_of(SLICED))
CHUNK = b"c" * 4096
MANIFEST = b'{"chunks": "of v1"}'
REVOKED = "lease-revoked"


def leased_root(home: Path) -> None:
    """Write images, chunks, the catalog and the two files of leases."""
    root = home / "images"
    write(root / "disk.img", DISK)
    write(root / "other.img", DISK[:5000])
    write(root / "sliced.img", SLICED)
    write(root / "chunked" / "chunky" / "v1" / "manifest.json", MANIFEST)
    write(root / "chunked" / "chunky" / "v1" / "chunks" / "00000000.bin", CHUNK)
    put_catalog(
        root,
        {
            "images": [
                entry("first", public=False),
                entry("open"),
                entry("secret", public=False),
                entry("other", "other.img", public=False),
                entry("gone", "gone.img", public=False),
                entry("chunky", public=False, chunked_version="v1", virtual_chunks=False),
                entry("sliced", "sliced.img", public=False, virtual_chunks=True, recommended_chunk_size_bytes=65536),
            ]
        },
    )
    put_profile(root, "secret", VERSION)
    (home / "keys.json").write_bytes(KEYS)
    (home / "keys.json").chmod(0o600)
    (home / "revoked.jsonl").write_text(f'{{"jti": "{REVOKED}"}}\n{{"img": "other", "before": 9999999999}}\n')


@contextmanager
def leased(home: Path, *flags: str) -> Iterator[Daemon]:
    """Run a daemon that asks for leases."""
    if not (home / "keys.json").exists():
        leased_root(home)
    files = ("--lease-keys-file", str(home / "keys.json"), "--lease-revocations-file", str(home / "revoked.jsonl"))
    with running(home, *files, *flags) as daemon:
        yield daemon


def now() -> int:
    """Return the time at which a test runs, which may be long after it was collected."""
    return int(time.time())


def lease(img: object = "secret", kid: str = "hs", /, **claims: object) -> str:
    """Make a lease that is good now, unless its claims say otherwise."""
    return with_claims(kid, **({"img": img, "iat": now() - 10, "exp": now() + 600} | claims))
