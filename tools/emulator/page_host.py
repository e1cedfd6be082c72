"""The origin of the page: files by their paths, made answers, and the headers that isolate a page."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from attrs import frozen

HOST = "app.aero.localhost"
"""Browsers find *.localhost on this machine and trust it; with the images' host it is of one site."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src *; worker-src 'self' blob:"


@frozen
class Site:
    """What is served: directories by their first segment, and answers that are made at each request."""

    directories: Mapping[str, Path]
    made: Mapping[str, Callable[[], bytes]]
    policy: str = POLICY
    """What pages may load, as `Content-Security-Policy` says it."""

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """The type and the bytes of a path, or None."""
        if (make := self.made.get(path)) is not None:
            return "text/plain", make()
        first, _, name = path.removeprefix("/").partition("/")
        if (directory := self.directories.get(first)) is None or ".." in name:
            return None
        file = directory / name
        return (TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes()) if file.is_file() else None


class Handler(BaseHTTPRequestHandler):
    """Answers GET alone."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Answer with a file or a made answer."""
        found = self.site.answer(self.path.partition("?")[0])
        kind, body = found or ("text/plain", b"")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Content-Security-Policy", self.site.policy)
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing on standard error."""


@contextlib.contextmanager
def page_host(site: Site, port: int = 0) -> Iterator[str]:
    """Serve the site; give its origin. Data that a profile has belong to an origin, so to its port."""
    handler = type("SiteHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
