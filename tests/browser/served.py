"""A daemon with images for the client of browsers."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from tests.blackbox.harness import Daemon, Line, running, until
from tests.lease_tokens import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).parent / "aero-storage"
TOOLS = Path(sys.executable).parents[1] / "browser"
"""The packages of `make browser-tools`."""
CLIENT = Path(__file__).parents[2] / "browser"
SIZE, HOLE = 5 << 20, (2 << 20, 4 << 20)


@frozen
class Served:
    """A daemon with images, and what they are made of."""

    base: str
    root: Path
    image: Path
    """Raw bytes of `disk`, `published`, `moving` and `secret`; two of its five MiB are a hole."""
    other: Path
    """As long, with other bytes."""
    _daemon: Daemon

    def request_lines(self) -> list[Line]:
        return [line for line in self._daemon.lines() if line.get("message") == "request complete"]

    def until_version(self, image_id: str, version: str) -> None:
        """Wait until the daemon has a version."""
        until(lambda: json.loads(self._daemon.ask(f"/v1/images/{image_id}/meta").body)["version"] == version)


def make_image(path: Path, seed: int) -> Path:
    data = random.Random(seed).randbytes(SIZE)
    with path.open("wb") as file:
        file.write(data[: HOLE[0]])
        file.seek(HOLE[1])
        file.write(data[HOLE[1] :])
    return path


def operate(root: Path, *words: str | Path) -> None:
    command = [str(COMMAND), *map(str, words), "--images-root", str(root)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def profile_of(image: Path) -> dict[str, object]:
    """A boot profile of two parts, one of them in the hole."""
    return {
        "schema": "aero.profile.v1",
        "image_id": "profiled",
        "version": f"sha256-{hashlib.sha256(image.read_bytes()).hexdigest()}",
        "name": "boot",
        "unit": 65536,
        "sessions": 1,
        "recorded": "2026-11-28T12:00:00Z",
        "seconds": 30,
        "bytes": 4 * 65536,
        "ranges": [[64, 3, 0, 100], [40, 1, 10, 100]],
    }


@contextmanager
def serving(home: Path, *flags: str) -> Iterator[Served]:
    """Serve an image raw, in chunks, private, with a boot profile, and under an id that tests replace."""
    root = home / "images"
    image, other = make_image(home / "image.raw", 15), make_image(home / "other.raw", 16)
    root.mkdir()
    for name in ("disk", "published", "moving"):
        operate(root, "import", image, "--id", name, "--format", "raw")
    operate(root, "import", image, "--id", "secret", "--format", "raw", "--private")
    operate(root, "publish", "published", "--chunk-size", "256KiB")
    operate(root, "import", image, "--id", "profiled", "--format", "raw")
    profile = home / "profile.json"
    profile.write_text(json.dumps(profile_of(image)), encoding="utf-8")
    operate(root, "profile", "import", "profiled", profile)
    keys = home / "keys.json"
    keys.write_bytes(KEYS)
    keys.chmod(0o600)
    with running(
        home, "--virtual-chunks", "--virtual-chunk-bytes", "65536", "--lease-keys-file", str(keys), *flags
    ) as daemon:
        yield Served(f"http://127.0.0.1:{daemon.port}", root, image, other, daemon)
