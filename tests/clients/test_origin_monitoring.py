"""What etc/ has for Prometheus and Grafana about object stores: sound rules that fire in time, sound panels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from tests.clients.prometheus_server import Prometheus, fetched, filled_in, prometheus_of, selectors
from tests.object_store.server import ObjectStore

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "etc/prometheus/aero-storage-origin.rules.yml"
TESTS = Path(__file__).with_name("origin_alerts.test.yml")
DASHBOARD: dict[str, Any] = json.loads((PROJECT / "etc/grafana/aero-storage-origin.json").read_text(encoding="utf-8"))
MAIN: dict[str, Any] = json.loads((PROJECT / "etc/grafana/aero-storage.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)
QUERIES = {f"{panel['title']} {one['refId']}": one["expr"] for panel in PANELS for one in panel["targets"]}
METRICS = re.findall(
    r"^\| `(aero_storage_(?:origin|cache)_\w+)` ",
    (PROJECT / "docs/reference/metrics.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)
BLOCK = 65_536
BLOCKS = 256


@attrs.define
class Readers:
    """Clients of a daemon over a bucket; each time they come they read a block anew, and then again."""

    url: str
    next: int = 0

    def come(self) -> None:
        """Read a block that no client has read yet, and again."""
        first = BLOCK * (self.next % BLOCKS)
        self.next += 1
        for _ in range(2):
            fetched(f"{self.url}/v1/images/disk", {"Range": f"bytes={first}-{first + 99}"})


@pytest.fixture(scope="module")
def prometheus(
    start_daemon: Callable[..., tuple[str, int, Path]],
    require_tool: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """A Prometheus with our rules; it scrapes a daemon over a bucket, with a cache, every second."""
    program = require_tool("prometheus", package="prometheus")
    place = tmp_path_factory.mktemp("prometheus")
    with ObjectStore() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environ.items():
            patch.setenv(name, value)
        store.bucket("images").put("disk", bytes(BLOCK * BLOCKS))
        cache = ("--cache-dir", str(place / "cache"), "--cache-block-bytes", str(BLOCK))
        readers = Readers(start_daemon("s3://images", *cache)[0])
        with prometheus_of(program, place, RULES, readers.url, readers.come) as running:
            yield running


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_dashboard_query(prometheus: Prometheus, query: str) -> None:
    """Every query of the dashboard is a valid one, and has numbers to show."""
    assert prometheus.answer(filled_in(query))


def test_rules_are_evaluated(prometheus: Prometheus) -> None:
    """Prometheus loads all alerts, and evaluates them without an error."""
    rules = prometheus.rules()
    assert [rule["name"] for rule in rules] == ALERTS
    assert [rule for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("selector", sorted(selectors(RULES)))
def test_alerts_look_at_what_exists(prometheus: Prometheus, selector: str) -> None:
    """Each series that an alert hangs on is there: a misspelt one would keep it silent for ever."""
    assert prometheus.answer(f"count({selector})")


@pytest.mark.parametrize("words", [("check", "rules", RULES), ("test", "rules", TESTS)], ids=str)
def test_promtool(
    require_tool: Callable[..., str], run_tool: Callable[..., str], words: tuple[str | Path, ...]
) -> None:
    """The rules are sound; the alerts fire when they should, and not before, and say what they should."""
    assert "SUCCESS" in run_tool(require_tool("promtool", package="prometheus"), *words)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested(alert: str) -> None:
    """Each alert has a test in which it fires, one in which it does not fire yet, and one of a healthy daemon."""
    tested = re.findall(rf"alertname: {alert}\n +eval_time: \w+\n +exp_alerts:( \[\])?", TESTS.read_text())
    assert sorted(tested) == ["", " []", " []"]


def test_every_metric_is_shown() -> None:
    """Each metric of object stores and of the cache that is documented has a panel."""
    assert len(METRICS) >= 9
    shown = set(re.findall(r"(\w+?)(?:_bucket)?\{", " ".join(QUERIES.values())))
    assert sorted(set(METRICS) - shown) == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel(panel: dict[str, Any]) -> None:
    """Each panel has unit and explanation, and asks the chosen data source for the chosen instances."""
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for asked in (panel, *panel["targets"]):
        assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        scope = re.findall(r"\w+\{([^}]*)\}", target["expr"])
        assert scope
        assert all('job=~"$job", instance=~"$instance"' in one for one in scope)


def test_dashboard_stands_beside_the_other() -> None:
    """It is a dashboard of its own that is chosen for in the same way; no panel lies upon another."""
    assert DASHBOARD["uid"] != MAIN["uid"]
    assert DASHBOARD["templating"] == MAIN["templating"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DASHBOARD["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
