"""What well-behaved clients of the soak do. Each function is one act; AssertionError says what was wrong."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.blackbox.harness import parse_metrics
from tests.blackbox.raw_http import Fields, Reply, head

from torture.outcome import MIB
from torture.soak.changing_images import NAMES, Version
from torture.soak.client import SoakClient, whole
from torture.soak.requests import IMAGE
from torture.trial import IMAGE as SMALL

_GENERAL = ("TE", "trailers")
"""A field with which no plan is remembered."""
_PIECE, _SLOW_PIECE, _SLOW_SECONDS = 256 * 1024, 32 * 1024, 0.32
"""The slow ones read 100 KiB a second."""
_SLOW_BUFFER = 64 * 1024
_FEW = 16 * 1024
_PLAIN = ("/healthz", "/health", "/version")


def download(client: SoakClient) -> None:
    """Take the whole image as fast as it comes."""
    conn, size = client.conn(), client.target.image.size
    conn.send(head("GET", IMAGE))
    start = conn.reply_head()
    assert (start.status, start.length) == (200, size), start
    if not client.read(conn, 0, size, _PIECE):
        client.leave()


def slow_download(client: SoakClient) -> None:
    """Take the rest of the image at 100 KiB a second, as a browser that resumes."""
    image, rest = client.target.image, client.rng.randint(1, 3 * MIB)
    with client.dial(_SLOW_BUFFER) as conn:
        conn.send(head("GET", IMAGE, {"Range": f"bytes={image.size - rest}-", "If-Range": image.etag}))
        start = conn.reply_head()
        assert (start.status, start.length) == (206, rest), start
        client.read(conn, image.size - rest, rest, _SLOW_PIECE, _SLOW_SECONDS)


def chunks(client: SoakClient) -> None:
    """Read the manifest and some chunks, as a client of the chunked format."""
    image, rng = client.target.image, client.rng
    manifest = client.ask(200, "GET", f"{IMAGE}/chunked/manifest.json").json()
    found = (manifest["version"], manifest["totalSize"], manifest["chunkSize"])
    assert found == (image.version, image.size, image.chunk_size), manifest
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(manifest["chunkCount"])
        name = f"chunks/{index:0{manifest['chunkIndexWidth']}}.bin"
        reply = client.ask(200, "GET", f"{IMAGE}/chunked/{rng.choice((f'{image.version}/', ''))}{name}")
        offset = index * image.chunk_size
        wanted = client.target.content.part(offset, min(image.chunk_size, image.size - offset))
        client.compare(reply.body, wanted, f"chunk {index}")
        assert "no-transform" in reply["Cache-Control"], reply.fields


def conditions(client: SoakClient) -> None:
    """Ask for a few bytes under a condition."""
    image, offset = client.target.image, client.rng.randrange(client.target.image.size - _FEW)
    span = ("Range", f"bytes={offset}-{offset + _FEW - 1}")
    cases: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = (
        (304, (("If-None-Match", f'"a", W/{image.etag}, "b"'),)),
        (304, (("If-None-Match", "*"), span)),
        (304, (("If-Modified-Since", "Fri, 31 Dec 2199 23:59:59 GMT"),)),
        (412, (("If-Match", f'"{client.rng.random()}"'),)),
        (412, (("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"), span)),
        (206, (("If-Match", image.etag), span)),
        (206, (("If-None-Match", f'"{client.rng.random()}"'), span)),
        (206, (("If-Range", image.etag), span, _GENERAL)),
    )
    status, fields = client.rng.choice(cases)
    reply = client.ask(status, client.rng.choice(("GET", "GET", "HEAD")), IMAGE, fields)
    if reply.body:
        client.compare(reply.body, client.target.content.part(offset, _FEW), f"{_FEW} bytes at {offset}")


def stale_range(client: SoakClient) -> None:
    """Ask for a range of a version that is gone: all of the image is the answer."""
    tag = f'"{client.rng.randrange(1 << 60):x}"'
    reply = client.ask(200, "GET", SMALL, {"Range": "bytes=5-9", "If-Range": tag})
    client.compare(reply.body, client.target.content.part(0, len(reply.body)), "the small image")


def preflight(client: SoakClient) -> None:
    """Ask as a browser does before a range from another origin, and then for the range."""
    origin = ("Origin", f"https://app-{client.rng.randrange(1 << 30)}.test")
    asked = (origin, ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "range, if-range"))
    reply = client.ask(204, "OPTIONS", IMAGE, asked)
    assert {"range", "if-range"} <= set(reply.members("Access-Control-Allow-Headers")), reply.fields
    first = client.rng.randrange(client.target.image.size - _FEW)
    reply = client.ask(206, "GET", IMAGE, (origin, ("Range", f"bytes={first}-{first + _FEW - 1}")))
    assert reply["Access-Control-Allow-Origin"] == "*", reply.fields
    client.compare(reply.body, client.target.content.part(first, _FEW), f"{_FEW} bytes at {first}")


def metadata(client: SoakClient) -> None:
    """Read the list, an image's metadata and the plain answers, and whether they have changed."""
    image = client.target.image
    listing = client.ask(200, "GET", "/v1/images")
    known = {image["id"]: image for image in listing.json()}
    assert {"disk", IMAGE.rpartition("/")[2]} <= set(known), sorted(known)
    meta = client.ask(200, "GET", f"{IMAGE}/meta")
    assert (meta.json()["size_bytes"], meta.json()["etag"]) == (image.size, image.etag), meta.body
    client.ask(304, "GET", f"{IMAGE}/meta", {"If-None-Match": meta["ETag"]})
    assert client.ask(200, "HEAD", IMAGE).length == image.size
    client.ask(200, "GET", client.rng.choice(_PLAIN))


def readiness(client: SoakClient) -> None:
    """Ask as a balancer does; an image that has just been removed may be missed for a moment."""
    since, conn = time.monotonic(), client.conn()
    conn.send(head("GET", client.rng.choice(("/readyz", "/ready"))))
    reply = conn.reply()
    whole(reply, 503 if reply.status == 503 and client.target.changing.removed_since(since) else 200, "readiness")


def scrape(client: SoakClient) -> None:
    """Read the metrics as Prometheus does; what was counted stays counted."""
    metrics = parse_metrics(client.ask(200, "GET", "/metrics", {"Accept-Encoding": "gzip"}).body.decode())
    route = "/v1/images/:image_id"
    assert metrics.value("http_requests_total", route=route, method="GET", status="206") > 0, "no 206 is counted"


def single_request(client: SoakClient) -> None:
    """Connect for a single request, and have the server close."""
    length = client.rng.randint(1, 128 * 1024)
    offset = client.rng.randrange(client.target.image.size - length)
    fields: tuple[tuple[str, str], ...] = (
        ("Range", f"bytes={offset}-{offset + length - 1}"),
        ("Connection", "close"),
    )
    if client.rng.random() < 0.3:
        fields += (_GENERAL,)
    with client.dial() as conn:
        conn.send(head("GET", IMAGE, fields))
        reply = whole(conn.reply(), 206, f"{length} bytes at {offset}")
        client.compare(reply.body, client.target.content.part(offset, length), f"{length} bytes at {offset}")
        assert conn.rest() == b"", "there is something behind the response"


def read_changing_image(client: SoakClient) -> None:
    """Read an image that comes and goes: one version of it, whole or a part, or that there is none."""
    target, name = client.target, client.rng.choice(NAMES)
    known, since = target.changing.now(name), time.monotonic()
    fields: Fields = {}
    if known is not None and client.rng.random() < 0.7:
        first = client.rng.randrange(known.size)
        fields = {"Range": f"bytes={first}-{first + _FEW - 1}", "If-Range": known.etag}
    conn = client.conn()
    conn.send(head("GET", f"/v1/images/{name}", fields))
    reply = conn.reply()
    versions = {version.etag if version else None: version for version in target.changing.since(name, since)}
    if reply.status == 404:
        assert None in versions, f"404 though it was there all the time: {name}"
        return
    version = versions.get(reply["ETag"])
    assert version is not None, f"{name}: {reply['ETag']}, not one of {list(versions)}"
    _compare_version(client, reply, version)


def _compare_version(client: SoakClient, reply: Reply, version: Version) -> None:
    offset, length = 0, version.size
    if reply.status == 206:
        extent, _, size = reply["Content-Range"].removeprefix("bytes ").partition("/")
        first, last = map(int, extent.split("-"))
        offset, length = first, last - first + 1
        assert int(size) == version.size, reply.fields
    whole(reply, 206 if reply.status == 206 else 200, f"version {version.etag}")
    assert len(reply.body) == length, f"{len(reply.body)} bytes, not {length}"
    client.compare(reply.body, version.part(client.target.content, offset, length), f"{length} bytes of {version}")


def change_image(client: SoakClient) -> None:
    """Change an image, as the operator."""
    client.target.changing.change(client.rng)


WELL_BEHAVED: tuple[tuple[Callable[[SoakClient], None], float, int, int], ...] = (
    (download, 8.0, 1, 1),
    (slow_download, 0.5, 2, 1),
    (chunks, 0.5, 1, 1),
    (conditions, 0.1, 1, 1),
    (stale_range, 0.5, 1, 0),
    (preflight, 0.3, 1, 1),
    (metadata, 0.5, 1, 1),
    (readiness, 1.0, 1, 0),
    (scrape, 2.0, 1, 0),
    (single_request, 0.1, 1, 1),
    (read_changing_image, 0.1, 2, 1),
    (change_image, 1.0, 1, 0),
)
"""Each with the seconds between two acts, and how many do it by TCP and by TLS."""
