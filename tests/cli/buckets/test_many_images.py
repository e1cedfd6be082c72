"""`list` and `catalog check` with many images in a bucket: few requests, and several of them at once."""

from __future__ import annotations

import hashlib
import json
import random
import threading

import pytest
from tests.cli.buckets.conftest import Command, Root
from tests.disk_bytes import bootable
from tests.object_store.faults import Answer, Asked, Fault
from tests.object_store.server import ObjectStore

SMALL = bootable(random.Random(5).randbytes(4096))
COUNT = 40


def catalog(root: Root, *, names: str = "imported/{0}/1-000000000000.img", **more: object) -> None:
    """Store images, and a catalog that has their digests as an import records them."""
    entries: list[dict[str, object]] = []
    for number in range(COUNT):
        file = names.format(f"i{number}")
        root.put(file, SMALL)
        digest = {"sha256": hashlib.sha256(SMALL).hexdigest(), "sha256_of": f"{len(SMALL)}-{root.tag(file)}"}
        entries.append({"id": f"i{number}", "name": "An image", "file": file, **digest, **more})
    root.put("manifest.json", json.dumps({"images": entries}).encode())


@pytest.mark.parametrize("words", [["list"], ["catalog", "check"]])
def test_imported_images_cost_no_request_each(
    command: Command, root: Root, store: ObjectStore, words: list[str]
) -> None:
    """What an import has looked at, and listings tell, is not asked for again image by image."""
    catalog(root)
    store.requests.clear()
    said = command(*words)
    assert (said.status, said.err) == (0, "")
    assert store.count() < 15, [f"{one.operation} {one.key}" for one in store.requests]


def test_others_are_looked_at(command: Command, root: Root, store: ObjectStore) -> None:
    """An image that no import made is looked at, whatever its entry says: it may be no raw disk."""
    catalog(root, names="{0}.img")
    root.put("i7.img", b"QFI\xfb\0\0\0\3" + bytes(4096))
    warnings = command("catalog", "check", "--json").json["warnings"]
    assert [*warnings] == ["i7"]
    assert any("qcow2" in text for text in warnings["i7"])
    assert store.count("get", key="root/i8.img") >= 1


def test_several_at_once(command: Command, root: Root, store: ObjectStore) -> None:
    """Requests for as many images are under way together: 16 answers wait for one another."""
    catalog(root, names="{0}.img")
    together = threading.Barrier(16)

    def wait(_asked: Asked, answer: Answer) -> Answer:
        together.wait(10)
        return answer

    store.faults.add(Fault("together", wait), "get", key="root/i*.img", times=16)
    assert command("list").status == 0
    assert not together.broken


def test_chunks_that_are_missing(command: Command, root: Root) -> None:
    """A version that is missing is told of, though no request is made for its image."""
    catalog(root, chunked_version="v-missing")
    checked = command("catalog", "check", "--json")
    assert checked.status == 1
    assert len(checked.json["problems"]) == COUNT
    assert "there are no chunks of its chunked_version v-missing" in checked.json["problems"]["i0"][0]


def test_unneeded_chunks(command: Command, root: Root, source: object) -> None:
    """Chunks that nothing names are named by `catalog check`."""
    assert command("import", source, "--id", "disk").status == 0
    root.put("chunked/disk/v-other/manifest.json", b"{}")
    (left,) = command("catalog", "check", "--json").json["leftovers"]
    assert left["path"] == "chunked/disk/v-other"
