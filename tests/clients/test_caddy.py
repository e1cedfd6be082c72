"""Debian's Caddy with the file from etc/caddy: what it passes on, and what the daemon's lease route refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.clients.leased_images import SECRET, LeasedImages, bearer, lease
from tests.clients.nginx_proxy import CHUNK, DISK, IMAGE, PATIENCE, Curl, NginxProxy, accepts, free_port, until
from tests.clients.test_nginx_leases import CARRIERS, LEASE_ROUTE, REFUSED, routes_asked, versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CADDYFILE = Path(__file__).parents[2] / "etc" / "caddy" / "Caddyfile"


def caddyfile(place: Path, upstream: str, port: int) -> str:
    """The file with what an operator edits, and without TLS and its certificates from the internet."""
    text = CADDYFILE.read_text(encoding="utf-8")
    edits = {
        "\n{\n": (1, "\n{\n\tadmin off\n"),
        "\nimages.example.com {": (1, f"\nhttp://127.0.0.1:{port} {{"),
        "/var/log/caddy/": (1, f"{place}/"),
        " 127.0.0.1:8080": (4, f" {upstream}"),  # one of them in a comment
    }
    for old, (times, new) in edits.items():
        assert text.count(old) == times, old
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def start_caddy(
    require_tool: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Curl]]:
    """Give a function that starts Caddy with the file before an upstream: curl for it."""
    caddy, curl = require_tool("caddy", package="caddy"), require_tool("curl", package="curl")
    running: list[subprocess.Popen[bytes]] = []

    def start(upstream: str) -> Curl:
        place, port = tmp_path_factory.mktemp("caddy"), free_port()
        (place / "Caddyfile").write_text(caddyfile(place, upstream, port), encoding="utf-8")
        own = {name: str(place / "own") for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        command = [caddy, "run", "--config", str(place / "Caddyfile"), "--adapter", "caddyfile"]
        with (place / "said").open("wb") as said:
            process = subprocess.Popen(
                command, cwd=place, env={**os.environ, **own}, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        running.append(process)

        def is_up() -> bool:
            assert process.poll() is None, (place / "said").read_text(encoding="utf-8")
            return accepts(port)

        until(is_up, "Caddy to listen")
        return Curl(curl, place, f"http://127.0.0.1:{port}")

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def proxy(
    start_caddy: Callable[[str], Curl],
    start_daemon: Callable[..., tuple[str, int, Path]],
    operate: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> NginxProxy:
    """Caddy in front of a daemon that asks for leases; bad ones are not limited."""
    images = LeasedImages.write(tmp_path_factory.mktemp("leased"), operate)
    url, _, log = start_daemon(images.root, *images.flags, "--lease-failures-per-sec", "0")
    curl = start_caddy(url.removeprefix("http://"))
    (curl.place / "direct").mkdir()
    return NginxProxy(curl, Curl(curl.path, curl.place / "direct", url), images.root, log, 0, is_cache=False)


TARGETS = ["{version}", "{version}/data", SECRET, f"{SECRET}/data", f"{SECRET}/chunked/v1/chunks/00000000.bin"]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("target", TARGETS)
def test_good_lease(proxy: NginxProxy, target: str, carrier: str) -> None:
    """With a good lease a request passes, once the lease route has been asked; the answer is the daemon's."""
    query, shown = CARRIERS[carrier](lease())
    words = ("-r", "0-9", *shown)
    target = target.format(version=versioned(proxy)) + query
    request_id = f"good-{carrier}-{target.partition('?')[0]}".replace(" ", "-")
    answer = proxy.curl.fetch(target, *words, "-H", f"X-Request-Id: {request_id}")
    assert answer.body[:10] == DISK[:10]
    assert int(answer.headers["aero-lease-remaining"]) > 500
    assert routes_asked(proxy, request_id)[0] == LEASE_ROUTE
    assert len(routes_asked(proxy, request_id)) == 2


@pytest.mark.parametrize(("words", "status"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("target", ["{version}", f"{SECRET}/chunked/v1/chunks/00000000.bin"])
def test_without_a_good_lease(
    proxy: NginxProxy, target: str, words: Callable[[], tuple[str, ...]], status: int
) -> None:
    """Without one only the lease route is asked; its refusal is the answer, as that of the bytes would be."""
    shown = (*words(), "-H", "Origin: https://a.test", "-H", f"X-Request-Id: bad-{status}-{id(words)}-{len(target)}")
    target = target.format(version=versioned(proxy))
    direct = proxy.direct.fetch(target, *shown[:-2])
    answer = proxy.curl.fetch(target, *shown)
    assert answer.status == direct.status == status
    for name in ("www-authenticate", "access-control-allow-origin", "cache-control", "vary", "content-type"):
        assert answer.headers.get(name) == direct.headers.get(name), name
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert routes_asked(proxy, shown[-1].partition(": ")[2]) == [LEASE_ROUTE]


def test_lease_of_a_version(proxy: NginxProxy) -> None:
    """The lease route is asked about the version of the URL, of bytes and of chunks."""
    chunk = f"{SECRET}/chunked/v1/chunks/00000001.bin"
    assert proxy.curl.fetch(chunk, *bearer(lease(ver="v1"))).body == DISK[CHUNK : 2 * CHUNK]
    assert proxy.curl.fetch(chunk, *bearer(lease(ver="v2"))).status == 403
    target = versioned(proxy)
    version = target.rpartition("/")[2]
    assert proxy.curl.fetch(target, "-r", "0-9", *bearer(lease(ver=version))).body == DISK[:10]
    assert proxy.curl.fetch(target, "-r", "0-9", *bearer(lease(ver="v1"))).status == 403


PASSED: dict[str, tuple[str, tuple[str, ...]]] = {
    "public": (IMAGE, ("-r", "0-9")),
    "preflight": (SECRET, ("-X", "OPTIONS", "-H", "Origin: https://a.test")),
    "head": (IMAGE, ("-I",)),
    "unknown": ("/v1/images/unknown", ("-r", "0-9")),
    "escaped": ("/v1/images/se%63ret", ("-r", "0-9")),
    "liveness": ("/healthz", ()),
}


@pytest.mark.parametrize(("target", "words"), PASSED.values(), ids=PASSED)
def test_answers_are_the_daemons(proxy: NginxProxy, target: str, words: tuple[str, ...]) -> None:
    """Public images, preflights and refusals come as the daemon gives them."""
    answer, direct = proxy.curl.fetch(target, *words), proxy.direct.fetch(target, *words)
    assert (answer.status, answer.body) == (direct.status, direct.body)
    assert answer.headers.get("access-control-allow-origin") == direct.headers.get("access-control-allow-origin")


def test_metrics_are_closed(proxy: NginxProxy) -> None:
    """Nobody reads the metrics through Caddy."""
    assert proxy.curl.fetch("/metrics").status == 403


def test_no_token_in_the_logs(proxy: NginxProxy, start_caddy: Callable[[str], Curl]) -> None:
    """Neither the access log nor the log of errors holds a lease, good or bad, also while nobody answers."""
    gone = start_caddy("127.0.0.1:9")
    for curl, statuses in ((proxy.curl, {206, 401}), (gone, {502})):
        tokens = [lease(seconds=600 + number) for number in range(len(CARRIERS))]
        for token, carrier in zip(tokens, CARRIERS.values(), strict=True):
            query, shown = carrier(token)
            assert curl.fetch(f"{SECRET}{query}", "-r", "0-9", *shown).status in statuses
            assert curl.fetch(f"{SECRET}?lease={token}x", "-r", "0-9", "-e", f"/?lease={token}").status in statuses
        logs = [(curl.place / name).read_text() for name in ("aero-storage.log", "said")]
        assert logs[0].count(SECRET) >= 2 * len(tokens)
        assert not [token for token in tokens for log in logs if token.split(".")[1] in log]
