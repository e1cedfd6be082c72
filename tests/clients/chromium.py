"""A page on an origin of its own, opened in a headless Chromium, and what it reports.

Page and daemon go by names of one site, as in production: browsers find *.localhost on this machine and trust it,
and Chromium takes no two origins at a bare IP address for one site.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

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


class PageHandler(BaseHTTPRequestHandler):
    """Serves the page to the browser, does what the page asks for by POST, and takes its report."""

    reports: queue.Queue[dict[str, Any]]
    page: str
    modules: Path | None
    actions: Mapping[str, Callable[[], object]]

    def do_GET(self) -> None:
        kind, body = self.found()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cross-Origin-Resource-Policy", "cross-origin")  # modules go to other origins, too
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def found(self) -> tuple[str, bytes]:
        """Give the page at `/?…`, and modules at `/client/…`."""
        name = self.path.removeprefix("/client/")
        if self.path.startswith("/?"):
            return "text/html", self.page.encode()
        if self.modules is None or name not in {module.name for module in self.modules.glob("*.js")}:
            return "text/plain", b""
        return "text/javascript", (self.modules / name).read_bytes()

    def do_POST(self) -> None:
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (action := self.actions.get(self.path)) is not None:
            action()
        self.send_response(204)
        self.end_headers()
        if action is None:
            self.reports.put(report)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing on standard error."""


@contextmanager
def page_server(
    page: str, actions: Mapping[str, Callable[[], object]] = {}, modules: Path | None = None
) -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """Serve the page; give its origin and the queue of what browsers report.

    `actions` are what a POST does; `modules` is a directory with scripts, which the page finds below `/client/`.
    """
    reports: queue.Queue[dict[str, Any]] = queue.Queue()
    handler = type(
        "Handler", (PageHandler,), {"reports": reports, "page": page, "modules": modules, "actions": actions}
    )
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
    """Return what the page reports; the test fails with what went wrong in the page."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            report = reports.get(timeout=0.2)
        except queue.Empty:
            continue
        if "error" in report:
            pytest.fail(f"the page failed after {sorted(report)}: {report['error']}", pytrace=False)
        return report
    pytest.fail(f"no report from the browser (status {process.returncode}):\n{complaints.read_text()[-3000:]}")
