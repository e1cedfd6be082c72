"""Private images behind a proxy, and leases for them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import attrs
from tests.clients.nginx_proxy import CHUNK, DISK
from tests.lease_tokens import KEYS, with_claims

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET, OTHER, MOVING = "/v1/images/secret", "/v1/images/other", "/v1/images/moving"


@attrs.frozen
class LeasedImages:
    """A public image, private ones of which one is to be replaced, and the two files of leases."""

    place: Path

    @classmethod
    def write(cls, place: Path, operate: Callable[..., str]) -> LeasedImages:
        """Put them all below a directory."""
        (place / "disk").write_bytes(DISK)
        operate(place / "images", "import", place / "disk", "--id", "disk")
        for image_id in ("secret", "other", "moving"):
            operate(place / "images", "import", place / "disk", "--id", image_id, "--private")
        operate(place / "images", "publish", "secret", "--chunk-size", str(CHUNK), "--image-version", "v1")
        images = cls(place)
        (place / "keys.json").write_bytes(KEYS)
        (place / "keys.json").chmod(0o600)
        images.revoke()
        return images

    @property
    def root(self) -> Path:
        return self.place / "images"

    @property
    def flags(self) -> tuple[str, ...]:
        """What makes a daemon ask for leases; they end when they say so."""
        keys, revoked = self.place / "keys.json", self.place / "revoked.jsonl"
        files = ("--lease-keys-file", str(keys), "--lease-revocations-file", str(revoked))
        return (*files, "--lease-leeway-secs", "0", "--trusted-proxy", "127.0.0.1")

    def revoke(self, *names: str) -> None:
        """Have these leases revoked, and no other."""
        (self.place / "new").write_text("".join(json.dumps({"jti": name}) + "\n" for name in names))
        (self.place / "new").rename(self.place / "revoked.jsonl")

    def file_of(self, image_id: str) -> Path:
        entries = json.loads((self.root / "manifest.json").read_text())["images"]
        (entry,) = (one for one in entries if one["id"] == image_id)
        return self.root / str(entry["file"])

    def replace(self, image_id: str) -> None:
        """Put other bytes of the same size in place of an image."""
        file = self.file_of(image_id)
        (self.root / "new").write_bytes(file.read_bytes()[::-1])
        (self.root / "new").rename(file)


def lease(img: object = "secret", seconds: float = 600, **claims: object) -> str:
    """Make a lease that is good for some seconds from now."""
    now = time.time()
    return with_claims("hs", **({"img": img, "iat": now - 60, "exp": now + seconds} | claims))


def bearer(token: str) -> tuple[str, str]:
    """The words by which curl shows a lease."""
    return ("-H", f"Authorization: Bearer {token}")
