"""The link from the metadata of an image to its chunk manifest (http.md §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from tests.policies import policy_with
from twisted.internet.defer import Deferred

from aero_storage.catalog.model import Image
from aero_storage.delivery.chunk_links import FRESH_SECONDS, LINK_SECONDS, ChunkLooks
from aero_storage.delivery.representation import VirtualChunks

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench

    from aero_storage.delivery.handler import RequestHandler
    from aero_storage.storage.store import Opened

IMAGE = Image("disk", "disk.img", "A disk")
MANIFEST = "chunked/disk/manifest.json"
META = "/v1/images/disk/meta"
LINK = '</v1/images/disk/chunked/manifest.json>; rel="urn:aero-storage:chunks"'


@pytest.fixture
def links(bench: Bench) -> ChunkLooks:
    return ChunkLooks(bench.store, VirtualChunks(policy_with(), bench.log), bench.clock)


@pytest.fixture
def handler(bench: Bench, links: ChunkLooks) -> RequestHandler:
    bench.serve(IMAGE)
    bench.store.put("disk.img", 1 << 20)
    return bench.handler(chunk_links=links)


def link(bench: Bench, ask: Ask, handler: RequestHandler) -> str | None:
    """The link of the metadata, once earlier looks do not count any more."""
    bench.clock.advance(FRESH_SECONDS + 0.1)
    reply = bench.answer(ask(META), handler=handler)
    assert reply.status == 200
    return dict(reply.headers).get("Link")


def test_published_chunks(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """An image has the link while its chunk manifest is there, and none before and after."""
    assert link(bench, ask, handler) is None
    bench.store.put(MANIFEST)
    assert link(bench, ask, handler) == LINK
    del bench.store.blobs[MANIFEST]
    assert link(bench, ask, handler) is None


def test_chunks_of_a_version(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """The chunks of the version that the catalog names count, and no others."""
    bench.serve(attrs.evolve(IMAGE, chunked_version="v2"))
    bench.store.put(MANIFEST)
    assert link(bench, ask, handler) is None
    bench.store.put("chunked/disk/v2/manifest.json")
    assert link(bench, ask, handler) == LINK


@pytest.mark.parametrize(("size", "found"), [(1 << 20, LINK), (1000, None)])
def test_virtual_chunks(bench: Bench, ask: Ask, handler: RequestHandler, size: int, found: str | None) -> None:
    """An image that is cut on request has the link, and one that cannot be cut has none."""
    bench.serve(attrs.evolve(IMAGE, virtual_chunks=True))
    bench.store.put("disk.img", size)
    assert link(bench, ask, handler) == found


def test_looks_are_few(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """Within a second a manifest is looked for once for each image."""
    for _ in range(5):
        bench.answer(ask(META), handler=handler)
    assert bench.store.opened.count(MANIFEST) == 1


def test_store_that_cannot_read(bench: Bench, ask: Ask, handler: RequestHandler) -> None:
    """A manifest that cannot be read costs the link, not the metadata; it is looked for again after a second."""
    bench.store.unreadable.add(MANIFEST)
    assert link(bench, ask, handler) is None
    bench.store.unreadable.clear()
    bench.store.put(MANIFEST)
    assert dict(bench.answer(ask(META), handler=handler).headers).get("Link") is None
    assert link(bench, ask, handler) == LINK


def test_store_that_hangs(bench: Bench, links: ChunkLooks) -> None:
    """A store that does not answer is waited for once, not by each request, and then there is no link."""
    held: Deferred[Opened] = Deferred()
    bench.store.held = held
    status = bench.store.put("disk.img").status
    found = Deferred.fromCoroutine(links.has(IMAGE, status))
    assert not found.called
    bench.clock.advance(LINK_SECONDS)
    assert found.result is False
    assert Deferred.fromCoroutine(links.has(IMAGE, status)).result is False
