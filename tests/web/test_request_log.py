"""The request log's words for refusals, and the range that a request was about (http.md §8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aero_storage.errors import RefusalReason

IMAGE = "/v1/images/disk.img"
SIZE = 1 << 20
CHUNKS = f"{IMAGE}/chunked/chunks"
RANGE = "Range"


def line_of(stack: Any, target: str, *headers: tuple[str, str], method: str = "GET") -> dict[str, Any]:
    """Give the log line of a request."""
    response = stack.ask(target, *headers, method=method)
    line: dict[str, Any] = stack.log.requests[-1]
    assert line["status"] == response.status
    return line


REFUSED: dict[str, tuple[int, str, str, tuple[tuple[str, str], ...]]] = {
    "no route": (404, "route", "/nowhere", ()),
    "no route below the images": (404, "route", f"{IMAGE}/nothing", ()),
    "invalid id": (404, "id", "/v1/images/%2e%2e", ()),
    "invalid id of meta": (400, "id", "/v1/images/%2e%2e/meta", ()),
    "invalid chunk name": (404, "id", f"{CHUNKS}/x", ()),
    "unknown id": (404, "existence", "/v1/images/none", ()),
    "unknown id of meta": (404, "existence", "/v1/images/none/meta", ()),
    "unknown chunk": (404, "existence", f"{CHUNKS}/00000000.bin", ()),
    "If-Match": (412, "precondition", IMAGE, (("If-Match", '"other"'),)),
    "If-Match of meta": (412, "precondition", f"{IMAGE}/meta", (("If-Match", '"other"'),)),
    "broken range": (416, "range_syntax", IMAGE, ((RANGE, "bytes=5-2"),)),
    "range behind the end": (416, "range_unsatisfiable", IMAGE, ((RANGE, f"bytes={SIZE}-"),)),
    "two ranges": (416, "range_too_many", IMAGE, ((RANGE, "bytes=0-0,2-2"),)),
    "1,001 ranges": (413, "range_too_many", IMAGE, ((RANGE, "bytes=" + ",".join(["0-0"] * 1001)),)),
    "long header": (413, "range_too_long", IMAGE, ((RANGE, "bytes=" + "0" * 8192 + "-0"),)),
    "body": (413, "body", IMAGE, (("Content-Length", "5"),)),
    "long target": (414, "target", "/" + "a" * 8192, ()),
    "authority form": (400, "target", "a:80", ()),
    "two hosts": (400, "head", "/healthz", (("Host", "b"),)),
    "headers": (431, "head", "/healthz", (("X", "y"),) * 201),
}


@pytest.mark.parametrize("express", ["true", "false"])
@pytest.mark.parametrize(("status", "reason", "target", "headers"), REFUSED.values(), ids=REFUSED)
def test_reasons(
    make_stack: Callable[..., Any],
    express: str,
    status: int,
    reason: str,
    target: str,
    headers: tuple[tuple[str, str], ...],
) -> None:
    """The line of a refused request says why in one word of http.md, in both lanes, and has no range."""
    stack = make_stack(express=express)
    for _ in range(2):
        line = line_of(stack, target, *headers)
        assert (line["status"], line["reason"]) == (status, reason)
        assert not {"range", "max_range_bytes"} & set(line)


@pytest.mark.parametrize(("method", "path"), [("DELETE", IMAGE), ("POST", "/healthz"), ("BREW", f"{IMAGE}/meta")])
def test_reason_of_a_method(stack: Any, method: str, path: str) -> None:
    """A method that no route takes is a word of its own."""
    assert line_of(stack, path, method=method)["reason"] == "method"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("limit", ["100", "1000"])
def test_reason_of_a_long_range(make_stack: Callable[..., Any], method: str, limit: str) -> None:
    """A range over the limit has the limit in its line."""
    line = line_of(make_stack(max_range_bytes=limit), IMAGE, (RANGE, "bytes=0-5000"), method=method)
    assert (line["status"], line["reason"], line["max_range_bytes"]) == (413, "range_too_long", int(limit))
    assert "range" not in line


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ((), 416, "range_syntax"),
        (((RANGE, "items=0-5"),), 416, "range_unit"),
        (((RANGE, "bytes=0-5"), ("If-Range", '"other"')), 412, "precondition"),
    ],
)
def test_reasons_where_a_range_is_required(
    make_stack: Callable[..., Any], headers: tuple[tuple[str, str], ...], status: int, reason: str
) -> None:
    """With `--require-range` what else is a whole body is refused, each with its word."""
    line = line_of(make_stack(require_range="true"), IMAGE, *headers)
    assert (line["status"], line["reason"]) == (status, reason)


def test_reason_of_a_long_chunk(make_stack: Callable[..., Any]) -> None:
    """A chunk over its limit."""
    stack = make_stack(virtual_chunks="true", virtual_chunk_bytes="4096", max_chunk_bytes="512")
    line = line_of(stack, f"{CHUNKS}/00000000.bin")
    assert (line["status"], line["reason"]) == (413, "chunk_too_long")


def test_reason_of_a_broken_catalog(make_stack: Callable[..., Any]) -> None:
    """Without a valid catalog."""
    make_stack()  # makes the root
    stack = make_stack(require_manifest="true")
    for path in (IMAGE, f"{IMAGE}/meta", "/v1/images"):
        assert line_of(stack, path)["reason"] == "catalog"


def test_reason_of_a_full_server(make_stack: Callable[..., Any]) -> None:
    """Without a place under the cap."""
    stack = make_stack(max_concurrent_bytes_requests="1", bytes_queue_timeout_secs="0")
    stack.pool.held = True
    stack.connect().get(IMAGE)
    line = line_of(stack, IMAGE)
    assert (line["status"], line["reason"]) == (429, "place")


@pytest.mark.parametrize(
    ("limit", "status", "reason"), [("max_connections", 503, "place"), ("max_connections_per_client", 429, "share")]
)
def test_reason_over_a_limit_of_connections(
    make_stack: Callable[..., Any], limit: str, status: int, reason: str
) -> None:
    """A connection over a limit is refused for want of a place, or as its client has its share."""
    stack = make_stack(**{limit: "1"})
    stack.connect()
    line = line_of(stack, IMAGE)
    assert (line["status"], line["reason"]) == (status, reason)


def test_reason_behind_a_proxy(make_stack: Callable[..., Any]) -> None:
    """A client with too many requests under way has its share."""
    stack = make_stack(trusted_proxy="192.0.2.1", max_connections_per_client="1")
    stack.pool.held = True
    stack.connect().get(IMAGE, ("X-Forwarded-For", "203.0.113.9"))
    line = line_of(stack, IMAGE, ("X-Forwarded-For", "203.0.113.9"))
    assert (line["status"], line["reason"]) == (429, "share")


def test_reason_of_a_head_that_does_not_end(stack: Any) -> None:
    """A head that takes too long."""
    connection = stack.connect()
    connection.send(b"GET / HT")
    stack.reactor.pump([1] * 23)
    (line,) = stack.log.requests
    assert (line["status"], line["reason"]) == (408, "head")


@pytest.mark.parametrize(
    "target", ["/healthz", "/readyz", "/version", "/metrics", "/v1/images", f"{IMAGE}/meta", IMAGE]
)
def test_no_reason(stack: Any, target: str) -> None:
    """What is answered has none."""
    assert not {"reason", "range"} & set(line_of(stack, target))


@pytest.mark.parametrize("express", ["true", "false"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ("bytes=5-9", "5-9"),
        ("bytes=0-0", "0-0"),
        (f"bytes={SIZE - 6}-{2 * SIZE}", f"{SIZE - 6}-{SIZE - 1}"),
        ("bytes=-10", f"{SIZE - 10}-{SIZE - 1}"),
        ("bytes=1000-", f"1000-{SIZE - 1}"),
        ("bytes=0-", f"0-{SIZE - 1}"),
        (None, None),
        ("items=0-5", None),
    ],
)
def test_range(make_stack: Callable[..., Any], express: str, method: str, wanted: str, shown: str | None) -> None:
    """The line of a range has its first and last byte as resolved; that of a whole image has none."""
    stack = make_stack(express=express)
    for _ in range(2):
        line = line_of(stack, IMAGE, *([] if wanted is None else [(RANGE, wanted)]), method=method)
        assert line["status"] == (200 if shown is None else 206)
        assert line.get("range") == shown


def test_no_range_of_what_is_not_sent(stack: Any) -> None:
    """A range that no byte was sent of, as the client has it, is not told."""
    assert "range" not in line_of(stack, IMAGE, (RANGE, "bytes=5-9"), ("If-None-Match", "*"))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_range_of_a_chunk(make_stack: Callable[..., Any], method: str) -> None:
    """The line of a chunk that is cut from the image has its first and last byte there; a manifest has none."""
    stack = make_stack(virtual_chunks="true", virtual_chunk_bytes="4096")
    assert line_of(stack, f"{CHUNKS}/00000002.bin", method=method)["range"] == "8192-12287"
    assert line_of(stack, f"{CHUNKS}/00000255.bin", method=method)["range"] == f"{SIZE - 4096}-{SIZE - 1}"
    assert "range" not in line_of(stack, f"{IMAGE}/chunked/manifest.json", method=method)


def test_no_range_of_a_published_chunk(stack: Any) -> None:
    """Where in the image a published chunk lies is not known."""
    chunk = stack.root / "chunked/disk.img/chunks/00000002.bin"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"x" * 4096)
    line = line_of(stack, f"{CHUNKS}/00000002.bin")
    assert line["status"] == 200
    assert "range" not in line


def test_range_of_a_client_that_leaves(stack: Any) -> None:
    """A range that is broken off is told as well: that is what was asked for."""
    connection = stack.connect()
    stack.ask(IMAGE, (RANGE, "bytes=0-0"))
    stack.parts.root.store.close()
    stack.pool.held = True
    connection.get(IMAGE, (RANGE, "bytes=5-9"))
    while stack.pool.jobs and not connection.transport.value():
        stack.pool.step()
    connection.lose()
    line = stack.log.requests[-1]
    assert (line["outcome"], line["range"]) == ("disconnected", "5-9")


def test_every_word_is_documented() -> None:
    """Each word is a row of the table in http.md §8, and each row is a word."""
    page = (Path(__file__).parents[2] / "docs/reference/http.md").read_text(encoding="utf-8")
    _, table = page.split("| `reason` | Status | Meaning |\n")
    rows = table.split("\n\n")[0].split("\n")[1:]
    assert [row.split("`")[1] for row in rows] == list(RefusalReason)
