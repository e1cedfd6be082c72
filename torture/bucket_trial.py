"""A daemon over a bucket of the scripted store, which runs in this process so that its script can change."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import attrs
from tests.blackbox.harness import Daemon, running
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore

from torture.bucket_readers import Readers, Version, two_versions
from torture.outcome import MIB
from torture.trial import IMAGE, Trial

SIZE = 6 * MIB
TIMEOUT_SECONDS = 2.0
"""--origin-timeout-secs: one try may take 0.6 s of it."""

KEY, BUCKET = "disk", "images"
MANIFEST = b'{"images": [{"id": "disk", "file": "disk", "name": "Disk", "public": true}]}'
FLAGS = (
    f"--origin-timeout-secs={TIMEOUT_SECONDS:g}",
    "--origin-refresh-secs=0.5",
    "--cache-block-bytes=65536",
    "--shutdown-grace-secs=1",
)


@attrs.define(eq=False)
class Root:
    """The bucket, its two versions of the image, and the store."""

    store: ObjectStore
    bucket: Bucket
    versions: tuple[Version, Version]
    tags: dict[str, Version] = attrs.field(factory=dict)
    """By the daemon's tag."""

    @classmethod
    def filled(cls, store: ObjectStore, size: int = SIZE, quirks: Quirks | None = None) -> Root:
        """Make a bucket with a catalog and the first version."""
        root = cls(store, store.bucket(BUCKET, quirks or Quirks()), two_versions(size))
        root.restore_catalog()
        for version in reversed(root.versions):
            root.put(version)
        return root

    def put(self, version: Version) -> None:
        """Store a version of the image."""
        stored = self.bucket.put(KEY, version.data)
        self.tags[version.tag_of(stored.tag)] = self.tags[version.tag_of_digest] = version

    def restore_catalog(self) -> None:
        """Store the catalog anew."""
        self.bucket.put("manifest.json", MANIFEST)

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.versions[0].content.size

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of a daemon over it."""
        return f"--images-root=s3://{BUCKET}", *FLAGS

    def readers(self, *daemons: Daemon, longest: int = MIB) -> Readers:
        """Return readers of the image by way of daemons."""
        return Readers([one.port for one in daemons], self.tags, IMAGE, self.size, longest)


@attrs.define(eq=False)
class BucketTrial:
    """A daemon over a bucket, and the findings about it."""

    trial: Trial
    root: Root
    cache: Path

    @property
    def daemon(self) -> Daemon:
        """The daemon."""
        return self.trial.daemon

    def check(self, holds: object, text: str) -> None:
        """Complain unless it holds."""
        self.trial.check(holds, text)

    def cache_counter(self, result: str) -> float:
        """Return how many requests of blocks had this result."""
        return self.daemon.metrics().value("aero_storage_cache_requests_total", result=result)


@contextmanager
def home() -> Iterator[Path]:
    """Give a directory for the length of a with block."""
    with tempfile.TemporaryDirectory(prefix="aero-torture-") as name:
        yield Path(name)


@contextmanager
def run_bucket_trial(
    root: Root,
    *flags: str,
    cache: Path | None = None,
    cache_bytes: int = 4 * SIZE,
    env: Mapping[str, str] | None = None,
    complaints: list[str] | None = None,
) -> Iterator[BucketTrial]:
    """Run a daemon over the bucket, with a cache of so many bytes, or without one."""
    more = [] if cache is None else [f"--cache-dir={cache}", f"--cache-max-bytes={cache_bytes}"]
    environ = {**root.store.environ, **(env or {})}
    with home() as place, running(place, *root.flags, *more, *flags, env=environ, metrics_at_once=False) as daemon:
        trial = Trial(daemon, root.versions[0].content, [] if complaints is None else complaints)
        trial.check(daemon.ask(IMAGE, fields={"Range": "bytes=0-0"}).status == 206, "the image is not served")
        yield BucketTrial(trial, root, cache or place)
        trial.check_alive()
