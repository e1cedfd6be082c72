"""Debian's nginx in front of three replicas, with the file from etc/nginx: who answers what, and who stands in."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.clients.nginx_proxy import CHUNKED, DISK, HOST_NAME, IMAGE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.clients.nginx_proxy import Curl

REPLICAS = 3
MANY = [f"/v1/images/other-{number}/meta" for number in range(40)]
"""So many that each replica gets one of them, wherever the ports of a run put it; most runs need three."""


@attrs.frozen
class Replica:
    """One of the daemons."""

    process_id: int
    log: Path

    def has(self, request_id: str) -> bool:
        return f'"{request_id}"' in self.log.read_text(encoding="utf-8")


@attrs.define
class Replicas:
    """nginx, and the daemons behind it."""

    curl: Curl
    all: list[Replica]
    asked: int = 0

    def ask(self, target: str, *words: str) -> tuple[int, bytes, Replica]:
        """Send a request, and tell who answered it."""
        self.asked += 1
        mark = f"replica-{self.asked}"
        answer = self.curl.fetch(target, *words, "-H", f"X-Request-Id: {mark}")
        (one,) = until(lambda: [replica for replica in self.all if replica.has(mark)], f"line {mark}")
        return answer.status, answer.body, one


@pytest.fixture(scope="module")
def replicas(
    start_daemon: Callable[..., tuple[str, int, Path]],
    start_nginx: Callable[..., tuple[Curl, int]],
    proxied_root: Path,
) -> Replicas:
    """Three daemons over the same images, and nginx in front."""
    daemons = [start_daemon(proxied_root, "--trusted-proxy", "127.0.0.1") for _ in range(REPLICAS)]
    upstreams = [url.removeprefix("http://") for url, _, _ in daemons]
    curl, _ = start_nginx("aero-storage-replicas.conf", *upstreams)
    return Replicas(curl, [Replica(process_id, log) for _, process_id, log in daemons])


def test_an_image_has_one_replica(replicas: Replicas) -> None:
    """All that is asked of an image goes to one replica, however the path is written; other images go to all."""
    status, body, home = replicas.ask(IMAGE, "-r", "7-99")
    assert (status, body) == (206, DATA_PART)
    for target in (f"{IMAGE}/meta", f"{CHUNKED}/manifest.json", "/v1/images/d%69sk/data", f"{IMAGE}?x=1"):
        assert replicas.ask(target, "-I")[2] == home
    seen = {home.process_id}
    for target in MANY:
        seen.add(replicas.ask(target, "-I")[2].process_id)
        if len(seen) == REPLICAS:
            return
    pytest.fail("one replica gets everything")


def test_refusals_are_passed_on(replicas: Replicas) -> None:
    """The answer of a replica is the client's, whatever it says: nobody else is asked."""
    replicas.asked += 1
    answer = replicas.curl.fetch("/v1/images/unknown", "-H", "X-Request-Id: refused")
    assert answer.status == 404
    until(lambda: any(replica.has("refused") for replica in replicas.all), "the line")
    assert sum(replica.has("refused") for replica in replicas.all) == 1


def test_metrics_are_closed(replicas: Replicas) -> None:
    """Nobody reads the metrics of some replica by way of nginx."""
    assert replicas.curl.address.startswith(f"https://{HOST_NAME}")
    assert replicas.curl.fetch("/metrics").status == 404


def test_another_stands_in(replicas: Replicas) -> None:  # the last: one replica is gone afterwards
    """A replica that is gone costs its clients nothing, and its images alone move."""
    homes = {target: replicas.ask(target, "-I")[2] for target in MANY[:8]}
    _, _, home = replicas.ask(IMAGE, "-r", "7-99")
    os.kill(home.process_id, signal.SIGKILL)
    status, body, other = replicas.ask(IMAGE, "-r", "7-99")
    assert (status, body) == (206, DATA_PART)
    assert other != home
    assert all(replicas.ask(target, "-I")[2] == was for target, was in homes.items() if was != home)


DATA_PART = DISK[7:100]
