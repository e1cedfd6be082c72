"""A bucket as the images root of commands, in the scripted store."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.command_output import CommandResult
from tests.disk_bytes import bootable
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore

from aero_storage.storage.objects.object_keys import MAPS

MIB = 1 << 20
DISK = bootable(random.Random(3).randbytes(3 * MIB) + bytes(2 * MIB) + random.Random(4).randbytes(512))
OTHER_DISK = bootable(DISK[::-1])
ROOT = "s3://images/root"

Command = Callable[..., CommandResult]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alone: None) -> Iterator[ObjectStore]:
    """Start a store, which is where the commands of this test look."""
    del alone
    with ObjectStore() as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AERO_STORAGE_IMAGE_ROOT", ROOT)
        monkeypatch.setenv("AERO_STORAGE_ORIGIN_TIMEOUT_SECS", "5")
        (tmp_path / "tmp").mkdir()
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        yield running


@attrs.frozen
class Root:
    """What lies below the prefix of the commands."""

    bucket: Bucket

    def found(self) -> set[str]:
        """Return the keys of all objects but maps."""
        return {key for key in self._keys() if not key.startswith(f"{MAPS}/")}

    def maps(self) -> set[str]:
        """Return the keys of the objects whose zeros are mapped."""
        return {key.removeprefix(f"{MAPS}/") for key in self._keys() if key.startswith(f"{MAPS}/")}

    def _keys(self) -> set[str]:
        return {key.removeprefix("root/") for key in self.bucket.keys()}  # noqa: SIM118 - no mapping

    def data(self, key: str) -> bytes:
        """Return the content of an object."""
        found = self.bucket.get(f"root/{key}")
        assert found is not None, key
        return found.data

    def tag(self, key: str) -> str:
        """Return the ETag of an object."""
        found = self.bucket.get(f"root/{key}")
        assert found is not None, key
        return found.tag

    def put(self, key: str, data: bytes) -> None:
        """Store an object as another program does."""
        self.bucket.put(f"root/{key}", data)

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries of the catalog."""
        found: list[dict[str, Any]] = json.loads(self.data("manifest.json"))["images"]
        return found

    def entry(self, image_id: str) -> dict[str, Any]:
        """Return the entry of an image."""
        return next(entry for entry in self.entries() if entry["id"] == image_id)

    def age(self, hours: float, prefix: str = "") -> None:
        """Have objects be older."""
        self.bucket.age(f"root/{prefix}", hours * 3600)


@pytest.fixture
def root(store: ObjectStore) -> Root:
    return Root(store.bucket("images", Quirks()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(DISK)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.raw"
    path.write_bytes(OTHER_DISK)
    return path
