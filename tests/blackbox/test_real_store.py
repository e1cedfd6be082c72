"""The daemon over a real object store: SeaweedFS, with a block cache and without, and with its gateway gone."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.store import S3Store
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.stores.seaweedfs import SeaweedFS

DISK = random.Random(5).randbytes(20 << 20)


def bucket_of(access: Any, name: str) -> S3Store:
    access.make_bucket(name)
    key = access.key
    return S3Store(
        name,
        endpoint=access.endpoint,
        access_key_id=key.access,
        secret_access_key=key.secret,
        region=key.region,
        client_options={"allow_http": True},
    )


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
def test_bytes(seaweedfs: SeaweedFS, home: Callable[[str], Path], *, cached: bool) -> None:
    """An image that was uploaded in parts is served whole and in ranges; a replaced one shows, under another tag."""
    path = home("real")
    name = f"real-{'cached' if cached else 'plain'}-{os.getpid()}"
    bucket = bucket_of(seaweedfs.access, name)
    obstore.put(bucket, "root/disk.img", DISK, chunk_size=6 << 20)
    obstore.put(bucket, "root/manifest.json", str([entry("disk")]).replace("'", '"').replace("True", "true").encode())
    flags = ["--images-root", f"s3://{name}/root", "--origin-refresh-secs", "1"]
    flags += ["--cache-dir", str(path / "cache")] if cached else []
    with running(path, *flags, env=seaweedfs.access.environment) as daemon:
        assert daemon.ask("/readyz").status == 200
        whole = daemon.ask("/v1/images/disk")
        assert whole.body == DISK
        part = daemon.ask("/v1/images/disk", fields={"Range": "bytes=7000000-7999999", "If-Range": whole["ETag"]})
        assert (part.status, part.body) == (206, DISK[7_000_000:8_000_000])
        obstore.put(bucket, "root/disk.img", DISK[::-1])
        until(lambda: daemon.ask("/v1/images/disk", "HEAD")["ETag"] != whole["ETag"])
        assert daemon.ask("/v1/images/disk", fields={"Range": "bytes=0-99"}).body == DISK[::-1][:100]
