"""The one place where a request ends: what it held is given back, what it was is counted and logged, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from aero_storage.delivery.access_record import AccessRecord
from aero_storage.delivery.exchange import Ending
from aero_storage.delivery.lease_limits import LeaseLimiter
from aero_storage.errors import LeaseOverdrawnError
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.verification import Lease

if TYPE_CHECKING:
    from tests.delivery.conftest import Ask, Bench, Drive

IMAGE = "/v1/images/disk.img"
CHUNK = "/v1/images/disk.img/chunked/chunks/00000000.bin"
MANIFEST = "/v1/images/disk.img/chunked/manifest.json"
LABELS = {"route": "/v1/images/:image_id", "method": "GET"}


@pytest.mark.parametrize("ending", Ending)
def test_everything_is_given_back(ask: Ask, bench: Bench, drive: Drive, ending: Ending) -> None:
    """However an exchange ends, its place is free again and its blob closed."""
    exchange = bench.exchange(ask())
    exchange.place = drive(bench.admission.acquire())
    exchange.blob = blob = bench.store.put("disk.img")
    exchange.end(ending, 206, 10)
    assert (bench.admission.taken, blob.closes) == (0, 1)


def test_requests_of_a_lease(ask: Ask, bench: Bench) -> None:
    """A request counts once for its lease, or for another one that proves to be its own, and not after its end."""
    limiter = LeaseLimiter(1, None, bench.clock.seconds)
    first, second = (Lease("key", name, Claims(("disk.img",), frozenset(), 0.0, 1.0)) for name in ("one", "two"))
    exchange = bench.exchange(ask())
    exchange.take_lease_share(limiter)
    for lease in (first, first, second, second):
        exchange.lease = lease
        exchange.take_lease_share(limiter)
    limiter.take(first).release()
    with pytest.raises(LeaseOverdrawnError):
        limiter.take(second)
    exchange.end(Ending.COMPLETE, 206, 10)
    limiter.take(second).release()


def test_another_lease_that_has_no_room(ask: Ask, bench: Bench) -> None:
    """A request that is refused for its other lease counts for neither."""
    limiter = LeaseLimiter(1, None, bench.clock.seconds)
    first, second = (Lease("key", name, Claims(("disk.img",), frozenset(), 0.0, 1.0)) for name in ("one", "two"))
    other = limiter.take(second)
    exchange = bench.exchange(ask())
    exchange.lease = first
    exchange.take_lease_share(limiter)
    exchange.lease = second
    with pytest.raises(LeaseOverdrawnError):
        exchange.take_lease_share(limiter)
    exchange.end(Ending.COMPLETE, 429, 0)
    other.release()
    for lease in (first, second):
        limiter.take(lease).release()


def test_second_end(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A second end does nothing: the place of another is not released, nothing is counted or logged twice."""
    exchange = bench.exchange(ask())
    exchange.place = drive(bench.admission.acquire())
    exchange.blob = blob = bench.store.put("disk.img")
    other = drive(bench.admission.acquire())
    exchange.end(Ending.COMPLETE, 200, 1000)
    exchange.end(Ending.DISCONNECTED, 499, 5)
    assert (bench.admission.taken, blob.closes, len(bench.log.events)) == (1, 1, 1)
    assert bench.count("http_requests_total", **LABELS, status="200") == 1
    assert bench.count("http_requests_total", **LABELS, status="499") == 0
    assert bench.count("image_bytes_served_total", image_id="disk.img") == 1000
    other.release()


def test_nothing_held(ask: Ask, bench: Bench) -> None:
    """An exchange that took nothing ends as well, without work for the disk."""
    bench.exchange(ask("/healthz")).end(Ending.COMPLETE, 200, 15)
    assert bench.disk.works == 0
    assert bench.count("http_requests_total", route="/healthz", method="GET", status="200") == 1


def test_line(ask: Ask, bench: Bench) -> None:
    """The line in the log has the fields of http.md §8, and no others."""
    headers = {"X-Request-Id": "req-1", "X-Aero-User-Id": "user-1", "Authorization": "LOUD", "Cookie": "LOUD"}
    exchange = bench.exchange(ask(IMAGE, headers))
    bench.clock.advance(1.25)
    exchange.end(Ending.COMPLETE, 206, 4096)
    assert bench.log.events == [
        (
            "info",
            "request complete",
            {
                "request_id": "req-1",
                "method": "GET",
                "path": "/v1/images/disk.img",
                "route": "/v1/images/:image_id",
                "status": 206,
                "outcome": "complete",
                "bytes_sent": 4096,
                "latency_seconds": 1.25,
                "image_id": "disk.img",
                "user_id": "user-1",
                "client": "192.0.2.1",
            },
        )
    ]


@pytest.mark.parametrize(
    ("ending", "word"),
    [(Ending.COMPLETE, "complete"), (Ending.ABORTED, "aborted"), (Ending.DISCONNECTED, "disconnected")],
)
def test_outcome(ask: Ask, bench: Bench, ending: Ending, word: str) -> None:
    """The line says how the exchange ended."""
    bench.exchange(ask()).end(ending, 200, 5)
    assert bench.log.events[0][2]["outcome"] == word


@pytest.mark.parametrize(
    ("path", "method", "route", "shown_method", "shown_path"),
    [
        ("/nowhere", "GET", "<unknown>", "GET", "/nowhere"),
        ("/v1/images/%2e%2e", "GET", "/v1/images/:image_id", "GET", "/v1/images/<invalid>"),
        ("/healthz", "BREW", "/healthz", "<other>", "/healthz"),
    ],
)
def test_line_of_odd_requests(
    ask: Ask, bench: Bench, *, path: str, method: str, route: str, shown_method: str, shown_path: str
) -> None:
    """Neither line nor labels take odd text from outside; without a valid image and user there are no such fields."""
    bench.exchange(ask(path, method=method)).end(Ending.COMPLETE, 404, 0)
    fields = bench.log.events[0][2]
    assert (fields["route"], fields["method"], fields["path"]) == (route, shown_method, shown_path)
    assert not {"image_id", "user_id"} & set(fields)
    assert bench.count("http_requests_total", route=route, method=shown_method, status="404") == 1


def test_log_off(ask: Ask, bench: Bench) -> None:
    """With the request log off all else happens as ever."""
    exchange = bench.exchange(ask())
    silent = attrs.evolve(bench.reporter, log=None)
    exchange = type(exchange)(AccessRecord(ask(), silent))
    exchange.end(Ending.COMPLETE, 200, 7)
    assert not bench.log.events
    assert bench.count("image_bytes_served_total", image_id="disk.img") == 7


def test_duration(ask: Ask, bench: Bench) -> None:
    """Time is counted from the head of the request to its end."""
    bench.clock.advance(100)
    exchange = bench.exchange(ask())
    bench.clock.advance(0.02)
    exchange.end(Ending.COMPLETE, 200, 1000)
    assert bench.count("http_request_duration_seconds_count", **LABELS) == 1
    assert bench.count("http_request_duration_seconds_sum", **LABELS) == pytest.approx(0.02)
    assert bench.count("http_request_duration_seconds_bucket", **LABELS, le="0.01") == 0
    assert bench.count("http_request_duration_seconds_bucket", **LABELS, le="0.025") == 1


@pytest.mark.parametrize(
    ("path", "status", "sent", "counted"),
    [
        (IMAGE, 200, 1000, 1000),
        (IMAGE, 206, 10, 10),
        (IMAGE + "/data", 206, 10, 10),
        (IMAGE, 206, 0, 0),
        (CHUNK, 200, 500, 500),
        (MANIFEST, 200, 500, 0),
        (IMAGE + "/meta", 200, 500, 0),
        ("/v1/images", 200, 500, 0),
        ("/healthz", 200, 15, 0),
    ],
)
def test_bytes(ask: Ask, bench: Bench, *, path: str, status: int, sent: int, counted: int) -> None:
    """Bytes are counted as they were sent: images and chunks, not chunk manifests nor metadata."""
    bench.exchange(ask(path)).end(Ending.DISCONNECTED, status, sent)
    assert bench.count("image_bytes_served_total", image_id="disk.img") == counted
    assert bench.log.events[0][2]["bytes_sent"] == sent


MODES = ("range", "full", "chunk", "virtual_chunk")


@pytest.mark.parametrize(
    ("path", "status", "raw", "mode"),
    [
        (IMAGE, 200, True, "full"),
        (IMAGE, 206, True, "range"),
        (IMAGE + "/data", 206, True, "range"),
        (CHUNK, 200, False, "chunk"),
        (CHUNK, 200, True, "virtual_chunk"),
        (MANIFEST, 200, False, None),
        (MANIFEST, 200, True, None),
        (IMAGE + "/meta", 200, False, None),
    ],
)
@pytest.mark.parametrize("ending", Ending)
def test_modes(
    ask: Ask, bench: Bench, *, path: str, status: int, raw: bool, mode: str | None, ending: Ending
) -> None:
    """Bytes are counted by how they were asked for, those of a response that breaks off too; all in all the same."""
    exchange = bench.exchange(ask(path))
    exchange.blob = blob = bench.store.put("disk.img")
    blob.raw = raw
    exchange.end(ending, status, 10)
    counted = {one: bench.count("aero_storage_bytes_sent_total", mode=one) for one in MODES}
    assert counted == {one: 10 if one == mode else 0 for one in MODES}
    assert sum(counted.values()) == bench.count("image_bytes_served_total", image_id="disk.img")


@pytest.mark.parametrize("ending", Ending)
def test_endings(ask: Ask, bench: Bench, ending: Ending) -> None:
    """Who breaks a response off is counted."""
    bench.exchange(ask()).end(ending, 206, 10)
    names = ("aborted", "disconnected")
    counted = {name: bench.count("aero_storage_responses_broken_off_total", outcome=name) for name in names}
    assert counted == {name: int(name == ending) for name in names}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [IMAGE, IMAGE + "/data"])
@pytest.mark.parametrize(
    ("status", "valid", "invalid"),
    [(206, 1, 0), (412, 0, 1), (413, 0, 1), (416, 0, 1), (200, 0, 0), (304, 0, 0), (404, 0, 0), (429, 0, 0)],
)
def test_ranges(ask: Ask, bench: Bench, *, path: str, method: str, status: int, valid: int, invalid: int) -> None:
    """A 206 counts as a valid range request, 412, 413 and 416 as invalid ones, all else as neither."""
    bench.exchange(ask(path, {"Range": "bytes=0-0"}, method=method)).end(Ending.COMPLETE, status, 0)
    counts = [bench.count("range_requests_total", result=result) for result in ("valid", "invalid")]
    assert counts == [valid, invalid]


@pytest.mark.parametrize("path", [CHUNK, MANIFEST, IMAGE + "/meta", "/v1/images", "/nowhere"])
@pytest.mark.parametrize("status", [412, 413])
def test_no_ranges_elsewhere(ask: Ask, bench: Bench, path: str, status: int) -> None:
    """Where ranges mean nothing, no refusal counts as one of a range."""
    bench.exchange(ask(path)).end(Ending.COMPLETE, status, 0)
    assert bench.count("range_requests_total", result="invalid") == 0


def test_clock_that_goes_back(ask: Ask, bench: Bench) -> None:
    """A clock that was set back gives a duration of nought, not a negative one."""
    bench.clock.advance(10)
    exchange = bench.exchange(ask())
    bench.clock.rightNow -= 5
    exchange.end(Ending.COMPLETE, 200, 0)
    assert bench.log.events[0][2]["latency_seconds"] == 0


def test_close_that_fails(ask: Ask, bench: Bench, drive: Drive) -> None:
    """A blob whose closing fails keeps neither the place nor the line nor the counters from their due."""
    exchange = bench.exchange(ask())
    exchange.place = drive(bench.admission.acquire())
    exchange.blob = bench.store.put("disk.img")
    bench.disk.error = OSError("EIO")
    exchange.end(Ending.COMPLETE, 200, 1000)
    assert (bench.admission.taken, len(bench.log.events)) == (0, 1)


def test_place_goes_to_the_next(ask: Ask, bench: Bench, drive: Drive) -> None:
    """Who waits in the queue gets the place in the moment the exchange ends."""
    holders = [bench.exchange(ask()) for _ in range(2)]
    for holder in holders:
        holder.place = drive(bench.admission.acquire())
    waiting = bench.admission.acquire()
    assert not waiting.called
    holders[0].end(Ending.DISCONNECTED, 499, 0)
    assert waiting.called
    assert bench.admission.taken == 2
