"""Debian's nginx in front of the daemon, with the files from etc/nginx, driven by curl over HTTP/2.

The files are as they are but for what an operator edits, and for ports that need no root.
"""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.clients.nginx_proxy import CHUNK, CHUNKED, DISK, HOST_NAME, HUGE, IMAGE, PATIENCE, SITE_FILES, SLICE, until

from aero_storage.http.request_head import may_be_remembered, read_strict_head, split_varying

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clients.nginx_proxy import Curl, NginxProxy


@pytest.fixture(scope="module", params=SITE_FILES)
def proxy(request: pytest.FixtureRequest, start_proxied_daemon: Callable[..., NginxProxy]) -> NginxProxy:
    """Each file, in front of the daemon as it comes."""
    return start_proxied_daemon(request.param)


TAG = "@TAG@"
REQUESTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "range": (IMAGE, ("-r", "100-999")),
    "range of data": (f"{IMAGE}/data", ("-r", "0-0")),
    "range over slices": (IMAGE, ("-r", f"{SLICE - 7}-{3 * SLICE + 5}")),
    "whole slice": (IMAGE, ("-r", f"{SLICE}-{2 * SLICE - 1}")),
    "clipped range": (IMAGE, ("-r", f"{len(DISK) - 5}-{len(DISK) + 99}")),
    "suffix": (IMAGE, ("-r", "-4097")),
    "open end": (IMAGE, ("-r", f"{SLICE + 3}-")),
    "whole": (IMAGE, ()),
    "compression asked for": (IMAGE, ("-r", "0-99999", "-H", "Accept-Encoding: gzip, br")),
    "private": ("/v1/images/secret", ("-r", "5-99")),
    "cookie": (IMAGE, ("-r", "200-299", "-H", "Cookie: a=b")),
    "credentials": (IMAGE, ("-r", "300-399", "-H", "Authorization: Bearer x")),
    "past the end": (IMAGE, ("-r", "99999999-")),
    "past the end, closed": (IMAGE, ("-r", "99999999-99999999")),
    "broken": (IMAGE, ("-H", "Range: bytes=a-b")),
    "two ranges": (IMAGE, ("-H", "Range: bytes=0-1,5-6")),
    "other unit": (IMAGE, ("-I", "-H", "Range: items=0-1")),
    "same tag": (IMAGE, ("-H", f"If-None-Match: {TAG}")),
    "same tag, range": (IMAGE, ("-r", "100-999", "-H", f"If-None-Match: {TAG}")),
    "other tag": (IMAGE, ("-r", "100-999", "-H", 'If-None-Match: "x"')),
    "since": (IMAGE, ("-r", "100-999", "-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT")),
    "match": (IMAGE, ("-r", "100-999", "-H", f"If-Match: {TAG}")),
    "no match": (IMAGE, ("-r", "100-999", "-H", 'If-Match: "x"')),
    "same in If-Range": (IMAGE, ("-r", f"{SLICE}-{SLICE + 9}", "-H", f"If-Range: {TAG}")),
    "other in If-Range": (IMAGE, ("-r", "100-999", "-H", 'If-Range: "x"')),
    "weak in If-Range": (IMAGE, ("-r", "100-999", "-H", f"If-Range: W/{TAG}")),
    "date in If-Range": (IMAGE, ("-r", "100-999", "-H", "If-Range: Fri, 01 Jan 2100 00:00:00 GMT")),
    "head": (IMAGE, ("-I",)),
    "head of a range": (IMAGE, ("-I", "-r", "100-999")),
    "unknown": ("/v1/images/unknown", ("-r", "0-99")),
    "no id": ("/v1/images/%2e%2e%2fx", ("-r", "0-99")),
    "manifest": (f"{CHUNKED}/manifest.json", ()),
    "chunk": (f"{CHUNKED}/v1/chunks/00000001.bin", ()),
    "chunk, no version": (f"{CHUNKED}/chunks/00000005.bin", ()),
    "range of a chunk": (f"{CHUNKED}/v1/chunks/00000002.bin", ("-r", "0-99")),
    "head of a chunk": (f"{CHUNKED}/v1/chunks/00000003.bin", ("-I",)),
    "same tag of a chunk": (f"{CHUNKED}/v1/chunks/00000001.bin", ("-H", "If-None-Match: *")),
    "no chunk": (f"{CHUNKED}/v1/chunks/00000009.bin", ()),
    "private chunk": ("/v1/images/secret/chunked/v1/chunks/00000000.bin", ()),
    "preflight": (IMAGE, ("-X", "OPTIONS", "-H", "Origin: https://a.test")),
    "other method": (IMAGE, ("-X", "DELETE")),
    "list": ("/v1/images", ()),
    "list, compression asked for": ("/v1/images", ("-H", "Accept-Encoding: gzip, br")),
    "metadata": (f"{IMAGE}/meta", ()),
    "double slash": ("//v1/images/disk", ("-r", "0-99")),
    "no route": ("/nothing", ()),
    "liveness": ("/healthz", ()),
}


@pytest.mark.parametrize(("target", "words"), REQUESTS.values(), ids=REQUESTS)
def test_answers_are_the_daemons(proxy: NginxProxy, target: str, words: tuple[str, ...]) -> None:
    """Status, headers and body are those that the daemon gives, over HTTP/2, the second time as well."""
    tag = proxy.direct.fetch(target, "-I").headers.get("etag", "")
    words = tuple(word.replace(TAG, tag) for word in words)
    expected = proxy.direct.fetch(target, *words)
    for _ in range(2):
        answer = proxy.curl.fetch(target, *words)
        assert answer.version == "2"
        assert answer.comparable == expected.comparable
    assert answer.headers["server"] == "nginx"


def test_bytes(proxy: NginxProxy) -> None:
    """What arrives are the image's own bytes."""
    for first, last in ((0, 0), (SLICE - 1, SLICE), (17, 4 * SLICE), (len(DISK) - 1, len(DISK) - 1)):
        assert proxy.curl.fetch(IMAGE, "-r", f"{first}-{last}").body == DISK[first : last + 1]
    assert proxy.curl.fetch(f"{CHUNKED}/v1/chunks/00000004.bin").body == DISK[4 * CHUNK : 5 * CHUNK]


def test_backward_range(proxy: NginxProxy) -> None:
    """A range that ends before it begins is refused as the daemon refuses it, though the body may be nginx's."""
    words = ("-H", "Range: bytes=5-2")
    answer, expected = proxy.curl.fetch(IMAGE, *words), proxy.direct.fetch(IMAGE, *words)
    for name in ("content-range", "access-control-allow-origin", "cross-origin-resource-policy"):
        assert answer.headers[name] == expected.headers[name]
    assert answer.status == expected.status == 416


def test_long_range(proxy: NginxProxy) -> None:
    """What the daemon refuses as too long is refused, or, where it is cut into slices, answered whole."""
    length = 12 * SLICE
    answer = proxy.curl.fetch("/v1/images/huge", "-r", f"5-{length + 4}")
    if proxy.is_cache:
        assert (answer.status, answer.body) == (206, bytes(length))
    else:
        assert (answer.status, answer.body) == (413, b"")


def test_client(proxy: NginxProxy) -> None:
    """The log has the address that nginx was connected from, whatever the client says of itself."""
    for target in (IMAGE, "/healthz"):
        answer = proxy.curl.fetch(target, "--interface", "127.0.0.2", "-H", "X-Forwarded-For: 6.6.6.6")
        assert proxy.logged(answer.headers["x-request-id"])["client"] == "127.0.0.2"


def test_metrics_are_closed(proxy: NginxProxy) -> None:
    """Nobody but the address that is allowed reads the metrics, however the path is written."""
    spellings = ("/%6detrics", "/./metrics", "//metrics", "/x/../metrics", "/v1/images/../../metrics", "/METRICS")
    endings = ("?x=1", "/", "%2F", "%3F", "%00", ";x", "%20", "/.", "%0a")
    for path in ("/metrics", *spellings, *(f"/metrics{ending}" for ending in endings)):
        answer = proxy.curl.fetch(path, "--interface", "127.0.0.2")
        assert answer.status in {400, 403, 404}, path
        assert b"http_requests" not in answer.body
    assert proxy.curl.fetch("/metrics", "--interface", "127.0.0.2").status == 403
    assert b"http_requests_total" in proxy.curl.fetch("/metrics").body


def test_plain_http_leads_to_https(proxy: NginxProxy) -> None:
    """Whoever comes without TLS is sent to the same place with it."""
    found = ("--resolve", f"{HOST_NAME}:{proxy.plain_port}:127.0.0.1")
    curl = attrs.evolve(proxy.curl, address=f"http://{HOST_NAME}:{proxy.plain_port}", more=found)
    answer = curl.fetch(f"{IMAGE}?x=1")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{HOST_NAME}{IMAGE}?x=1")


@pytest.mark.parametrize("name", SITE_FILES)
def test_aborted_download(start_proxied_daemon: Callable[..., NginxProxy], name: str) -> None:
    """A slow download holds its place, as nginx takes no more than it passes on; broken off, it frees the place."""
    proxy = start_proxied_daemon(name, "--max-concurrent-bytes-requests", "1", "--bytes-queue-timeout-secs", "0")
    proxy.direct.fetch(IMAGE, "-I")
    copy = proxy.curl.place / "copy"
    words = ("--limit-rate", "100k", "-o", str(copy), "-H", "X-Request-Id: slow")
    process = subprocess.Popen(proxy.curl.command("/v1/images/huge", *words), stderr=subprocess.DEVNULL)
    try:
        until(lambda: copy.exists() and copy.stat().st_size, "the first bytes")
        for _ in range(10):  # by then, an nginx that buffers has had all of it
            assert proxy.curl.fetch(IMAGE, "-r", "0-9").status == 429
    finally:
        process.kill()
        process.wait()
    line = proxy.logged("slow")
    assert (line["outcome"], line["status"], line["client"]) == ("disconnected", 200, "127.0.0.1")
    assert 0 < int(str(line["bytes_sent"])) < HUGE
    assert proxy.curl.fetch(IMAGE, "-r", "0-9").body == DISK[:10]


BROWSER = ("-A", "Mozilla/5.0 (X11; Linux x86_64)", "-H", "Origin: https://a.test", "-H", "Sec-Fetch-Mode: cors")


@pytest.mark.parametrize("name", SITE_FILES)
def test_plans_are_shared(start_nginx: Callable[..., tuple[Curl, int]], name: str) -> None:
    """The strict grammar takes what nginx sends; requests that differ in their ranges share a plan."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        curl, _ = start_nginx(name, f"127.0.0.1:{server.getsockname()[1]}")
        heads = [
            upstream_head(server, curl.command(IMAGE, *BROWSER, "-r", f"{first}-{first + 9}")) for first in STARTS
        ]
    for data in heads:
        head = read_strict_head(data)
        assert head is not None
        assert head.header("X-Forwarded-For") == "127.0.0.1"
        assert head.persistent
        assert may_be_remembered(head, *split_varying(data)[1:])
    (one, one_range, _), (other, other_range, _) = map(split_varying, heads)
    assert one == other
    slices = [f"bytes={start // SLICE * SLICE}-{start // SLICE * SLICE + SLICE - 1}" for start in STARTS]
    ranges = [f"bytes={start}-{start + 9}" for start in STARTS]
    assert [one_range, other_range] == (slices if "cache" in name else ranges)


STARTS = (100, 3 * SLICE + 200)


def upstream_head(server: socket.socket, command: list[str]) -> bytes:
    """What nginx asks its upstream when it is asked by `command`; the answer is a 404."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            data = connection.recv(65536)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return data
    finally:
        process.wait(PATIENCE)
