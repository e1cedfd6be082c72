"""A page in a real browser, on another origin and isolated (COOP, COEP), reads an image from the daemon.

Page and daemon go by names of one site, as in production: browsers find *.localhost on this machine and trust it,
and Chromium takes no two origins at a bare IP address for one site.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from tests.docs.pages import PROJECT, README, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).with_name("page.html")
TUTORIAL = PROJECT / "docs" / "tutorial" / "first-image.md"
PAGE_HOST = "app.aero.localhost"
IMAGES_HOST = "images.aero.localhost"
SECONDS = 30
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
]


def page() -> str:
    """Return the page, with the examples of README and tutorial in their places, reading what the page is given."""
    (ranges,) = blocks(README, "js")
    ranges = ranges.replace('"http://localhost:8080/v1/images/demo.img"', "image")
    (script,) = [block for block in blocks(TUTORIAL, "sh") if "lab.js" in block]
    chunks = script[script.index("const manifest =") : script.index("say(`By a chunk")]
    text = PAGE.read_text(encoding="utf-8").replace("/* the README's example stands here */", ranges)
    return text.replace("/* the tutorial's example of chunks stands here */", chunks)


class PageHandler(BaseHTTPRequestHandler):
    """Serves the page to the browser and takes its report."""

    reports: queue.Queue[dict[str, Any]]

    def do_GET(self) -> None:
        body = page().encode() if self.path.startswith("/?") else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.reports.put(report)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing on standard error."""


@contextmanager
def page_server() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """Serve the page; give its origin and the queue of what browsers report."""
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    handler = type("Handler", (PageHandler,), {"reports": reports})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{PAGE_HOST}:{server.server_port}", reports
        finally:
            server.shutdown()
            thread.join()


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """End the browser and the helpers that it started, all in the group of its own that we gave it."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def browser(path: str, address: str, place: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Open `address` in a headless browser with a profile of its own; give the process and where it complains."""
    complaints = place / "stderr"
    with complaints.open("wb") as output:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={place / 'profile'}", address],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process, complaints
    finally:
        stop_group(process)


def wait_for(
    reports: queue.Queue[dict[str, Any]], process: subprocess.Popen[bytes], complaints: Path
) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return reports.get(timeout=0.2)
        except queue.Empty:
            continue
    pytest.fail(f"no report from the browser (status {process.returncode}):\n{complaints.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def found(
    require_tool: Callable[..., str],
    image_url: str,
    chunked_daemon: str,
    text_offset: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What the page saw, all in one visit."""
    path = require_tool("chromium", "chromium-browser", "google-chrome", package="chromium")
    with page_server() as (origin, reports):
        image = image_url.replace("127.0.0.1", IMAGES_HOST)
        chunks = chunked_daemon.replace("127.0.0.1", IMAGES_HOST)
        given = {"image": image, "foreign": image_url, "text": text_offset, "chunks": chunks}
        address = f"{origin}/?{urlencode(given)}"
        with browser(path, address, tmp_path_factory.mktemp("browser")) as (process, complaints):
            report = wait_for(reports, process, complaints)
    if "error" in report:
        pytest.fail(f"the page failed after {sorted(report)}: {report['error']}", pytrace=False)
    assert report["origin"] == origin
    return report


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_page_is_isolated(found: dict[str, Any]) -> None:
    """The page has SharedArrayBuffer's isolation, under which most emulators run, and the daemon works with it."""
    assert found["isolated"] is True


def test_example_of_the_readme(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The README's example reads what it says it reads, and takes no clipped range for the whole."""
    readme = found["readme"]
    assert (readme["size"], readme["superblock"]) == (len(demo_bytes), sha256(demo_bytes[1024:2048]))
    assert readme["past"].endswith(": status 206, or another version of the image")


def test_example_takes_no_other_version(found: dict[str, Any]) -> None:
    """The README's example refuses a 200 in place of a range, and cancels the body that would follow."""
    assert found["whole_instead"] == {
        "refused": "bytes 1024 to 2047: status 200, or another version of the image",
        "used": True,
    }


def test_example_takes_no_short_body(found: dict[str, Any]) -> None:
    """The README's example refuses a 206 whose headers are right and whose body is short."""
    assert found["short_instead"]["refused"] == "bytes 1024 to 2047: only 100 came"


def test_page_reads_the_metadata(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The metadata arrives as JSON, with the tag that HEAD shows."""
    assert found["meta"]["size_bytes"] == len(demo_bytes)
    assert found["meta"]["etag"] == found["head"]["headers"]["etag"]


def test_page_probes_with_head(found: dict[str, Any], demo_bytes: bytes) -> None:
    """HEAD shows the page size, tag, time and range support: all exposed."""
    head = found["head"]
    assert (head["status"], head["length"]) == (200, 0)
    assert head["headers"]["content-length"] == str(len(demo_bytes))
    assert head["headers"]["accept-ranges"] == "bytes"
    assert head["headers"]["etag"].startswith('"')
    assert head["headers"]["last-modified"].endswith(" GMT")
    assert head["headers"]["x-request-id"]


def test_page_reads_a_range(found: dict[str, Any], demo_bytes: bytes, text_offset: int) -> None:
    """A range is exact and passes the checks that disk clients make on its headers."""
    part = found["range"]
    body = demo_bytes[text_offset : text_offset + 65_536]
    assert (part["status"], part["length"], part["sha256"]) == (206, 65_536, sha256(body))
    headers = part["headers"]
    assert headers["content-range"] == f"bytes {text_offset}-{text_offset + 65_535}/{len(demo_bytes)}"
    assert headers["content-encoding"] == "identity"
    assert "no-transform" in headers["cache-control"]


def test_page_reads_a_suffix(found: dict[str, Any], demo_bytes: bytes) -> None:
    """A suffix range, which browsers ask permission for first, gets through."""
    part = found["suffix"]
    assert (part["status"], part["sha256"]) == (206, sha256(demo_bytes[-1000:]))


def test_page_pins_the_version(found: dict[str, Any], demo_bytes: bytes) -> None:
    """If-Range with the tag gives the range, If-Match with another one 412, If-None-Match with it 304."""
    assert (found["same"]["status"], found["same"]["sha256"]) == (206, sha256(demo_bytes[:1024]))
    assert (found["changed"], found["fresh"]) == (412, 304)


def test_page_may_send_its_headers(found: dict[str, Any]) -> None:
    """A request id and v86's X-Accept-Encoding pass the preflight; the id comes back."""
    assert found["named"] == "browser-1"


def test_page_learns_why_a_range_failed(found: dict[str, Any], demo_bytes: bytes) -> None:
    """A 416 is readable across origins and tells the size."""
    assert found["past"]["status"] == 416
    assert found["past"]["headers"]["content-range"] == f"bytes */{len(demo_bytes)}"


def test_resource_policy_admits_the_site_alone(found: dict[str, Any]) -> None:
    """Without CORS, an isolated page gets at images of its own site and not at those of another one."""
    assert found["opaque"] == "opaque"
    assert found["foreign"] == "TypeError"


def test_page_downloads_the_whole(found: dict[str, Any], demo_bytes: bytes) -> None:
    """The whole image, hashed in the browser, is the file."""
    whole = found["whole"]
    assert (whole["status"], whole["length"], whole["sha256"]) == (200, len(demo_bytes), sha256(demo_bytes))


@pytest.mark.parametrize(
    ("image_id", "chunk_size", "has_digests"), [("published", 1 << 20, 1), ("virtual", 4 << 20, 0)]
)
def test_page_reads_chunks(
    found: dict[str, Any], demo_bytes: bytes, image_id: str, chunk_size: int, has_digests: int
) -> None:
    """The tutorial's example reads all chunks, checks each digest there is, and what it gets is the image."""
    count = len(demo_bytes) // chunk_size
    expected = {"chunks": count, "digests": count * has_digests}
    assert found[image_id] == expected | {"length": len(demo_bytes), "sha256": sha256(demo_bytes)}
