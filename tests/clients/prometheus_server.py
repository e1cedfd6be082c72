"""Prometheus that scrapes a daemon, as the tests of what etc/ has for it ask it."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

STANDS_FOR = {"$__rate_interval": "5s", "$__range": "1m", "$job": "aero-storage", "$instance": ".*"}
PATIENCE = 15.0
"""Seconds for an answer: rates take two scrapes, which are a second apart."""

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: aero-storage
    static_configs: [{{targets: ["{target}"]}}]
"""


def until(check: Callable[[], Any], between: Callable[[], object] = lambda: None) -> Any:
    """Ask again and again until there is an answer."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        assert time.monotonic() < deadline, f"no answer in {PATIENCE} s"
        between()
        time.sleep(0.05)
    return answer


def fetched(url: str, headers: dict[str, str] | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as response:
        data: bytes = response.read()
        return data


@attrs.frozen
class Prometheus:
    """A Prometheus that scrapes a daemon."""

    url: str
    come: Callable[[], object]
    """Has clients come to the daemon."""

    def asked(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            answer = json.loads(fetched(url))
        except urllib.error.HTTPError as error:
            with error:
                pytest.fail(f"{path} {parameters}: {error.read().decode()}")
        assert answer["status"] == "success"
        return answer["data"]

    def numbers(self, query: str) -> list[float]:
        """What a query gives now; nothing as long as there is a result that is no number yet."""
        found = [float(one["value"][1]) for one in self.asked("query", query=query)["result"]]
        return found if all(map(math.isfinite, found)) else []

    def answer(self, query: str) -> list[float]:
        """Have clients come until a query has a result, and give it."""
        found: list[float] = until(lambda: self.numbers(query), self.come)
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, once all have been evaluated."""

        def evaluated() -> list[dict[str, Any]]:
            (group,) = self.asked("rules")["groups"]
            found: list[dict[str, Any]] = group["rules"]
            return [] if any(rule["health"] == "unknown" for rule in found) else found

        rules: list[dict[str, Any]] = until(evaluated)
        return rules


@contextmanager
def prometheus_of(
    program: str, place: Path, rules: Path, url: str, come: Callable[[], object]
) -> Iterator[Prometheus]:
    """Run a Prometheus with these rules that scrapes the daemon at `url` every second."""
    target = url.removeprefix("http://")
    (place / "prometheus.yml").write_text(CONFIG.format(rules=json.dumps(str(rules)), target=target))
    flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *flags, "--log.format=json"], cwd=place, stdout=output, stderr=output)
    try:
        address = until(lambda: listening(process, log))
        yield Prometheus(f"http://{address}", come)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening(process: subprocess.Popen[bytes], log: Path) -> str | None:
    """The address of a Prometheus that has begun to answer."""
    text = log.read_text(encoding="utf-8")
    assert process.poll() is None, f"prometheus has ended:\n{text}"
    lines = [json.loads(line) for line in text.rpartition("\n")[0].splitlines() if line.startswith("{")]
    addresses = [str(line["address"]) for line in lines if line.get("msg") == "Listening on"]
    return addresses[0] if addresses and any("ready to receive" in line.get("msg", "") for line in lines) else None


def filled_in(query: str) -> str:
    for name, value in STANDS_FOR.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def selectors(rules: Path) -> set[str]:
    """The series that alerts look at."""
    found = re.findall(r"[a-z_]+\{[^{}]*\}", re.sub(r"\{\{.*?\}\}", "", rules.read_text(encoding="utf-8")))
    return {one for one in found if not one.startswith("labels")}
