"""What the metrics show of the present, in a daemon in memory; and the probe of the reactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aero_storage.logs.json_log import JsonLines
from aero_storage.metrics import Gauge, Metrics, Registry
from aero_storage.service.metric_sources import PROBE_SECONDS, DelayProbe, lines_dropped_by

if TYPE_CHECKING:
    from collections.abc import Mapping


ORIGIN = {Gauge.ORIGIN_UP, Gauge.CACHE_BYTES, Gauge.CACHE_LIMIT}
LEASES = {gauge for gauge in Gauge if gauge.name.startswith("LEASE_")}


def shown(stack: Any) -> Mapping[str, float]:
    """The gauges, as an exposition that nobody asked for over HTTP shows them."""
    text = stack.parts.handler.reporter.metrics.exposition().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {gauge.name: families[gauge].samples[0].value for gauge in Gauge if gauge not in ORIGIN | LEASES}


def test_all_are_known(stack: Any) -> None:
    """The daemon over a directory knows every gauge there is but those of an origin and of leases."""
    assert set(stack.parts.handler.reporter.metrics.snapshot().gauges) == {
        gauge.value for gauge in Gauge if gauge not in ORIGIN | LEASES
    }


def test_at_rest(stack: Any) -> None:
    """A daemon that has nothing to do says so."""
    quiet = shown(stack)
    assert {name for name, value in quiet.items() if value} == {"PLACES_LIMIT", "DESCRIPTORS_USED"}
    assert quiet["PLACES_LIMIT"] == 64


def test_connections(stack: Any) -> None:
    """Open connections count, idle or not, until they are lost; idle ones are no requests in flight."""
    one, two = stack.connect(), stack.connect()
    one.get("/healthz")
    assert (shown(stack)["CONNECTIONS"], shown(stack)["IN_FLIGHT"]) == (2, 0)
    one.lose()
    two.lose()
    assert shown(stack)["CONNECTIONS"] == 0


def test_half_a_head(stack: Any) -> None:
    """A request whose head has not come to its end is not being answered yet."""
    stack.connect().send(b"GET /v1/images/disk.img HTTP/1.1\r\n")
    assert shown(stack)["IN_FLIGHT"] == 0


def test_a_request_under_way(stack: Any) -> None:
    """While the disk is at work, the request is in flight and has its place; afterwards neither."""
    stack.pool.held = True
    stack.connect().get("/v1/images/disk.img")
    busy = shown(stack)
    assert (busy["IN_FLIGHT"], busy["PLACES_TAKEN"], busy["QUEUE"]) == (1, 1, 0)
    assert busy["PLACES_USED"] == busy["PLACES_TAKEN"] / busy["PLACES_LIMIT"]
    stack.pool.release()
    assert (shown(stack)["IN_FLIGHT"], shown(stack)["PLACES_TAKEN"]) == (0, 0)


def test_the_scrape_itself(stack: Any) -> None:
    """Who asks for the metrics is in flight, and knows it."""
    connection = stack.connect()
    connection.get("/metrics")
    assert b"\naero_storage_requests_in_flight 1.0\n" in connection.response().body


def test_broken_catalog(stack: Any) -> None:
    """A catalog that is invalid on disk shows until it is mended, though the last good one serves on."""
    manifest = stack.root / "manifest.json"
    for text, wrong in (("{", 1), ('{"images": [{"id": "a", "file": "a", "name": "A"}]}', 0)):
        manifest.write_text(text)
        Deferred.fromCoroutine(stack.parts.reloader.check(asked=True))
        assert shown(stack)["CATALOG_INVALID"] == wrong


@attrs.define(eq=False)
class Full:
    """A sink without room."""

    def write(self, text: str) -> None:
        raise OSError(text)

    def flush(self) -> None:
        raise AssertionError("nothing was written")


def test_lines_dropped() -> None:
    """What the log has dropped shows at the next look."""
    registry = Registry()
    log = JsonLines(Full(), "info")
    Metrics(registry, "1", 1, lines_dropped=lines_dropped_by(log))
    for dropped in range(3):
        assert registry.get_sample_value("aero_storage_log_lines_dropped_total") == dropped
        log.event("info", "lost")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_delays(clock: Clock) -> None:
    """How late the probe's timer fires is told each time: nothing in time, all that the reactor was held up else."""
    told: list[float] = []
    probe = DelayProbe(clock, told.append)
    probe.start()
    for late in (0.0, 0.0, 1.5, 0.0):
        clock.advance(PROBE_SECONDS + late)
    assert told == pytest.approx([0.0, 0.0, 1.5, 0.0])
    probe.stop()
    assert clock.getDelayedCalls() == []
    clock.advance(PROBE_SECONDS)
    assert len(told) == 4


def test_probe_that_never_began(clock: Clock) -> None:
    """A daemon that stops before it has started has nothing to stop."""
    DelayProbe(clock, lambda _: None).stop()
    assert clock.getDelayedCalls() == []
