"""A PC in a browser whose disk the daemon serves on another origin, for a private image with leases that end soon."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from tests.blackbox.harness import Daemon, Line, running, until
from tests.lease_tokens import KEYS, with_claims
from tools.emulator.devtools import Tab, browser
from tools.emulator.page_host import Site, page_host

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[2]
INSTALLED = HOME / ".venv"
COMMAND = Path(sys.executable).parent / "aero-storage"
IMAGES_HOST = "images.aero.localhost"
IMAGE = "linux"
LEASE_SECONDS = 5
BOOT_SECONDS = 300.0
"""An idle machine takes a tenth of it."""


@frozen
class Guest:
    """What `make guest` leaves."""

    v86: Path
    home: Path

    @property
    def files(self) -> Path:
        """The firmware, and v86 as the page has it."""
        return self.home / "images" / ".page"

    @property
    def image(self) -> Path:
        return self.home / "images" / "linux.img"

    @classmethod
    def installed(cls) -> Guest | None:
        guest = cls(INSTALLED / "browser" / "node_modules" / "v86" / "build", INSTALLED / "guest")
        return guest if guest.image.exists() and guest.v86.exists() else None


@define
class Leases:
    """Signs a lease of a few seconds whenever the page asks for one."""

    numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    def make(self) -> bytes:
        now = time.time()
        claims = {"img": IMAGE, "iat": now, "exp": now + LEASE_SECONDS, "jti": f"boot-{next(self.numbers)}"}
        return with_claims(**claims, sub=...).encode()


@define
class Served:
    """The daemon with the image, and the page's site."""

    daemon: Daemon
    origin: str
    image: bytes
    """What the image is before a test replaces it."""
    leases: Leases

    @property
    def address(self) -> str:
        return f"http://{IMAGES_HOST}:{self.daemon.port}/v1/images/{IMAGE}"

    def version(self) -> str:
        lease = self.leases.make().decode()
        told: str = json.loads(self.daemon.ask(f"/v1/images/{IMAGE}/meta?lease={lease}").body)["version"]
        return told

    def replace(self, image: Path) -> None:
        """Import another image under the same id, and wait until the daemon says so."""
        before = self.version()
        import_image(self.daemon.root, image)
        until(lambda: self.version() != before, 10)

    def requests(self, since: int = 0) -> list[Line]:
        """The complete log lines of requests for the image, from a place in the log on."""
        return [line for line in self.daemon.lines(since) if line.get("path", "").startswith(f"/v1/images/{IMAGE}")]


def import_image(root: Path, image: Path) -> None:
    command = [str(COMMAND), "import", str(image), "--id", IMAGE, "--format", "raw", "--private"]
    subprocess.run([*command, "--images-root", str(root)], check=True, capture_output=True, timeout=120)


@contextmanager
def serving(guest: Guest, home: Path) -> Iterator[Served]:
    """Serve the image to holders of leases, and the page with all that it needs."""
    root, keys, leases = home / "images", home / "keys.json", Leases()
    root.mkdir()
    import_image(root, guest.image)
    keys.write_bytes(KEYS)
    keys.chmod(0o600)
    page = HOME / "tools" / "emulator" / "page"
    parts = {"page": page, "client": HOME / "browser", "v86": guest.v86, "guest": guest.files}
    flags = ("--lease-keys-file", str(keys), "--lease-leeway-secs", "0")
    with running(home, *flags) as daemon, page_host(Site(parts, {"/lease": leases.make})) as origin:
        yield Served(daemon, origin, guest.image.read_bytes(), leases)


@define
class Pc:
    """The page with the PC. Its JavaScript: `disk`, `over` (the overlay) and `machine`."""

    tab: Tab

    def ask(self, expression: str, seconds: float = 30.0) -> Any:
        return self.tab.evaluate(expression, seconds)

    def open_disk(self, address: str, options: dict[str, object]) -> None:
        bring = "lease: async () => (await fetch('/lease')).text()"
        opened = f"await aero.AeroDisk.open('{address}', {{...{json.dumps(options)}, {bring}}})"
        self.ask(f"globalThis.disk = machine.watch({opened})")
        self.ask("globalThis.changes = []; disk.addEventListener('changed', ({detail}) => changes.push(detail))")

    def boot(self) -> None:
        """Switch it on over `over`, and wait for the prompt."""
        self.ask("await machine.powerOn(machine.through(over))")
        self.ask("await machine.prompt()", BOOT_SECONDS)

    def run(self, command: str) -> str:
        """Run a command in the guest that ends with 0; give what it printed."""
        done = self.ask(f"await machine.run({json.dumps(command)})", BOOT_SECONDS)
        assert done["status"] == 0, done["text"]
        text: str = done["text"]
        return text

    def reads(self) -> list[tuple[int, int, str]]:
        """Each read of the disk so far: offset, length, SHA-256."""
        return [(offset, length, digest) for offset, length, digest in self.ask("machine.reads")]


def wrong_reads(reads: list[tuple[int, int, str]], image: bytes) -> list[tuple[int, int]]:
    """Those reads that did not give the bytes of an image."""
    return [
        (offset, length)
        for offset, length, digest in reads
        if hashlib.sha256(image[offset : offset + length]).hexdigest() != digest
    ]


@contextmanager
def opened(chromium: str, profile: Path, origin: str) -> Iterator[Pc]:
    """Run a browser over a profile, with the page open."""
    with browser(chromium, profile) as running_browser:
        tab = running_browser.new_tab()
        tab.open(f"{origin}/page/index.html")
        yield Pc(tab)
