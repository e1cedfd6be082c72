"""nginx with a file from etc/nginx in front of a daemon, and curl to ask both."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs
from tests.disk_bytes import noise_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
ETC = Path(__file__).parents[2] / "etc" / "nginx"
HOST_NAME = "images.example.com"
PATIENCE = 10.0
SLICE = 1 << 20
DISK = noise_disk(1, 5 * SLICE + 24 * 512)
CHUNK = SLICE
HUGE = 64 << 20
IMAGE, CHUNKED = "/v1/images/disk", "/v1/images/disk/chunked"
SITE_FILES = ["aero-storage.conf", "aero-storage-cache.conf", "aero-storage-cache-leases.conf"]
# What of a response a proxy may make anew, and what it adds.
PROXY_HEADERS = {"date", "server", "connection", "x-request-id", "x-cache-status"}

# What stands around them: a distribution's nginx.conf that compresses and buffers all it can.
NGINX_CONF = """\
{user}
daemon off;
worker_processes 1;
pid {place}/pid;
error_log {place}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {place}/temp;
    proxy_temp_path {place}/temp;
    fastcgi_temp_path {place}/temp;
    uwsgi_temp_path {place}/temp;
    scgi_temp_path {place}/temp;
    gzip on;
    gzip_proxied any;
    gzip_min_length 1;
    gzip_types *;
    include {place}/site.conf;
}}
"""


def until(look: Callable[[], T], what: str) -> T:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    """Return a port on which nobody listens."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return several, each another one."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


@attrs.frozen
class CurlResponse:
    """One response as curl saw it; `headers` by their lower-case names."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def comparable(self) -> tuple[int, dict[str, str], bytes]:
        """What has to be the same whoever is in between."""
        return (
            self.status,
            {name: value for name, value in self.headers.items() if name not in PROXY_HEADERS},
            self.body,
        )


@attrs.frozen
class Curl:
    """curl with a certificate to trust; `ports` maps https and http to where they are."""

    path: str
    place: Path
    address: str
    more: tuple[str, ...] = ()

    def command(self, target: str, *words: str) -> list[str]:
        url = self.address + target
        quiet = ("-q", "-sS", "--path-as-is", "--max-time", "30")
        return [self.path, *quiet, *self.more, *words, url]

    def fetch(self, target: str, *words: str, accept: int = 0) -> CurlResponse:
        head, body = self.place / "head", self.place / "body"
        body.write_bytes(b"")
        command = self.command(target, "-D", str(head), "-o", str(body), "-w", "%{http_version}", *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == accept, f"{command} ended with {done.returncode}: {done.stderr}"
        first, *lines = head.read_text(encoding="latin-1").strip().splitlines()
        pairs = [line.partition(":") for line in lines]
        headers: dict[str, str] = {}
        for name, _, value in pairs:
            assert name.lower() not in headers, f"{name} more than once"
            headers[name.lower()] = value.strip()
        content = b"" if "-I" in words else body.read_bytes()  # curl writes the head there
        return CurlResponse(done.stdout, int(first.split()[1]), headers, content)


@attrs.frozen
class NginxProxy:
    """nginx with one of the files in front of a daemon."""

    curl: Curl
    direct: Curl
    """The daemon itself."""
    root: Path
    log: Path
    plain_port: int
    is_cache: bool

    def lines(self) -> list[dict[str, object]]:
        text = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("message") == "request complete"]

    def logged(self, request_id: str) -> dict[str, object]:
        """The line of the request, once it is there."""
        found = until(lambda: [one for one in self.lines() if one["request_id"] == request_id], f"line {request_id}")
        return found[0]

    def asked(self, request_id: str) -> int:
        """How often the daemon was asked for it; a request that surely reaches it marks where to stop looking."""
        mark = f"mark-{time.monotonic_ns()}"
        self.direct.fetch("/healthz", "-H", f"X-Request-Id: {mark}")
        self.logged(mark)
        return sum(line["request_id"] == request_id for line in self.lines())


def site_config(name: str, place: Path, certificate: Path, upstreams: tuple[str, ...], ports: Sequence[int]) -> str:
    """The file with what an operator edits, and with ports on 127.0.0.1: a test has neither root nor, maybe, IPv6."""
    text = (ETC / name).read_text(encoding="utf-8")
    edits = {
        "    listen 80;\n    listen [::]:80;\n": f"    listen 127.0.0.1:{ports[0]};\n",
        "    listen 443 ssl http2;": f"    listen 127.0.0.1:{ports[1]} ssl http2;",
        "    listen [::]:443 ssl http2;\n": "",
        "/etc/ssl/images.example.com.pem;": f"{certificate}/cert.pem;",
        "/etc/ssl/private/images.example.com.key;": f"{certificate}/key.pem;",
    }
    for shown, upstream in zip(re.findall(r"^    server (.*); # EDIT", text, re.MULTILINE), upstreams, strict=True):
        edits[f"    server {shown}; # EDIT"] = f"    server {upstream}; # EDIT"
    for old, new in edits.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    for kept in ("/var/cache/nginx/", "/var/log/nginx/"):
        text = text.replace(kept, f"{place}/")
    return text


def write_nginx_config(place: Path, site: str) -> None:
    """Write `nginx.conf` for a site, all of it in one directory."""
    user = "user root;" if os.geteuid() == 0 else ""  # or its workers could not reach the directory
    (place / "site.conf").write_text(site, encoding="utf-8")
    (place / "nginx.conf").write_text(NGINX_CONF.format(place=place, user=user), encoding="utf-8")


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def missing_features(nginx: str, curl: str) -> str | None:
    """Say what the two programs were built without, and need here."""
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, timeout=10, check=True).stderr
    for module in ("http_slice_module", "http_v2_module", "http_ssl_module"):
        if module not in built:
            return f"{nginx} has no {module} (Debian's has it)"
    said = subprocess.run([curl, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    return None if "HTTP2" in said else f"{curl} knows no HTTP/2 (Debian's does)"


def import_test_images(place: Path, operate: Callable[..., str]) -> None:
    """Put a public image, also in chunks, a private one, one to be replaced and a huge one of zeros into `images`."""
    (place / "disk").write_bytes(DISK)
    with (place / "zeros").open("wb") as zeros:
        zeros.truncate(HUGE)
    for image_id in ("disk", "moving"):
        operate(place / "images", "import", place / "disk", "--id", image_id)
    operate(place / "images", "import", place / "disk", "--id", "secret", "--private")
    operate(place / "images", "import", place / "zeros", "--id", "huge")
    for image_id in ("disk", "secret"):
        operate(place / "images", "publish", image_id, "--chunk-size", str(CHUNK), "--image-version", "v1")
