"""Virtual chunks at the handler: which file is opened, what is cut from it, what is said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.policies import policy_with

from aero_storage.catalog.model import Image
from aero_storage.delivery.policy import Policy
from aero_storage.http.ranges import Segment

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

SIZE = 10 * 512
IMAGE = Image("disk.img", "files/disk.raw", "Disk", virtual_chunks=True, recommended_chunk_size_bytes=4 * 512)
CHUNKED = "/v1/images/disk.img/chunked"
ON = policy_with(virtual_chunks=True, virtual_chunk_bytes=1024)


def version_of(ask: Ask, bench: Bench, policy: Policy | None = None) -> str:
    return str(json.loads(bench.answer(ask(f"{CHUNKED}/manifest"), policy).body)["version"])


@pytest.mark.parametrize(("index", "segment"), [(0, (0, 2048)), (1, (2048, 2048)), (2, (4096, 1024))])
def test_a_chunk_is_a_segment(ask: Ask, bench: Bench, index: int, segment: tuple[int, int]) -> None:
    """A chunk is a segment of the one open image, whose blob is closed once at the end."""
    bench.serve(IMAGE)
    blob = bench.store.put("files/disk.raw", SIZE)
    reply = bench.answer(ask(f"{CHUNKED}/chunks/{index:08}.bin"))
    assert (reply.status, reply.segment) == (200, Segment(*segment))
    assert (bench.store.opened, blob.closes) == (["files/disk.raw"], 1)


@pytest.mark.parametrize("rest", ["chunks/00000003.bin", "chunks/0.bin", "virtual-x/manifest", "v1/manifest"])
def test_what_is_not_there(ask: Ask, bench: Bench, rest: str) -> None:
    """No such chunk, another spelling or another version: 404, and whatever was opened is closed."""
    bench.serve(IMAGE)
    blob = bench.store.put("files/disk.raw", SIZE)
    assert bench.answer(ask(f"{CHUNKED}/{rest}")).status == 404
    assert blob.closes == len([name for name in bench.store.opened if name == "files/disk.raw"])


def test_old_version(ask: Ask, bench: Bench) -> None:
    """The versioned URLs answer until the file changes, and are a 404 from then on."""
    bench.serve(IMAGE)
    bench.store.put("files/disk.raw", SIZE)
    version = version_of(ask, bench)
    paths = [f"{CHUNKED}/{version}/{rest}" for rest in ("manifest.json", "chunks/00000000.bin")]
    assert [bench.answer(ask(path)).status for path in paths] == [200, 200]
    bench.store.put("files/disk.raw", SIZE, mtime_ns=1_700_000_000_500_000_001)
    assert [bench.answer(ask(path)).status for path in paths] == [404, 404]


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"name": "Other"}, True),
        ({"id": "other.img"}, True),
        ({"etag": '"one"'}, False),
        ({"recommended_chunk_size_bytes": 512}, False),
    ],
)
def test_version_hangs_on(ask: Ask, bench: Bench, change: dict[str, object], *, is_same: bool) -> None:
    """The version hangs on chunk size and validator, not on what people call the image."""
    bench.serve(IMAGE)
    bench.store.put("files/disk.raw", SIZE)
    before = version_of(ask, bench)
    image = attrs.evolve(IMAGE, **change)  # type: ignore[arg-type]
    bench.serve(image)
    reply = bench.answer(ask(f"/v1/images/{image.id}/chunked/manifest"))
    assert (json.loads(reply.body)["version"] == before) is is_same


@pytest.mark.parametrize(("etag", "is_same"), [(None, False), ('W/"one"', False), ('"one"', True)])
def test_weak_tags_do_not_count(ask: Ask, bench: Bench, etag: str | None, *, is_same: bool) -> None:
    """Only under a strong tag does the version outlive a new mtime."""
    bench.serve(attrs.evolve(IMAGE, etag=etag))
    bench.store.put("files/disk.raw", SIZE)
    before = version_of(ask, bench)
    bench.store.put("files/disk.raw", SIZE, mtime_ns=1)
    assert (version_of(ask, bench) == before) is is_same


def test_shown_date_to_come(ask: Ask, bench: Bench) -> None:
    """The date that a moving URL shows is not shown before it has come."""
    bench.serve(IMAGE)
    bench.store.put("files/disk.raw", SIZE, int(bench.now + 1) * 10**9)
    handler = bench.handler(ON)
    for shown in (False, True):
        reply = bench.answer(ask(f"{CHUNKED}/manifest"), handler=handler)
        assert ("Last-Modified" in dict(reply.headers)) is shown
        bench.now += 1


@pytest.mark.parametrize(
    ("entry", "setting", "status"),
    [(None, False, 404), (None, True, 200), (True, False, 200), (False, True, 404)],
)
def test_entry_before_setting(ask: Ask, bench: Bench, entry: bool | None, setting: bool, status: int) -> None:  # noqa: FBT001
    """What an entry says counts; the setting is for those that say nothing."""
    bench.serve(attrs.evolve(IMAGE, virtual_chunks=entry))
    bench.store.put("files/disk.raw", SIZE)
    policy = attrs.evolve(ON, virtual_chunks=setting)
    assert bench.answer(ask(f"{CHUNKED}/manifest"), policy).status == status


def test_unlisted_files_are_never_cut(ask: Ask, bench: Bench) -> None:
    """What a directory listing does not show is no image, though its name would do."""
    bench.serve(listing=True)
    bench.store.put("disk.img", SIZE)
    assert bench.answer(ask(f"{CHUNKED}/manifest"), ON).status == 404


def test_published_win(ask: Ask, bench: Bench) -> None:
    """Where a chunk manifest is there, nothing is cut: a chunk that is missing among the artifacts is missing."""
    bench.serve(IMAGE)
    bench.store.put("files/disk.raw", SIZE)
    bench.store.put("chunked/disk.img/manifest.json", 7)
    bench.store.put("chunked/disk.img/chunks/00000000.bin", 8)
    replies = [bench.answer(ask(f"{CHUNKED}/{rest}")) for rest in ("manifest", "chunks/00000000.bin")]
    assert [(reply.status, reply.segment) for reply in replies] == [(200, Segment(0, 7)), (200, Segment(0, 8))]
    assert bench.answer(ask(f"{CHUNKED}/chunks/00000001.bin")).status == 404


@pytest.mark.parametrize(
    ("size", "chunk_size", "limit", "status", "warnings"),
    [
        (SIZE, 2048, 4096, 200, 0),
        (0, 2048, 4096, 404, 1),
        (SIZE + 1, 2048, 4096, 404, 1),
        (SIZE, 1000, 4096, 404, 1),
        (SIZE, 128 << 20, 1 << 30, 404, 1),
        (512 * 500_001, 512, 4096, 404, 1),
        (SIZE, 2048, 2047, 413, 1),
    ],
)
def test_unfit(ask: Ask, bench: Bench, size: int, chunk_size: int, limit: int, status: int, warnings: int) -> None:
    """What breaks the format's rules is a 404, what is over the limit a 413; each is warned of just once."""
    bench.serve(attrs.evolve(IMAGE, recommended_chunk_size_bytes=chunk_size))
    bench.store.put("files/disk.raw", size)
    handler = bench.handler(policy_with(max_chunk_bytes=limit))
    for _ in range(3):
        reply = bench.answer(ask(f"{CHUNKED}/chunks/00000000.bin"), handler=handler)
        assert reply.status == status
    told = [fields for level, _, fields in bench.log.events if level == "warn"]
    assert len(told) == warnings
    assert all(fields["image_id"] == "disk.img" for fields in told)
