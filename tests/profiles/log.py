"""Lines of request logs for tests."""

from __future__ import annotations

import json

from aero_storage.http.dates import format_rfc3339

EPOCH = 1_795_000_000
"""Second 0 of the logs."""

VERSION = "v-0123456789abcdef0123456789abcdef"


def line(seconds: float, *, latency: float = 0.0, **fields: object) -> bytes:
    """Return the line of a request that began `seconds` after second 0."""
    ended = EPOCH + seconds + latency
    record: dict[str, object] = {
        "timestamp": format_rfc3339(round(ended * 1000) * 10**6),
        "level": "info",
        "message": "request complete",
        "request_id": "x",
        "method": "GET",
        "path": "/v1/images/win98",
        "route": "/v1/images/:image_id",
        "status": 206,
        "outcome": "complete",
        "bytes_sent": 4096,
        "latency_seconds": latency,
        "client": "192.0.2.1",
        "image_id": "win98",
        "version": VERSION,
        **fields,
    }
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def read(seconds: float, first: int, length: int = 4096, *, latency: float = 0.0, **fields: object) -> bytes:
    """Return the line of a read of a part of the image."""
    own: dict[str, object] = {"range": f"{first}-{first + length - 1}", "bytes_sent": length}
    return line(seconds, latency=latency, **(own | fields))


def ask(seconds: float, status: int = 200, **fields: object) -> bytes:
    """Return the line of a request for the boot profile."""
    route = "/v1/images/:image_id/profile"
    return line(seconds, latency=0.0, route=route, path="/v1/images/win98/profile", status=status, **fields)
