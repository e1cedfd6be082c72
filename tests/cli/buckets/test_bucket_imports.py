"""What an import into a bucket makes on this machine, and what it says."""

from __future__ import annotations

import hashlib
import math
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from tests.cli.buckets.conftest import DISK, OTHER_DISK, Command, Root
from tests.object_store import faults
from tests.object_store.faults import Answer, Asked, Fault
from tests.object_store.server import ObjectStore


def meanwhile(action: object) -> Fault:
    """Do something before a request is answered."""

    def alter(_asked: Asked, answer: Answer) -> Answer:
        action()  # type: ignore[operator]
        return answer

    return Fault("meanwhile", alter)


def test_raw_disk_goes_straight_through(
    command: Command, root: Root, store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    """A raw file is uploaded as it is read: no copy of it lies on this machine meanwhile."""
    seen: list[Path] = []
    look = meanwhile(
        lambda: seen.extend(path for path in (tmp_path / "tmp").rglob("*") if path.is_file() and path.stat().st_size)
    )
    store.faults.add(look, "put_part", times=math.inf)
    said = command("import", source, "--id", "disk", "--json")
    assert said.status == 0, said.err
    assert root.data(said.json["file"]) == DISK
    assert said.json["sha256"] == hashlib.sha256(DISK).hexdigest()
    assert (seen, "temporary file" in said.err) == ([], False)


def test_expected_digest(command: Command, root: Root, source: Path) -> None:
    """A raw file that has another SHA-256 than was said leaves nothing in the bucket; the right one is taken."""
    said = command("import", source, "--id", "disk", "--sha256", "0" * 64)
    assert (said.status, "its SHA-256 is" in said.err, "not " + "0" * 64 in said.err) == (1, True, True)
    assert (root.found(), root.bucket.uploads) == (set(), {})
    right = command("import", source, "--id", "disk", "--sha256", hashlib.sha256(DISK).hexdigest())
    assert right.status == 0, right.err


def test_without_digest(command: Command, root: Root, source: Path) -> None:
    """With --no-sha256 none is recorded."""
    assert command("import", source, "--id", "disk", "--no-sha256").status == 0
    assert "sha256" not in root.entry("disk")


def test_source_that_is_changed_meanwhile(command: Command, root: Root, store: ObjectStore, source: Path) -> None:
    """A raw file that is changed while it is uploaded is told of, and nothing is stored."""
    store.faults.add(meanwhile(lambda: source.write_bytes(OTHER_DISK)), "begin_upload")
    said = command("import", source, "--id", "disk")
    assert (said.status, "stop what writes to it, and import it again" in said.err) == (1, True), said.err
    assert (root.found(), root.bucket.uploads) == (set(), {})


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")
def test_temporary_file_is_told_of(command: Command, root: Root, source: Path, tmp_path: Path) -> None:
    """A conversion says where it makes a temporary file, of which size, and how to have it elsewhere."""
    packed = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, packed], check=True)
    said = command("import", packed, "--id", "disk")
    assert said.status == 0, said.err
    assert f"A temporary file of up to 5.0 MiB is made in {tmp_path / 'tmp'}" in said.err, said.err
    assert "TMPDIR names another place" in said.err
    assert root.data(root.entry("disk")["file"]) == DISK


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("words", [["import", "disk.raw", "--id", "disk"], ["list"], ["publish", "disk"]])
def test_misspelt_bucket(command: Command, source: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that does not exist is told of at once, with what to look at."""
    assert source.name == "disk.raw"
    monkeypatch.chdir(source.parent)
    began = time.monotonic()
    said = command(*words, "--images-root", "s3://imagse/root")
    assert (said.status, said.err.count("\n")) == (1, 1), said.err
    assert "s3://imagse/root: " in said.err
    assert (
        "404 NoSuchBucket: the bucket does not exist; look at the bucket's name and at AWS_ENDPOINT_URL" in said.err
    )
    assert time.monotonic() - began < 2


def test_denied(command: Command, store: ObjectStore, source: Path) -> None:
    """A refusal is told of at once: the operation, the key, the store's own word, and no secret."""
    store.faults.add(faults.ACCESS_DENIED, times=math.inf)
    said = command("import", source, "--id", "disk")
    assert (said.status, said.err.count("\n")) == (1, 1), said.err
    assert "403 AccessDenied: these credentials may not do this" in said.err
    assert store.environ["AWS_ACCESS_KEY_ID"] not in said.err


@pytest.mark.usefixtures("root")
def test_catalog_that_cannot_be_written(command: Command, store: ObjectStore, source: Path) -> None:
    """A catalog whose write fails again and again ends the command within the time limit of the origin."""
    store.faults.add(faults.INTERNAL_ERROR, "put", key="root/manifest.json", times=math.inf)
    began = time.monotonic()
    said = command("import", source, "--id", "disk", "--origin-timeout-secs", "3")
    assert time.monotonic() - began < 8
    assert said.status == 1
    assert "PUT 'manifest.json': 500 InternalError; trying again, for 3 s at most" in said.err, said.err


@pytest.mark.usefixtures("store")
def test_secret_that_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is missing is told of by its name."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    said = command("list")
    assert (said.status, "AWS_SECRET_ACCESS_KEY is not set" in said.err) == (1, True), said.err
