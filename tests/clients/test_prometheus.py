"""What etc/ has for Prometheus and Grafana: every query gets an answer from a Prometheus that scrapes the daemon."""

from __future__ import annotations

import json
import re
import socket
import struct
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.clients.prometheus_server import Prometheus, fetched, filled_in, prometheus_of, selectors, until

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "etc/prometheus/aero-storage.rules.yml"
SAMPLE = PROJECT / "etc/prometheus/prometheus.yml"
DASHBOARD: dict[str, Any] = json.loads((PROJECT / "etc/grafana/aero-storage.json").read_text(encoding="utf-8"))
ORIGIN_DASHBOARD = (PROJECT / "etc/grafana/aero-storage-origin.json").read_text(encoding="utf-8")
METRICS = PROJECT / "docs/reference/metrics.md"
ALERT_TESTS = Path(__file__).with_name("alerts.test.yml")
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} {one['refId']}": one["expr"] for panel in PANELS for one in panel["targets"]}
VARIABLES: list[dict[str, Any]] = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
BIG = 64 << 20
"""More than the buffers of a connection take."""


@attrs.frozen
class Clients:
    """A bit of everything that clients do to a daemon with a single place."""

    url: str

    def come(self) -> None:
        """Ask in every delivery mode, go wrong in some ways, and wait for a place."""
        images = f"{self.url}/v1/images"
        fetched(f"{images}/disk")
        fetched(f"{images}/disk/chunked/chunks/00000000.bin")
        fetched(f"{images}/cut/chunked/chunks/00000000.bin")
        for path, headers, status in (
            ("/v1/images/nothing", {}, 401),
            ("/v1/images/disk", {"Range": "bytes=5-2"}, 416),
            ("/readyz", {}, 503),
        ):
            with pytest.raises(urllib.error.HTTPError) as failed:
                fetched(f"{self.url}{path}", headers)
            assert failed.value.code == status
            failed.value.close()
        self._queue()

    def _queue(self) -> None:
        with self._ask("/v1/images/big") as slow:
            assert slow.recv(100)
            with self._ask("/v1/images/disk", "Range: bytes=0-9\r\n") as waiting:
                until(lambda: b"\naero_storage_queue_length 1.0\n" in fetched(f"{self.url}/metrics"))
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                slow.close()
                assert waiting.recv(100).startswith(b"HTTP/1.1 206 ")

    def _ask(self, path: str, lines: str = "") -> socket.socket:
        host, _, port = self.url.removeprefix("http://").partition(":")
        client = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
        return client


@pytest.fixture(scope="module")
def clients(
    start_daemon: Callable[..., tuple[str, int, Path]],
    operate: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Clients:
    """A daemon with one place, and images of every kind, one of them missing: it is not ready."""
    root = tmp_path_factory.mktemp("watched")
    (root / "disk.img").write_bytes(bytes(range(256)) * 4096)
    with (root / "big.img").open("wb") as big:
        big.truncate(BIG)
    images: list[dict[str, object]] = [
        {"id": name, "file": f"{name}.img", "name": name} for name in ("disk", "big", "missing")
    ]
    images.append({"id": "cut", "file": "disk.img", "name": "cut", "virtual_chunks": True})
    (root / "manifest.json").write_text(json.dumps({"images": images}))
    operate(root, "publish", "disk", "--chunk-size", "512KiB")
    keys, revoked = root / "keys.json", root / "revoked.jsonl"
    operate(root, "lease", "keys", "new", "--keys", str(root / "issuer.json"))
    operate(root, "lease", "keys", "public", "--keys", str(root / "issuer.json"), "--out", str(keys))
    revoked.write_text('{"jti": "a"}\n')
    leases = f"--lease-keys-file={keys}", f"--lease-revocations-file={revoked}"
    places = "--max-concurrent-bytes-requests=1", "--bytes-queue-timeout-secs=10"
    return Clients(start_daemon(root, *places, *leases)[0])


@pytest.fixture(scope="module")
def prometheus(
    clients: Clients, require_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus with our rules that scrapes the daemon every second."""
    program = require_tool("prometheus", package="prometheus")
    with prometheus_of(program, tmp_path_factory.mktemp("prometheus"), RULES, clients.url, clients.come) as running:
        yield running


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_dashboard_query(prometheus: Prometheus, query: str) -> None:
    """Every query of the dashboard is a valid one, and has numbers to show."""
    assert prometheus.answer(filled_in(query))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda one: one["name"])
def test_dashboard_variable(prometheus: Prometheus, clients: Clients, variable: dict[str, Any]) -> None:
    """The dashboard finds the job and the instance."""
    query = variable["query"]["query"]
    assert query == variable["definition"]
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert match
    prometheus.answer("aero_storage_server_build_info")
    values = prometheus.asked(f"label/{match[2]}/values", **{"match[]": filled_in(match[1])})
    assert values == {"job": ["aero-storage"], "instance": [clients.url.removeprefix("http://")]}[match[2]]


def test_delivery_modes(prometheus: Prometheus) -> None:
    """Bytes of all four delivery modes arrive in Prometheus, as many as are counted by image."""
    assert len(until(lambda: prometheus.numbers("aero_storage_bytes_sent_total > 0"), prometheus.come)) == 4
    assert prometheus.numbers("sum(aero_storage_bytes_sent_total) - sum(image_bytes_served_total)") == [0.0]


def test_rules_are_evaluated(prometheus: Prometheus) -> None:
    """Prometheus loads all alerts, and evaluates them without an error."""
    rules = prometheus.rules()
    assert {rule["name"] for rule in rules} == set(alerts())
    assert [rule for rule in rules if rule["health"] != "ok"] == []


def looked_at() -> set[str]:
    """The series that alerts look at, but for a status that no request to this daemon gets."""
    return {one.replace(', status=~"5.."', "") for one in selectors(RULES)}


@pytest.mark.parametrize("selector", sorted(looked_at()))
def test_alerts_look_at_what_exists(prometheus: Prometheus, selector: str) -> None:
    """Each series that an alert hangs on is there: a misspelt one would keep it silent for ever."""
    assert prometheus.answer(f"count({selector})")


def alerts() -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    "words", [("check", "rules", RULES), ("check", "config", SAMPLE), ("test", "rules", ALERT_TESTS)], ids=str
)
def test_promtool(
    require_tool: Callable[..., str], run_tool: Callable[..., str], words: tuple[str | Path, ...]
) -> None:
    """Rules and sample are sound; the alerts fire when they should, and not before, and say what they should."""
    assert "SUCCESS" in run_tool(require_tool("promtool", package="prometheus"), *words)


def test_every_alert_is_tested() -> None:
    """Each alert has a test in which it fires, one in which it does not fire yet, and one of a healthy daemon."""
    tested = re.findall(r"alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:( \[\])?", ALERT_TESTS.read_text())
    names = alerts()
    assert len(names) == len(set(names)) == 18
    for name in names:
        silent = [bool(nothing) for alert, nothing in tested if alert == name]
        assert (silent.count(True) >= 2, silent.count(False) >= 1) == (True, True), name


def test_every_alert_explains_itself() -> None:
    """Each alert has a severity, a summary that names the instance, and a description."""
    rules = RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    for rule in rules:
        assert re.search(r"labels: \{severity: (critical|warning)\}", rule)
        assert re.search(r'summary: ".*\$labels\.instance.*"', rule)
        assert "description: " in rule


def test_every_metric_is_shown() -> None:
    """Each metric of ours that is documented has a panel, here or in the dashboard of object stores."""
    documented = re.findall(r"^\| `(\w+)` ", METRICS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(documented) > 20
    shown = set(re.findall(r"(\w+?)(?:_bucket)?\{", " ".join([*QUERIES.values(), ORIGIN_DASHBOARD])))
    assert sorted(set(documented) - shown) == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel(panel: dict[str, Any]) -> None:
    """Each panel has title, unit and explanation, and asks the chosen data source for the chosen instances."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for asked in (panel, *panel["targets"]):
        assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    references = [target["refId"] for target in panel["targets"]]
    assert references
    assert len(references) == len(set(references))
    for target in panel["targets"]:
        scope = re.findall(r"\w+\{([^}]*)\}", target["expr"])
        assert scope
        assert all('job=~"$job", instance=~"$instance"' in one for one in scope)


def test_layout() -> None:
    """The dashboard is one that Grafana takes: a version of the schema, ids of its own, no panel upon another."""
    assert DASHBOARD["schemaVersion"] >= 36
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("aero-storage", "aero-storage")
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    panels = DASHBOARD["panels"]
    for key in ("id", "title"):
        values = [panel[key] for panel in panels]
        assert len(values) == len(set(values))
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
