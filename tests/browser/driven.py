"""Pages with the client in a headless Chromium that a test drives, each test under an origin of its own."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from attrs import define
from tests.blackbox.harness import until
from tests.blackbox.leased_root import lease
from tests.browser.served import CLIENT, TOOLS
from tests.clients.chromium import IMAGES_HOST
from tools.emulator.devtools import Browser, Tab, browser
from tools.emulator.page_host import HOST, Site, page_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.served import Served

HERE = CLIENT.parent / "tests" / "browser"
PLAIN_HOST = "app.plain.test"
"""No browser trusts http under this name."""
POLICY = "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob: http:; connect-src *"
BLOCK = 32768
LEASE_SECONDS = 2.0


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def short_lease() -> bytes:
    """A lease of the image `secret` that is over soon."""
    now = time.time()
    return lease("secret", iat=now, exp=now + LEASE_SECONDS).encode()


@define
class Page:
    """A tab with driven_page.html. Its JavaScript: `aero`, `open`, `whole`, `hashOf`, `sha256`, `told`."""

    tab: Tab

    def ask(self, expression: str, seconds: float = 20.0) -> Any:
        return self.tab.evaluate(expression, seconds)

    def start(self, name: str, promise: str) -> None:
        """Begin something whose outcome `outcome` waits for."""
        both = "value => ({ value }), ({ code, message }) => ({ code, message })"
        self.ask(f"globalThis.{name} = ({promise}).then({both}); 0")

    def outcome(self, name: str, seconds: float = 20.0) -> Any:
        """What a promise came to; fails where it was rejected."""
        found = self.ask(f"await {name}", seconds)
        assert "value" in found, found
        return found["value"]

    def until(self, condition: str, seconds: float = 10.0) -> None:
        """Wait until an expression is true."""
        until(lambda: self.ask(condition), seconds)

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command of the DevTools protocol to the tab."""
        return self.tab.browser.call(method, parameters, self.tab.session)


@define
class Driven:
    """A browser, the origin of its pages, and the daemon whose images they read."""

    running: Browser
    origin: str
    served: Served

    def page(self, place: str, *, client: str = "", images: str = "", context: str | None = None) -> Page:
        """Open a page; `place` is its host, or the first label of it: each has a storage of its own.

        `client` and `images` are the origins of the client and of the images, `context` is a private window.
        """
        tab = self.running.new_tab(context)
        words = {"images": f"{images or self.images}/v1/images", "client": client}
        origin = self.origin.replace(HOST, place if "." in place else f"{place}.aero.localhost")
        tab.open(f"{origin}/page/driven_page.html?{urlencode(words)}")
        page = Page(tab)
        page.until("globalThis.ready === true")
        return page

    @property
    def images(self) -> str:
        """The origin of the daemon."""
        return self.served.base.replace("127.0.0.1", IMAGES_HOST)

    def ranges(self, since: int) -> list[str]:
        """The ranges that were asked for, from a number of requests on."""
        return [str(line["range"]) for line in self.served.request_lines()[since:] if line.get("range")]

    def requests(self) -> int:
        return len(self.served.request_lines())


@contextmanager
def driving(chromium: str, profile: Path, served: Served, port: int = 0) -> Iterator[Driven]:
    """Run a browser over a profile; `port` is that of the pages, for a profile that has their origin's data."""
    parts = {"page": HERE, "client": CLIENT, "modules": TOOLS / "node_modules"}
    site, flags = Site(parts, {"/lease": short_lease}, POLICY), [f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"]
    with page_host(site, port) as origin, browser(chromium, profile, flags) as running:
        yield Driven(running, origin, served)
