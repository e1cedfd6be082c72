"""Each command of `aero-storage` on real stores, as a process of its own, from an empty bucket on."""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.disk_bytes import bootable
from tools.stores.access import Access

PROGRAM = Path(sysconfig.get_path("scripts")) / "aero-storage"
MIB = 1 << 20
DISK = bootable(random.Random(8).randbytes(20 * MIB) + bytes(4 * MIB) + random.Random(9).randbytes(512))
SECONDS = 120


@attrs.frozen
class Operator:
    """Somebody who gives commands in a directory, with the variables of a store."""

    place: Path
    environment: dict[str, str]

    def fails(self, *words: str) -> str:
        """Give a command that fails, and return what it says."""
        done = self._run(*words)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def does(self, *words: str) -> Any:
        """Give a command that succeeds, and return its result."""
        done = self._run(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *words],
            cwd=self.place,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


@pytest.fixture(params=["seaweedfs", "ceph", "azurite"])
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operator]:
    """Make a bucket of the test's own; Azurite is given by its address alone."""
    store = request.getfixturevalue(request.param)
    access: Access = getattr(store, "access", store)
    bucket = f"commands-{secrets.token_hex(4)}"
    access.make_bucket(bucket)
    (tmp_path / "tmp").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AERO_", "AWS_", "AZURE_"))}
    root = f"{access.url(bucket)}/images"
    yield Operator(
        tmp_path,
        {**clean, **access.environment, "AERO_STORAGE_IMAGE_ROOT": root, "TMPDIR": str(tmp_path / "tmp")},
    )
    assert not [*(tmp_path / "tmp").rglob("*")]


def test_all_commands(operator: Operator) -> None:
    """Images come in, are cut, checked, listed, copied to a directory and back, replaced and removed."""
    (operator.place / "disk.raw").write_bytes(DISK)
    (operator.place / "copy").mkdir()
    root = operator.environment["AERO_STORAGE_IMAGE_ROOT"]
    first = operator.does("import", "disk.raw", "--id", "disk", "--name", "A disk")
    version = operator.does("publish", "disk")["version"]
    assert operator.does("publish", "disk")["already_published"] is True
    assert operator.does("verify", "disk")["image"]["ok"] is True
    (row,) = operator.does("list")
    assert (row["size"], row["chunked_version"], row["sha256"]) == (len(DISK), version, first["sha256"])
    assert (row["problems"], [text.partition(" of ")[0] for text in row["warnings"]]) == ([], ["a range"])
    assert operator.does("copy", root, "copy")[0]["file_copied"] is True
    assert operator.does("copy", "copy", f"{root}/2")[0]["versions_copied"] == [version]
    assert operator.does("copy", "copy", f"{root}/2")[0]["bytes"] == 0
    assert operator.does("verify", "disk", "--images-root", f"{root}/2")["ok"] is True
    operator.does("import", "disk.raw", "--id", "disk")
    operator.does("import", "disk.raw", "--id", "other")
    checked = operator.does("catalog", "check")
    assert (checked["problems"], len(checked["unused_files"])) == ({}, 2)
    operator.does("remove", "disk")
    assert "is the only image" in operator.fails("remove", "other")
    assert operator.does("remove", "--expired")["waiting"] == 3
    removed = operator.does("remove", "--expired", "--grace", "0s")
    assert (len(removed["removed"]), removed["waiting"]) == (3, 0)
    assert operator.does("catalog", "check")["unused_files"] == []
    assert [image["id"] for image in operator.does("list")] == ["other"]
