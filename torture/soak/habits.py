"""What clients of the soak do that mean well. Each function is one act; AssertionError says what was wrong."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.soak_asks import IMAGE
from tests.blackbox.harness import parse_metrics
from tests.blackbox.wire import Fields, Reply, head

from torture.outcome import MIB
from torture.soak.seat import Seat, whole
from torture.soak.shelf import NAMES, Version
from torture.stage import IMAGE as SMALL

_GENERAL = ("TE", "trailers")
"""A field that is not for the express lane."""
_PIECE, _SLOW_PIECE, _SLOW_SECONDS = 256 * 1024, 32 * 1024, 0.32
"""The slow ones read 100 KiB a second."""
_SLOW_BUFFER = 64 * 1024
_FEW = 16 * 1024
_PLAIN = ("/healthz", "/health", "/version")


def download(seat: Seat) -> None:
    """Take the whole image as fast as it comes."""
    wire, size = seat.wire(), seat.place.site.size
    wire.send(head("GET", IMAGE))
    start = wire.reply_head()
    assert (start.status, start.length) == (200, size), start
    if not seat.read(wire, 0, size, _PIECE):
        seat.leave()


def slow_download(seat: Seat) -> None:
    """Take the rest of the image at 100 KiB a second, as a browser that resumes."""
    site, rest = seat.place.site, seat.chance.randint(1, 3 * MIB)
    with seat.dial(_SLOW_BUFFER) as wire:
        wire.send(head("GET", IMAGE, {"Range": f"bytes={site.size - rest}-", "If-Range": site.etag}))
        start = wire.reply_head()
        assert (start.status, start.length) == (206, rest), start
        seat.read(wire, site.size - rest, rest, _SLOW_PIECE, _SLOW_SECONDS)


def chunks(seat: Seat) -> None:
    """Read the manifest and some chunks, as a client of the chunked format."""
    site, chance = seat.place.site, seat.chance
    manifest = seat.ask(200, "GET", f"{IMAGE}/chunked/manifest.json").json()
    found = (manifest["version"], manifest["totalSize"], manifest["chunkSize"])
    assert found == (site.version, site.size, site.chunk_size), manifest
    for _ in range(chance.randint(1, 4)):
        index = chance.randrange(manifest["chunkCount"])
        name = f"chunks/{index:0{manifest['chunkIndexWidth']}}.bin"
        reply = seat.ask(200, "GET", f"{IMAGE}/chunked/{chance.choice((f'{site.version}/', ''))}{name}")
        offset = index * site.chunk_size
        wanted = seat.place.content.part(offset, min(site.chunk_size, site.size - offset))
        seat.compare(reply.body, wanted, f"chunk {index}")
        assert "no-transform" in reply["Cache-Control"], reply.fields


def conditions(seat: Seat) -> None:
    """Ask for a few bytes under a condition."""
    site, offset = seat.place.site, seat.chance.randrange(seat.place.site.size - _FEW)
    span = ("Range", f"bytes={offset}-{offset + _FEW - 1}")
    cases: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = (
        (304, (("If-None-Match", f'"a", W/{site.etag}, "b"'),)),
        (304, (("If-None-Match", "*"), span)),
        (304, (("If-Modified-Since", "Fri, 31 Dec 2199 23:59:59 GMT"),)),
        (412, (("If-Match", f'"{seat.chance.random()}"'),)),
        (412, (("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"), span)),
        (206, (("If-Match", site.etag), span)),
        (206, (("If-None-Match", f'"{seat.chance.random()}"'), span)),
        (206, (("If-Range", site.etag), span, _GENERAL)),
    )
    status, fields = seat.chance.choice(cases)
    reply = seat.ask(status, seat.chance.choice(("GET", "GET", "HEAD")), IMAGE, fields)
    if reply.body:
        seat.compare(reply.body, seat.place.content.part(offset, _FEW), f"{_FEW} bytes at {offset}")


def stale_range(seat: Seat) -> None:
    """Ask for a range of a version that is gone: all of the image is the answer."""
    tag = f'"{seat.chance.randrange(1 << 60):x}"'
    reply = seat.ask(200, "GET", SMALL, {"Range": "bytes=5-9", "If-Range": tag})
    seat.compare(reply.body, seat.place.content.part(0, len(reply.body)), "the small image")


def preflight(seat: Seat) -> None:
    """Ask as a browser does before a range from another origin, and then for the range."""
    origin = ("Origin", f"https://app-{seat.chance.randrange(1 << 30)}.test")
    asked = (origin, ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "range, if-range"))
    reply = seat.ask(204, "OPTIONS", IMAGE, asked)
    assert {"range", "if-range"} <= set(reply.members("Access-Control-Allow-Headers")), reply.fields
    first = seat.chance.randrange(seat.place.site.size - _FEW)
    reply = seat.ask(206, "GET", IMAGE, (origin, ("Range", f"bytes={first}-{first + _FEW - 1}")))
    assert reply["Access-Control-Allow-Origin"] == "*", reply.fields
    seat.compare(reply.body, seat.place.content.part(first, _FEW), f"{_FEW} bytes at {first}")


def metadata(seat: Seat) -> None:
    """Read the list, an image's metadata and the plain answers, and whether they have changed."""
    site = seat.place.site
    listing = seat.ask(200, "GET", "/v1/images")
    known = {image["id"]: image for image in listing.json()}
    assert {"disk", IMAGE.rpartition("/")[2]} <= set(known), sorted(known)
    meta = seat.ask(200, "GET", f"{IMAGE}/meta")
    assert (meta.json()["size_bytes"], meta.json()["etag"]) == (site.size, site.etag), meta.body
    seat.ask(304, "GET", f"{IMAGE}/meta", {"If-None-Match": meta["ETag"]})
    assert seat.ask(200, "HEAD", IMAGE).length == site.size
    seat.ask(200, "GET", seat.chance.choice(_PLAIN))


def readiness(seat: Seat) -> None:
    """Ask as a balancer does; an image that has just been removed may be missed for a moment."""
    since, wire = time.monotonic(), seat.wire()
    wire.send(head("GET", seat.chance.choice(("/readyz", "/ready"))))
    reply = wire.reply()
    whole(reply, 503 if reply.status == 503 and seat.place.shelf.removed_since(since) else 200, "readiness")


def scrape(seat: Seat) -> None:
    """Read the metrics as Prometheus does; what was counted stays counted."""
    metrics = parse_metrics(seat.ask(200, "GET", "/metrics", {"Accept-Encoding": "gzip"}).body.decode())
    route = "/v1/images/:image_id"
    assert metrics.value("http_requests_total", route=route, method="GET", status="206") > 0, "no 206 is counted"


def fleeting(seat: Seat) -> None:
    """Connect for a single request, and have the server close."""
    length = seat.chance.randint(1, 128 * 1024)
    offset = seat.chance.randrange(seat.place.site.size - length)
    fields: tuple[tuple[str, str], ...] = (
        ("Range", f"bytes={offset}-{offset + length - 1}"),
        ("Connection", "close"),
    )
    if seat.chance.random() < 0.3:
        fields += (_GENERAL,)
    with seat.dial() as wire:
        wire.send(head("GET", IMAGE, fields))
        reply = whole(wire.reply(), 206, f"{length} bytes at {offset}")
        seat.compare(reply.body, seat.place.content.part(offset, length), f"{length} bytes at {offset}")
        assert wire.rest() == b"", "there is something behind the response"


def visit(seat: Seat) -> None:
    """Read an image that comes and goes: one version of it, whole or a part, or that there is none."""
    place, name = seat.place, seat.chance.choice(NAMES)
    known, since = place.shelf.now(name), time.monotonic()
    fields: Fields = {}
    if known is not None and seat.chance.random() < 0.7:
        first = seat.chance.randrange(known.size)
        fields = {"Range": f"bytes={first}-{first + _FEW - 1}", "If-Range": known.etag}
    wire = seat.wire()
    wire.send(head("GET", f"/v1/images/{name}", fields))
    reply = wire.reply()
    versions = {version.etag if version else None: version for version in place.shelf.since(name, since)}
    if reply.status == 404:
        assert None in versions, f"404 though it was there all the time: {name}"
        return
    version = versions.get(reply["ETag"])
    assert version is not None, f"{name}: {reply['ETag']}, not one of {list(versions)}"
    _compare_version(seat, reply, version)


def _compare_version(seat: Seat, reply: Reply, version: Version) -> None:
    offset, length = 0, version.size
    if reply.status == 206:
        extent, _, size = reply["Content-Range"].removeprefix("bytes ").partition("/")
        first, last = map(int, extent.split("-"))
        offset, length = first, last - first + 1
        assert int(size) == version.size, reply.fields
    whole(reply, 206 if reply.status == 206 else 200, f"version {version.etag}")
    assert len(reply.body) == length, f"{len(reply.body)} bytes, not {length}"
    seat.compare(reply.body, version.part(seat.place.content, offset, length), f"{length} bytes of {version}")


def rearrange(seat: Seat) -> None:
    """Change an image, as the operator."""
    seat.place.shelf.change(seat.chance)


WELL_MEANT: tuple[tuple[Callable[[Seat], None], float, int, int], ...] = (
    (download, 8.0, 1, 1),
    (slow_download, 0.5, 2, 1),
    (chunks, 0.5, 1, 1),
    (conditions, 0.1, 1, 1),
    (stale_range, 0.5, 1, 0),
    (preflight, 0.3, 1, 1),
    (metadata, 0.5, 1, 1),
    (readiness, 1.0, 1, 0),
    (scrape, 2.0, 1, 0),
    (fleeting, 0.1, 1, 1),
    (visit, 0.1, 2, 1),
    (rearrange, 1.0, 1, 0),
)
"""Each with the seconds between two acts, and how many do it by TCP and by TLS."""
