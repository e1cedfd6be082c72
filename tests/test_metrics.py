"""The instruments of http.md §9, read back from their exposition by prometheus_client's own parser."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from aero_storage.metrics import CONTENT_TYPE, OTHER, Counts, Gauge, Metrics
from aero_storage.metrics.instruments import Mode

BUCKETS = [
    *("0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5"),
    *("1.0", "2.5", "5.0", "10.0", "+Inf"),
]
ORIGIN = {Gauge.ORIGIN_UP, Gauge.CACHE_BYTES, Gauge.CACHE_LIMIT}
"""Shown only over an object store, or with its cache."""
LEASES = {gauge for gauge in Gauge if gauge.name.startswith("LEASE_")}
"""Shown only where leases are asked for."""
RELOADED_AT = "aero_storage_catalog_reload_last_success_timestamp_seconds"

Families = Mapping[str, Metric]
Value = Callable[..., float | None]


MODES: tuple[Mode, ...] = ("range", "full", "chunk", "virtual_chunk")
ZEROS: list[tuple[str, dict[str, str]]] = [
    ("image_bytes_served_total", {"image_id": OTHER}),
    *(("aero_storage_bytes_sent_total", {"mode": str(mode)}) for mode in MODES),
    *(("aero_storage_rejections_total", {"reason": reason}) for reason in ("queue_full", "timed_out")),
    *(("aero_storage_responses_broken_off_total", {"outcome": outcome}) for outcome in ("aborted", "disconnected")),
    *(
        ("aero_storage_connections_refused_total", {"reason": reason})
        for reason in ("total", "client", "descriptors")
    ),
    ("aero_storage_streams_stalled_total", {}),
    ("aero_storage_places_taken_back_total", {}),
    ("aero_storage_waiting_bodies_closed_total", {}),
    ("aero_storage_log_lines_dropped_total", {}),
    ("aero_storage_queue_wait_seconds_count", {}),
    ("aero_storage_reactor_delay_seconds_count", {}),
]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, "1.2.3", 100)


@pytest.fixture
def value(registry: CollectorRegistry) -> Value:
    """Read one sample by its name and labels; None if there is no such series."""

    def read(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    return read


def families(metrics: Metrics) -> Families:
    text = metrics.exposition().decode("utf-8")
    return {family.name: family for family in text_string_to_metric_families(text)}


def exercise(metrics: Metrics) -> None:
    metrics.request_ended("/healthz", "GET", 200, 0.01)
    metrics.bytes_sent("disk.img", 1)
    metrics.range_answered(valid=True)
    metrics.store_failed("meta")
    metrics.catalog_loaded(1.0)
    metrics.catalog_failed()


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("http_requests", "counter", {"route", "method", "status"}),
        ("http_request_duration_seconds", "histogram", {"route", "method"}),
        ("image_bytes_served", "counter", {"image_id"}),
        ("range_requests", "counter", {"result"}),
        ("store_errors", "counter", {"kind"}),
        ("aero_storage_server_build_info", "gauge", {"version"}),
        ("aero_storage_catalog_reload", "counter", {"result"}),
        ("aero_storage_bytes_sent", "counter", {"mode"}),
        ("aero_storage_rejections", "counter", {"reason"}),
        ("aero_storage_responses_broken_off", "counter", {"outcome"}),
        ("aero_storage_connections_refused", "counter", {"reason"}),
        ("aero_storage_streams_stalled", "counter", set[str]()),
        ("aero_storage_places_taken_back", "counter", set[str]()),
        ("aero_storage_waiting_bodies_closed", "counter", set[str]()),
        ("aero_storage_log_lines_dropped", "counter", set[str]()),
        ("aero_storage_queue_wait_seconds", "histogram", set[str]()),
        ("aero_storage_reactor_delay_seconds", "histogram", set[str]()),
        (RELOADED_AT, "gauge", set[str]()),
        *((gauge.value, "gauge", set[str]()) for gauge in Gauge if gauge not in ORIGIN | LEASES),
    ],
)
def test_instruments(metrics: Metrics, name: str, kind: str, labels: set[str]) -> None:
    """Every instrument has the documented name, type and labels (the parser takes `_total` off counters)."""
    exercise(metrics)
    family = families(metrics)[name]
    assert family.type == kind
    assert family.documentation
    assert {frozenset(sample.labels) - {"le"} for sample in family.samples} == {frozenset(labels)}
    suffix = "_total" if kind == "counter" else ""
    assert kind == "histogram" or {sample.name for sample in family.samples} == {name + suffix}


def test_no_other_instruments(metrics: Metrics) -> None:
    """Beside the instruments of http.md there are ours, which say so, and those of the process."""
    exercise(metrics)
    documented = {
        "http_requests",
        "http_request_duration_seconds",
        "image_bytes_served",
        "range_requests",
        "store_errors",
    }
    others = {name for name in families(metrics) if not name.startswith("aero_storage_")} - documented
    assert all(name.startswith("process_") for name in others)
    assert "process_open_fds" in others


def test_zeros_from_the_start(metrics: Metrics, value: Value) -> None:
    """Series with a fixed set of labels are there with 0 before anything has happened, and no others."""
    samples = {name: len(family.samples) for name, family in families(metrics).items()}
    assert [value("range_requests_total", result=result) for result in ("valid", "invalid")] == [0, 0]
    kinds = ("meta", "open_range", "manifest")
    assert [value("store_errors_total", kind=kind) for kind in kinds] == [0, 0, 0]
    results = ("success", "failure")
    assert [value("aero_storage_catalog_reload_total", result=result) for result in results] == [0, 0]
    assert value(RELOADED_AT) == 0
    assert value("aero_storage_server_build_info", version="1.2.3") == 1
    assert (samples["range_requests"], samples["store_errors"]) == (2, 3)
    for name, labels in ZEROS:
        assert value(name, **labels) == 0, name
    assert (samples["http_requests"], samples["image_bytes_served"]) == (0, 1)


def test_lease_documents(metrics: Metrics, value: Value) -> None:
    """Readings of lease documents count by document and result; before the first one there are no such series."""
    assert "aero_storage_lease_reload" not in families(metrics)
    metrics.lease_document_loaded("keys")
    assert value("aero_storage_lease_reload_total", document="keys", result="success") == 1
    assert value("aero_storage_lease_reload_total", document="keys", result="failure") == 0
    metrics.lease_document_failed("keys")
    metrics.lease_document_loaded("revocations")
    assert value("aero_storage_lease_reload_total", document="keys", result="failure") == 1
    assert value("aero_storage_lease_reload_total", document="revocations", result="success") == 1


def test_lease_gauges_of_several_processes(metrics: Metrics) -> None:
    """All processes read the same files, so their numbers are no sums; processes with a broken file are counted."""
    total = Counts(process=metrics.snapshot().process)
    for invalid in (1.0, 0.0, 1.0):
        total.add(Counts(gauges={Gauge.LEASE_KEYS: 3.0, Gauge.LEASE_KEYS_INVALID: invalid}))
    text = metrics.exposition(total).decode()
    assert "\naero_storage_lease_keys 3.0\n" in text
    assert "\naero_storage_lease_keys_invalid 2.0\n" in text
    assert "aero_storage_lease_revocations" not in text, "there is no such file"


def test_no_created_series(metrics: Metrics) -> None:
    """No `_created` series, for counters as for histograms."""
    exercise(metrics)
    assert b"_created" not in metrics.exposition()


def test_text_format(metrics: Metrics) -> None:
    """The exposition is the plain text format 0.0.4, and its media type says so; it is no OpenMetrics."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    text = metrics.exposition()
    assert text.endswith(b"\n")
    assert b"# EOF" not in text


def test_requests(metrics: Metrics, value: Value) -> None:
    """Requests are counted by route, method and status, and timed by route and method."""
    labels = {"route": "/v1/images/:image_id", "method": "GET"}
    for status, seconds in ((206, 0.0005), (206, 0.2), (416, 20.0)):
        metrics.request_ended(labels["route"], labels["method"], status, seconds)
    assert value("http_requests_total", **labels, status="206") == 2
    assert value("http_requests_total", **labels, status="416") == 1
    assert value("http_request_duration_seconds_count", **labels) == 3
    assert value("http_request_duration_seconds_sum", **labels) == pytest.approx(20.2005)


def test_buckets(metrics: Metrics) -> None:
    """The histogram has the buckets of http.md; a value on a bound belongs below it."""
    metrics.request_ended("/healthz", "GET", 200, 0.005)
    samples = families(metrics)["http_request_duration_seconds"].samples
    counts = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert list(counts) == BUCKETS
    assert [bound for bound in BUCKETS if counts[bound]] == BUCKETS[2:]


def test_ranges(metrics: Metrics, value: Value) -> None:
    """Range requests are counted as valid or invalid."""
    for valid in (True, False, True):
        metrics.range_answered(valid=valid)
    assert [value("range_requests_total", result=result) for result in ("valid", "invalid")] == [2, 1]


@pytest.mark.parametrize("reason", ["total", "client", "descriptors"])
def test_refusals(metrics: Metrics, value: Value, reason: str) -> None:
    """Refused connections are counted by reason, many at once too."""
    metrics.connection_refused(reason)
    metrics.connection_refused(reason, 4)
    assert value("aero_storage_connections_refused_total", reason=reason) == 5


@pytest.mark.parametrize(
    ("happen", "name", "labels"),
    [
        (Metrics.stream_stalled, "streams_stalled", {}),
        (Metrics.place_taken_back, "places_taken_back", {}),
        (Metrics.waiting_body_closed, "waiting_bodies_closed", {}),
        (lambda metrics: metrics.request_rejected("timed_out"), "rejections", {"reason": "timed_out"}),
        (lambda metrics: metrics.request_rejected("queue_full"), "rejections", {"reason": "queue_full"}),
        (lambda metrics: metrics.broken_off("aborted"), "responses_broken_off", {"outcome": "aborted"}),
        (lambda metrics: metrics.broken_off("disconnected"), "responses_broken_off", {"outcome": "disconnected"}),
    ],
)
def test_troubles(
    metrics: Metrics, value: Value, happen: Callable[[Metrics], None], name: str, labels: dict[str, str]
) -> None:
    """Each trouble is counted where it belongs, and nowhere else."""
    before = metrics.exposition().splitlines()
    happen(metrics)
    happen(metrics)
    assert value(f"aero_storage_{name}_total", **labels) == 2
    changed = [line for line in metrics.exposition().splitlines() if line not in before]
    assert [line for line in changed if line.startswith(b"aero_storage_")] == [
        line for line in changed if line.startswith(f"aero_storage_{name}_total".encode())
    ]


@pytest.mark.parametrize("mode", MODES)
def test_modes(metrics: Metrics, value: Value, mode: Mode) -> None:
    """Bytes are counted by how they were asked for."""
    metrics.delivered(mode, 2**40)
    metrics.delivered(mode, 1)
    counted = {one: value("aero_storage_bytes_sent_total", mode=one) for one in MODES}
    assert counted == dict.fromkeys(MODES, 0) | {mode: 2**40 + 1}


def test_waits_and_delays(metrics: Metrics, value: Value) -> None:
    """Waits and delays come in the buckets of all our histograms, beyond the last one too."""
    for seconds in (0.0, 0.3, 20.0):
        metrics.request_waited(seconds)
    metrics.reactor_delayed(0.04)
    assert [value("aero_storage_queue_wait_seconds_bucket", le=le) for le in ("0.001", "0.5", "+Inf")] == [1, 2, 3]
    assert value("aero_storage_queue_wait_seconds_sum") == pytest.approx(20.3)
    assert [value("aero_storage_reactor_delay_seconds_bucket", le=le) for le in ("0.025", "0.05")] == [0, 1]


def test_gauges_are_read_when_shown(registry: CollectorRegistry, value: Value) -> None:
    """What is now is asked for by every exposition, and what the log has dropped by now too."""
    queue, dropped = [0], [0]
    Metrics(registry, "1", 1, {Gauge.QUEUE: lambda: len(queue)}, lambda: len(dropped))
    assert (value(Gauge.QUEUE), value("aero_storage_log_lines_dropped_total")) == (1, 1)
    queue.append(0)
    dropped.clear()
    assert (value(Gauge.QUEUE), value("aero_storage_log_lines_dropped_total")) == (2, 0)


def test_descriptors(metrics: Metrics, value: Value) -> None:
    """The part of the descriptors that is open is that of the process metrics."""
    process = metrics.snapshot().process
    used = process["process_open_fds"] / process["process_max_fds"]
    assert value(Gauge.DESCRIPTORS_USED) == pytest.approx(used, rel=0.01)


@pytest.mark.parametrize("kind", ["meta", "open_range", "manifest"])
def test_store_errors(metrics: Metrics, value: Value, kind: str) -> None:
    """A failure of the store counts for its kind alone."""
    metrics.store_failed(kind)
    counts = {name: value("store_errors_total", kind=name) for name in ("meta", "open_range", "manifest")}
    assert counts == {"meta": 0, "open_range": 0, "manifest": 0} | {kind: 1}


def test_reloads(metrics: Metrics, value: Value) -> None:
    """Readings of the catalog are counted by result; only a good one moves the time stamp."""
    metrics.catalog_loaded(1_700_000_000.5)
    metrics.catalog_failed()
    metrics.catalog_failed()
    counts = [value("aero_storage_catalog_reload_total", result=result) for result in ("success", "failure")]
    assert counts == [1, 2]
    assert value(RELOADED_AT) == 1_700_000_000.5


def test_bytes(metrics: Metrics, value: Value) -> None:
    """Bytes add up by image, beyond 32 bits without loss."""
    for _ in range(3):
        metrics.bytes_sent("disk.img", 20 * 2**30 + 1)
    metrics.bytes_sent("other.img", 5)
    assert value("image_bytes_served_total", image_id="disk.img") == 3 * (20 * 2**30 + 1)
    assert value("image_bytes_served_total", image_id="other.img") == 5


def test_no_bytes_no_series(metrics: Metrics, value: Value) -> None:
    """A response without a byte makes no series and takes no label: ids that do not exist stay out."""
    for number in range(200):
        metrics.bytes_sent(f"no-such-image-{number}", 0)
    metrics.bytes_sent("disk.img", 1)
    assert value("image_bytes_served_total", image_id="disk.img") == 1
    shown = [sample.labels["image_id"] for sample in families(metrics)["image_bytes_served"].samples]
    assert shown == [OTHER, "disk.img"]


@pytest.mark.parametrize("limit", [0, 1, 100])
def test_limit_of_ids(registry: CollectorRegistry, value: Value, limit: int) -> None:
    """The first ids keep labels of their own for good, all others share one; no byte is lost."""
    metrics = Metrics(registry, "1", limit)
    for _ in range(2):
        for number in range(limit + 3):
            metrics.bytes_sent(f"image-{number}", 10)
    for number in range(limit):
        assert value("image_bytes_served_total", image_id=f"image-{number}") == 20
    assert value("image_bytes_served_total", image_id=OTHER) == 60
    assert OTHER == "__other__"
    assert len(families(metrics)["image_bytes_served"].samples) == limit + 1


def test_two_registries() -> None:
    """Instruments belong to the registry that is passed in: two sets live side by side in one process."""
    one, other = (Metrics(CollectorRegistry(), "1", 100) for _ in range(2))
    one.store_failed("meta")
    exposed = [families(each)["store_errors"].samples[0].value for each in (one, other)]
    assert exposed == [1, 0]


def test_odd_version(registry: CollectorRegistry, value: Value) -> None:
    """A version with characters that the format escapes survives the way out and back."""
    metrics = Metrics(registry, 'a"b\\c\nd', 100)
    (sample,) = families(metrics)["aero_storage_server_build_info"].samples
    assert sample.labels == {"version": 'a"b\\c\nd'}
    assert value("aero_storage_server_build_info", version='a"b\\c\nd') == 1


def test_counts_add_up(metrics: Metrics) -> None:
    """Counts of two processes add up, label by label; of times of reading a catalog the latest is kept."""
    exercise(metrics)
    other = Metrics(CollectorRegistry(), "1", 100)
    exercise(other)
    other.bytes_sent("other.img", 5)
    other.request_ended("/healthz", "GET", 404, 0.01)
    other.catalog_loaded(0.5)
    total = Counts()
    for counts in (metrics.counts, other.counts):
        total.add(counts)
    assert total.bytes == {(OTHER,): 0, ("disk.img",): 2, ("other.img",): 5}
    assert total.requests == {("/healthz", "GET", "200"): 2, ("/healthz", "GET", "404"): 1}
    (row,) = total.durations.values()
    assert sum(row[:-1]) == 3
    assert row[-1] == pytest.approx(0.03)
    assert total.reloads == {("success",): 3, ("failure",): 2}
    assert total.reloaded_at == 1.0
    assert metrics.counts.bytes == {(OTHER,): 0, ("disk.img",): 1}, "what is added stays as it is"


def test_processes_add_up() -> None:
    """Of processes everything adds up but the start, of which the earliest counts; of a dead one time is left."""
    start, spent, files = "process_start_time_seconds", "process_cpu_seconds_total", "process_open_fds"
    total = Counts()
    total.add(Counts(process={start: 20.0, spent: 1.0, files: 3.0}))
    total.add(Counts(process={start: 10.0, spent: 2.0, files: 4.0}))
    assert total.process == {start: 10.0, spent: 3.0, files: 7.0}
    assert total.after_exit().process == {spent: 3.0}
    assert Counts(bytes={("a",): 1}).after_exit() == Counts(bytes={("a",): 1})


def test_the_present_adds_up() -> None:
    """What is now adds up over processes, but of ratios the highest counts; of a dead process nothing is left."""
    total = Counts()
    for length, used in ((1.0, 0.5), (2.0, 0.75), (0.0, 0.25)):
        gauges: dict[str, float] = {Gauge.QUEUE: length, Gauge.PLACES_USED: used, Gauge.DESCRIPTORS_USED: used / 2}
        total.add(Counts(gauges=gauges))
    assert total.gauges == {Gauge.QUEUE: 3.0, Gauge.PLACES_USED: 0.75, Gauge.DESCRIPTORS_USED: 0.375}
    assert total.after_exit().gauges == {}
    total.after_exit().add(Counts(gauges={Gauge.QUEUE: 1.0}))
    assert total.gauges[Gauge.QUEUE] == 3.0, "the remains are a copy"


def test_histograms_add_up(metrics: Metrics) -> None:
    """Delays and waits of two processes add up, and stay when one of them has ended."""
    metrics.reactor_delayed(0.04)
    metrics.request_waited(0.3)
    total = Counts()
    total.add(metrics.counts)
    total.add(metrics.counts.after_exit())
    assert [sum(row[()][:-1]) for row in (total.reactor_delays, total.queue_waits)] == [2, 2]
    assert sum(metrics.counts.reactor_delays[()][:-1]) == 1


def test_total_is_shown(metrics: Metrics, value: Value) -> None:
    """A total is shown in place of what this process has counted, once."""
    exercise(metrics)
    total = Counts(process=metrics.snapshot().process)
    for _ in range(3):
        total.add(metrics.counts)
    text = metrics.exposition(total).decode()
    assert 'image_bytes_served_total{image_id="disk.img"} 3.0' in text
    assert 'http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/healthz"} 3.0' in text
    assert 'aero_storage_server_build_info{version="1.2.3"} 1.0' in text
    assert value("image_bytes_served_total", image_id="disk.img") == 1
