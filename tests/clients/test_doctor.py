"""`aero-storage doctor` against the real daemon: bare, behind the nginx files that we ship, behind a careless one."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.clients.nginx_proxy import HOST_NAME, SITE_FILES, accepts, free_port, until, write_nginx_config

from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.result import Severity
from aero_storage.doctor.runner import DoctorReport, run_checks
from aero_storage.doctor.session import Session
from aero_storage.doctor.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.clients.nginx_proxy import Curl, NginxProxy

# nginx as many set it up: a cache without slices, which makes ranges of its own, and CORS added again.
CARELESS = """
proxy_cache_path {place}/cache keys_zone=careless:1m;
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass {upstream};
        proxy_cache careless;
        proxy_cache_valid any 1m;
        add_header Access-Control-Allow-Origin *;
    }}
}}
"""


def checks(report: DoctorReport, verdict: Severity) -> dict[str, str]:
    return {one.check: one.result.seen for one in report.results if one.result.severity is verdict}


def examined(place: Target, *, insecure: bool = False) -> DoctorReport:
    with closing(HttpClient(place, insecure=insecure)) as client:
        return run_checks(Session(client, "disk"))


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the name in the certificate lead to this machine."""
    real: Callable[..., Any] = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more: real("127.0.0.1" if host == HOST_NAME else host, *more)
    )


@pytest.fixture
def bare(start_daemon: Callable[..., tuple[str, int, Path]], proxied_root: Path) -> str:
    """Start a daemon; its URL."""
    return start_daemon(proxied_root)[0]


def test_bare_daemon(bare: str, proxied_root: Path, operate: Callable[..., str]) -> None:
    """The installed command finds nothing wrong with the daemon, but that it asks for no leases of private images."""
    document = json.loads(operate(proxied_root, "doctor", bare, "--image", "disk", "--json"))
    odd = {one["check"]: one["verdict"] for one in document["checks"] if one["verdict"] != "pass"}
    leases = [odd.pop(check) for check in tuple(odd) if check.startswith("lease-")]
    assert set(leases) == {"skipped"}
    assert odd == {"range-far": "skipped", "profile": "skipped", "private-images": "warning"}


@pytest.mark.usefixtures("resolved")
@pytest.mark.parametrize("name", SITE_FILES)
def test_shipped_files(
    name: str, start_proxied_daemon: Callable[..., NginxProxy], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the nginx files that we ship nothing fails; a certificate that ends in two days is told."""
    proxy = start_proxied_daemon(name)
    port = int(proxy.curl.address.rpartition(":")[2])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    report = examined(Target("https", HOST_NAME, port))
    assert checks(report, Severity.FAILURE) == {}
    # Metrics are open to 127.0.0.1, which this test asks from.
    assert set(checks(report, Severity.WARNING)) == {"certificate", "metrics", "private-images"}


@pytest.mark.usefixtures("resolved")
def test_untrusted_certificate(start_nginx: Callable[[str, str], tuple[Curl, int]], bare: str) -> None:
    """A certificate that nobody trusts is the failure, and --insecure looks at all else."""
    curl, _ = start_nginx(SITE_FILES[0], bare.removeprefix("http://"))
    place = Target("https", HOST_NAME, int(curl.address.rpartition(":")[2]))
    assert list(checks(examined(place), Severity.FAILURE)) == ["reachable"]
    assert list(checks(examined(place, insecure=True), Severity.FAILURE)) == ["certificate"]


@contextmanager
def nginx_with(program: str, place: Path, site: str, port: int) -> Iterator[None]:
    write_nginx_config(place, site)
    command = [program, "-e", str(place / "error.log"), "-p", str(place), "-c", str(place / "nginx.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        until(lambda: accepts(port), "nginx to listen")
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_careless_nginx(bare: str, nginx_and_curl: tuple[str, str], tmp_path: Path) -> None:
    """What a real nginx with usual settings breaks is found, each by the check that is named after it."""
    port = free_port()
    site = CARELESS.format(place=tmp_path, port=port, upstream=bare)
    with nginx_with(nginx_and_curl[0], tmp_path, site, port):
        report = examined(Target("http", "127.0.0.1", port))
    assert set(checks(report, Severity.FAILURE)) == {"cors", "cors-preflight"}
    warnings = {"range-multiple", "cache-credentials", "errors-uncached", "private-images"}
    assert set(checks(report, Severity.WARNING)) == warnings
