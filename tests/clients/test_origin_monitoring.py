"""What etc/ has for Prometheus and Grafana about object stores: sound rules that fire in time, sound panels."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "etc/prometheus/aero-storage-origin.rules.yml"
TESTS = Path(__file__).with_name("origin_alerts.test.yml")
DASHBOARD: dict[str, Any] = json.loads((PROJECT / "etc/grafana/aero-storage-origin.json").read_text(encoding="utf-8"))
MAIN: dict[str, Any] = json.loads((PROJECT / "etc/grafana/aero-storage.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)
METRICS = {
    "aero_storage_bytes_sent_total",
    "aero_storage_cache_bytes",
    "aero_storage_cache_damaged_total",
    "aero_storage_cache_evicted_bytes_total",
    "aero_storage_cache_limit_bytes",
    "aero_storage_cache_requests_total",
    "aero_storage_origin_bytes_total",
    "aero_storage_origin_request_seconds_bucket",
    "aero_storage_origin_requests_total",
    "aero_storage_origin_up",
}


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


def test_metrics_are_known() -> None:
    """Alerts and panels ask for no other metrics than these, and for each of them somewhere."""
    panels = " ".join(target["expr"] for panel in PANELS for target in panel["targets"])
    expressions = RULES.read_text(encoding="utf-8") + panels
    assert set(re.findall(r"\b(aero_storage_\w+)\{", expressions)) == METRICS


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
