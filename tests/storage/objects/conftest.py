"""A store with a bucket `images`, and origins that look at it: their pauses take no time, but the clock goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import attrs
import pytest
from tests.object_store.buckets import Bucket, Quirks
from tests.object_store.server import ObjectStore

from aero_storage.settings.origin_url import parse_origin_url
from aero_storage.storage.objects.obstore_origin import ObstoreOrigin
from aero_storage.storage.objects.retries import Retries
from aero_storage.storage.objects.store_client import StoreClient


@attrs.define
class SkippedTime:
    """The steady clock, put forward where somebody would sleep."""

    skipped: float = 0.0
    pauses: list[float] = attrs.field(factory=list)

    def clock(self) -> float:
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.skipped += seconds


@attrs.define
class Requests:
    """An observer that remembers."""

    seen: list[tuple[str, str, int]] = attrs.field(factory=list)

    def requested(self, operation: str, result: str, seconds: float, size: int) -> None:
        assert seconds >= 0
        self.seen.append((operation, result, size))

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(operation, result) for operation, result, _ in self.seen]


MakeOrigin = Callable[..., ObstoreOrigin]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with ObjectStore() as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def bucket(store: ObjectStore) -> Bucket:
    return store.bucket("images", Quirks())


@pytest.fixture
def skipped() -> SkippedTime:
    return SkippedTime()


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def make_origin(store: ObjectStore, skipped: SkippedTime, requests: Requests) -> MakeOrigin:
    def make(url: str = "s3://images", seconds: float = 20.0) -> ObstoreOrigin:
        client = StoreClient(parse_origin_url(url), allow_http=True, observer=requests, clock=skipped.clock)
        return ObstoreOrigin(client, store.endpoint, seconds, Retries(skipped.clock, skipped.sleep, lambda: 1.0))

    return make


@pytest.fixture
def origin(make_origin: MakeOrigin) -> ObstoreOrigin:
    return make_origin()
