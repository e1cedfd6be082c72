"""Requests for what lies in an origin: what is done before the head, and what its errors become (http.md §11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from aero_storage.catalog.model import Image
from aero_storage.delivery.byte_handler import Memo
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.errors import ClientError, ObjectChangedError, OriginDeniedError, OriginUnavailableError

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

    from aero_storage.delivery.facts import Facts
    from aero_storage.delivery.reply import Reply

IMAGE = Image("disk.img", "disk.raw", "A disk")
LATER = Image("disk.img", "later.raw", "A disk")
CHANGED = ObjectChangedError("s3://b: GET 'disk.raw': PreconditionFailed")


@pytest.fixture(autouse=True)
def _catalog(bench: Bench) -> None:
    bench.serve(IMAGE)
    bench.store.put("disk.raw")


def answered(bench: Bench, facts: Any, **given: Any) -> tuple[Exchange, list[Reply]]:
    exchange = bench.exchange(facts)
    replies: list[Reply] = []
    Deferred.fromCoroutine(bench.handler(**given).answer(exchange, facts.range)).addCallback(replies.append)
    return exchange, replies


def status_of(bench: Bench, facts: Any, look_anew: Any) -> int:
    exchange, (reply,) = answered(bench, facts, look_anew=look_anew)
    exchange.end(Ending.COMPLETE, reply.status, 0)
    return reply.status


def test_head_waits_for_the_first_bytes(ask: Ask, bench: Bench) -> None:
    """There is no reply before the first bytes are there; HEAD waits for none."""
    beginning: Deferred[None] = Deferred()
    bench.store.blobs["disk.raw"].beginnings = [beginning]
    _, replies = answered(bench, ask())
    assert not replies
    beginning.callback(None)
    assert [reply.status for reply in replies] == [200]
    assert [reply.status for reply in answered(bench, ask(method="HEAD"))[1]] == [200]


def test_hot_way_gives_back_what_cannot_begin(ask: Ask, bench: Bench) -> None:
    """A request whose first bytes are not there is not answered at once, and its object is closed again."""
    blob = bench.store.blobs["disk.raw"]
    blob.beginnings = []
    bench.store.cached = _Everything(blob)  # type: ignore[assignment]
    exchange = bench.exchange(ask())
    assert bench.handler().answer_now(exchange, None, Memo()) is None
    assert (exchange.blob, blob.closes) == (None, 1)
    blob.beginnings = None
    assert bench.handler().answer_now(exchange, None, Memo()) is not None


class _Everything:
    def __init__(self, blob: object) -> None:
        self.blob = blob

    def get(self, _wanted: object) -> object:
        return self.blob


def test_changed_object_starts_over_once(ask: Ask, bench: Bench) -> None:
    """An object that changed before the head is opened anew, once; changed again it is a 503."""
    blob = bench.store.blobs["disk.raw"]
    blob.beginnings = [fail(CHANGED), succeed(None)]
    assert [reply.status for reply in answered(bench, ask())[1]] == [200]
    assert (bench.store.opened, blob.closes) == (["disk.raw"] * 2, 1)
    blob.beginnings = [fail(CHANGED), fail(CHANGED), succeed(None)]
    exchange, (reply,) = answered(bench, ask())
    assert (reply.status, dict(reply.headers)["Retry-After"]) == (503, "1")
    exchange.end(Ending.COMPLETE, reply.status, 0)
    assert blob.closes == 3


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [(OriginUnavailableError("no answer"), 503, "5"), (OriginDeniedError("AccessDenied"), 500, None)],
)
def test_errors_before_the_head(
    ask: Ask, bench: Bench, error: ClientError, status: int, retry_after: str | None
) -> None:
    """An origin without an answer is a 503, one that refuses us a 500; both are told of and counted."""
    bench.store.blobs["disk.raw"].beginnings = [fail(error)]
    told: list[tuple[Facts, ClientError]] = []
    exchange, (reply,) = answered(bench, ask(), origin_failed=lambda *what: told.append(what))
    assert (reply.status, dict(reply.headers).get("Retry-After")) == (status, retry_after)
    assert told == [(exchange.facts, error)]
    assert bench.count("store_errors_total", kind="open_range") == 1


@pytest.mark.parametrize("path", ["/v1/images/disk.img", "/v1/images/disk.img/meta"])
def test_missing_object_looks_at_the_catalog(ask: Ask, bench: Bench, path: str) -> None:
    """An object that the catalog names and that is gone: the catalog is looked at once, and then it is a 404."""
    looks = []
    bench.store.blobs["later.raw"] = bench.store.blobs.pop("disk.raw")

    async def look_anew() -> None:
        looks.append(1)

    async def look_and_find() -> None:
        bench.serve(LATER)

    assert status_of(bench, ask(path), look_anew) == 404
    assert looks == [1]
    assert status_of(bench, ask(path), look_and_find) == 200
    assert status_of(bench, ask("/v1/images/nobody"), look_anew) == 404
    assert looks == [1]


def test_readiness(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A catalog whose origin has not answered for too long is not ready to be served from."""
    for stale, status in ((False, 200), (True, 503)):
        handler = bench.handler(is_stale=lambda stale=stale: stale)
        assert drive(handler.answer(bench.exchange(ask("/readyz")), None)).status == status


def test_origin_bytes_are_logged(ask: Ask, bench: Bench) -> None:
    """The line of a byte request has what it took from the origin; those of other requests have not."""
    bench.store.blobs["disk.raw"].origin_bytes = 77
    for path in ("/v1/images/disk.img", "/v1/images/disk.img/meta"):
        for wanted in (None, {"Range": "bytes=0-9"}):
            exchange, (reply,) = answered(bench, ask(path, wanted))
            exchange.reply = reply
            exchange.end(Ending.COMPLETE, reply.status, 10)
    lines = [fields for _, message, fields in bench.log.events if message == "request complete"]
    assert [line.get("origin_bytes") for line in lines] == [77, 77, None, None]
    assert lines[1]["range"] == "0-9"


@pytest.mark.parametrize("has_origin", [True, False])
def test_lines_of_one_resource(ask: Ask, bench: Bench, has_origin: bool) -> None:  # noqa: FBT001
    """Each line has the range and the bytes of its own request, also of requests that differ in nothing else."""
    handler, facts = bench.handler(), ask("/v1/images/disk.img", {"Range": "bytes=0-9"})
    account = handler.account(facts)
    for number in range(1, 4):
        bench.store.blobs["disk.raw"].origin_bytes = number if has_origin else None
        exchange = Exchange(account, "192.0.2.1", f"req-{number}")
        replies: list[Reply] = []
        Deferred.fromCoroutine(handler.answer(exchange, f"bytes=0-{number}")).addCallback(replies.append)
        exchange.reply = replies[0]
        exchange.end(Ending.COMPLETE, 206, number)
    lines = [fields for _, message, fields in bench.log.events if message == "request complete"]
    assert [line["range"] for line in lines] == ["0-1", "0-2", "0-3"]
    assert [line.get("origin_bytes") for line in lines] == ([1, 2, 3] if has_origin else [None] * 3)
    assert [line["request_id"] for line in lines] == ["req-1", "req-2", "req-3"]
