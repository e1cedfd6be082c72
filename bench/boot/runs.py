"""Boots, one after the other: a browser, a link, a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
from tools.emulator.devtools import BrowserError, browser
from tools.emulator.page_host import Site, page_host

from bench.boot import link
from bench.boot.classroom import classroom, steps
from bench.boot.loaders import DAEMON, HTTP2, NGINX, Loader
from bench.boot.reads import AT_RANDOM, CLIENT, CURL, IN_A_ROW, MIB, XHR, Reader
from bench.boot.results import Boot, Classroom, Reach, Reading, distinct_bytes
from bench.boot.servers import IMAGE, NOISE, Server, behind_nginx, serving, storage
from bench.errors import BenchError

ROOT = Path(__file__).parents[2]
IMAGES_HOST = "images.aero.localhost"
BOOT_SECONDS = 300.0
TRIES = 5


@attrs.frozen
class Bench:
    """What all boots share: the page's origin, both servers, links to them, a place for browser profiles."""

    chromium: str
    origin: str
    servers: dict[str, Server]
    ports: dict[tuple[str, int], int]
    """Of the links, by server and round trip in milliseconds."""
    place: Path
    size: int
    """Of the image."""

    def boot(self, loader: Loader, rtt_ms: int) -> Boot:
        """Boot once; again where the session is the one of 20 that leaves the boot profile alone, and is not to."""
        for _ in range(TRIES):
            boot, used_profile = self._boot_fresh(loader, rtt_ms)
            if used_profile or not loader.wants_profile:
                return boot
        raise BenchError(f"{loader.name} left the boot profile alone {TRIES} times")

    def _boot_fresh(self, loader: Loader, rtt_ms: int) -> tuple[Boot, bool]:
        """Boot in a browser with an empty profile."""
        with tempfile.TemporaryDirectory(dir=self.place, prefix="profile-") as profile:
            if loader.warm:
                self._boot(loader, rtt_ms, Path(profile))
            return self._boot(loader, rtt_ms, Path(profile))

    def _boot(self, loader: Loader, rtt_ms: int, profile: Path) -> tuple[Boot, bool]:
        """Boot; whether the boot profile came."""
        server = self.servers[loader.server]
        since = server.mark()
        seconds = self._prompt(loader, self.ports[loader.server, rtt_ms], profile)
        lines = [line for line in server.lines(since) if line["status"] != 204]
        asked = [line for line in lines if line.get("method") != "HEAD"]
        boot = Boot(loader.name, rtt_ms, seconds, len(lines), sum(line["bytes_sent"] for line in asked))
        return boot, any(line.get("path", "").endswith("/profile") and line["status"] == 200 for line in lines)

    def _prompt(self, loader: Loader, port: int, profile: Path) -> float:
        """Seconds from power-on to the prompt."""
        scheme = "https" if loader.server == HTTP2 else "http"
        url = f"{scheme}://{IMAGES_HOST}:{port}/v1/images/{IMAGE}"
        with browser(self.chromium, profile, ["--ignore-certificate-errors"]) as running:
            tab = running.new_tab()
            tab.open(f"{self.origin}/page/index.html")
            tab.evaluate(
                f"globalThis.url = {json.dumps(url)}; globalThis.size = {self.size}; globalThis.disk = undefined"
            )
            tab.evaluate("globalThis.start = performance.now()")
            tab.evaluate(f"await machine.powerOn({loader.script})", BOOT_SECONDS)
            tab.evaluate("await machine.prompt()", BOOT_SECONDS)
            seconds = float(tab.evaluate("(performance.now() - start) / 1000"))
            tab.evaluate("await machine.powerOff(); await disk?.close()")
            return seconds

    def reach(self, rtt_ms: int) -> Reach:
        """What curl reaches over the link to the daemon."""
        url = f"http://127.0.0.1:{self.ports[DAEMON, rtt_ms]}/v1/images/{IMAGE}"
        seconds, size = _curl(url)
        small, _ = _curl(url, "--range", "0-511")
        return Reach(rtt_ms, size / seconds / (1 << 20), small * 1000)

    def readings(self, rounds: int) -> list[Reading]:
        """What the browser reads of noise, over a link of 50 ms without a limit on its rate, beside curl."""
        found = []
        with link.running(self.servers[DAEMON].port, link.Shape(0.05)) as port:
            reader = Reader(self.chromium, self.origin, f"http://{IMAGES_HOST}:{port}/v1/images/", self.place)
            for seed in range(rounds):
                found += [reader.measure(work, who, seed) for work in (AT_RANDOM, IN_A_ROW) for who in (XHR, CLIENT)]
                seconds, size = _curl(f"http://127.0.0.1:{port}/v1/images/{NOISE}")
                found.append(Reading(IN_A_ROW, CURL, size / MIB / seconds))
        return found

    def classroom(self, loader: Loader) -> Classroom:
        """Record a boot without a delay, and replay it by a classroom."""
        server = self.servers[DAEMON]
        since = server.mark()
        self.boot(loader, 0)
        return classroom(server.port, f"/v1/images/{IMAGE}", loader.name, steps(server.lines(since)))

    def learn(self, loader: Loader) -> int:
        """Boot by v86's own loader without a delay, learn the profile from it; the bytes that the guest read."""
        server = self.servers[DAEMON]
        since = server.mark()
        self.boot(loader, 0)
        ranges = [str(line["range"]) for line in server.lines(since) if line.get("range")]
        try:
            storage(server.root, "profile", "learn", IMAGE, str(server.log), "--seconds", str(round(BOOT_SECONDS)))
        except BenchError as error:
            raise BenchError(f"no profile could be learned: {error}") from error
        return distinct_bytes(ranges)


def _curl(url: str, *words: str) -> tuple[float, int]:
    told = "%{time_total} %{size_download}"
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "-o", "/dev/null", "-w", told, *words, url],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


@contextmanager
def prepared(rtts: list[int], mbit: float | None, guest: Path, v86: Path) -> Iterator[Bench]:
    """Start servers, links and the page."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise BenchError("chromium is not installed (Debian: apt-get install chromium)")
    if not (guest / "linux.img").exists():
        raise BenchError("there is no guest to boot: make guest browser-tools")
    page = ROOT / "tools" / "emulator" / "page"
    parts = {"page": page, "client": ROOT / "browser", "v86": v86, "guest": guest}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aero-boot-")))
        servers = {
            name: stack.enter_context(serving(name, guest / "linux.img", place / name)) for name in (NGINX, DAEMON)
        }
        servers[HTTP2] = stack.enter_context(behind_nginx(servers[DAEMON], place / "http2"))
        rate = mbit * 125_000 if mbit else None
        ports = {
            (name, rtt): stack.enter_context(link.running(server.port, link.Shape(rtt / 1000, rate)))
            for name, server in servers.items()
            for rtt in rtts
        }
        origin = stack.enter_context(page_host(Site(parts, {})))
        yield Bench(chromium, origin, servers, ports, place, (guest / "linux.img").stat().st_size)


def measure(bench: Bench, loaders: list[Loader], rtts: list[int], say: Callable[[str], None]) -> list[Boot]:
    """Boot everything once, in turn."""
    boots: list[Boot] = []
    began = time.monotonic()
    for rtt in rtts:
        for loader in loaders:
            try:
                boots.append(boot := bench.boot(loader, rtt))
            except BrowserError as error:
                raise BenchError(f"{loader.name} at {rtt} ms: {error}") from error
            spent = time.monotonic() - began
            say(f"{spent:5.0f} s  {rtt:3} ms  {loader.name:15} {boot.seconds:5.1f} s")
    return boots
