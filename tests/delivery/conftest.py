"""Requests without a web framework, and what stands around the handler: a store, a disk and a log that do as told.

Test modules name these types in annotations only, for mypy; at run time all comes through fixtures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import attrs
import pytest
from tests.delivery.decide import NOW, Asked, decide
from tests.policies import policy_with
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock

from aero_storage.catalog.current import CurrentCatalog
from aero_storage.catalog.model import Catalog, Image
from aero_storage.catalog.reader import Reading
from aero_storage.delivery.access_record import AccessRecord, Reporter
from aero_storage.delivery.admission import Admission
from aero_storage.delivery.boot_profiles import ProfileLinks
from aero_storage.delivery.byte_handler import ByteHandler
from aero_storage.delivery.exchange import Ending, Exchange
from aero_storage.delivery.extents_handler import ExtentsHandler
from aero_storage.delivery.facts import Facts, Names, read_facts
from aero_storage.delivery.handler import RequestHandler, Total
from aero_storage.delivery.operations import Build
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.representation import VirtualChunks, image_representation
from aero_storage.delivery.routes import ROUTES, Route
from aero_storage.disk import Disk
from aero_storage.errors import BlobNotFoundError, BlobUnreadableError, CatalogError
from aero_storage.http.conditional import Validators
from aero_storage.http.extents.extents import KnownExtents, everything
from aero_storage.logs.json_lines import Fields
from aero_storage.metrics import Metrics, Registry
from aero_storage.storage.blob import BlobStatus
from aero_storage.storage.local.file_status import file_status
from aero_storage.storage.store import BlobRequest, EntryFault, Opened, RememberedFile, Store, Survey

_LIMITED = policy_with(max_range_bytes=100)
_VALIDATORS = Validators('"v1"', 1_700_000_000_500_000_000)  # Tue, 14 Nov 2023 22:13:20 GMT, and a half
_IMAGE = Image("disk.img", "disk.img", "disk.img")
_T = TypeVar("_T")
Headers = Mapping[str, str]


def drive(awaitable: Awaitable[_T]) -> _T:
    """The result of what needs no reactor to come to its end."""
    results: list[_T] = []
    failures: list[BaseException] = []

    async def run() -> None:
        results.append(await awaitable)

    def fail(failure: object) -> None:
        failures.append(getattr(failure, "value"))  # noqa: B009 - a Failure

    Deferred.fromCoroutine(run()).addErrback(fail)
    if failures:
        raise failures[0]
    assert results, "it is still waiting"
    return results[0]


class Drive(Protocol):
    def __call__(self, awaitable: Awaitable[_T]) -> _T: ...


@pytest.fixture(name="drive")
def _drive() -> Drive:
    return drive


def _match(path: str) -> tuple[Route | None, Mapping[str, bytes]]:
    given = path.split("/")
    for route in ROUTES:
        parts = route.template.split("/")
        pairs = list(zip(parts, given, strict=False))
        if len(parts) == len(given) and all(part.startswith(":") or part == raw for part, raw in pairs):
            return route, {part[1:]: raw.encode("ascii") for part, raw in pairs if part.startswith(":")}
    return None, {}


def ask(
    path: str = "/v1/images/disk.img",
    headers: Headers | None = None,
    *,
    method: str = "GET",
    body: bool = False,
    query: str = "",
) -> Asked:
    """The facts of a request whose raw path is looked up in the table of routes, and its range."""
    path, _, behind = path.partition("?")
    route, segments = _match(path)
    given = {name.lower(): value for name, value in (headers or {}).items()}
    facts = read_facts(
        method=method,
        path=path,
        query=query or behind,
        route=route,
        names=Names.parse(segments),
        headers=given,
        announces_body=body,
        now=NOW,
    )
    return Asked(**attrs.asdict(facts, recurse=False), range=given.get("range"))


class Ask(Protocol):
    def __call__(
        self,
        path: str = ...,
        headers: Headers | None = ...,
        *,
        method: str = ...,
        body: bool = ...,
        query: str = ...,
    ) -> Asked: ...


@pytest.fixture(name="ask")
def _ask() -> Ask:
    return ask


def reply_to(
    facts: Asked, policy: Policy = _LIMITED, validators: Validators = _VALIDATORS, size: int = 1000
) -> Reply:
    """The reply to a request for an image of 1,000 bytes under a limit of 100, unless told otherwise."""
    image = attrs.evolve(_IMAGE, etag=validators.etag, last_modified=validators.last_modified)
    return decide(facts, policy, image_representation(facts, policy, image, file_status(size, 0)))


class ReplyTo(Protocol):
    def __call__(
        self, facts: Asked, policy: Policy = ..., validators: Validators = ..., size: int = ...
    ) -> Reply: ...


@pytest.fixture(name="reply_to")
def _reply_to() -> ReplyTo:
    return reply_to


@attrs.define(eq=False)
class FakeBlob:
    """A blob of which only the size matters; counts how often it is closed."""

    status: BlobStatus
    closes: int = 0
    raw: bool = True
    sha256: str | None = None
    file: None = None
    lane: int = 0
    piece_bytes: int = 128 * 1024
    origin_bytes: int | None = None
    remembered: RememberedFile | None = None
    beginnings: list[Deferred[None]] | None = None
    """What `begin` returns, one after the other; None: nothing has to be brought in."""

    def begins_now(self, _offset: int, _length: int) -> bool:
        return self.beginnings is None

    def begin(self, _offset: int, _length: int) -> Deferred[None]:
        assert self.beginnings is not None
        return self.beginnings.pop(0)

    def read(self, offset: int, length: int) -> bytes:
        raise AssertionError(f"nothing here reads: {length} bytes at {offset}")

    def read_later(self, _disk: Disk, offset: int, length: int, *, background: bool) -> Deferred[bytes]:
        raise AssertionError(f"nothing here reads: {length} bytes at {offset}, {background=}")

    def close(self) -> None:
        self.closes += 1


@attrs.define(eq=False)
class FakeStore:
    """Holds blobs by file name; what is not among them is missing, what is in `unreadable` cannot be read."""

    blobs: dict[str, FakeBlob] = attrs.field(factory=dict)
    unreadable: set[str] = attrs.field(factory=set)
    is_complete: bool = True
    opened: list[str] = attrs.field(factory=list)
    asked: list[tuple[str, ...]] = attrs.field(factory=list)
    """The ids of each survey and each question for completeness."""
    held: Deferred[Opened] | None = None
    """What the next open gives, instead of an answer at once."""
    cached: dict[BlobRequest, FakeBlob] = attrs.field(factory=dict)
    """What can be had without waiting."""
    mapped: list[str] = attrs.field(factory=list)
    """The ids of the images whose extents were looked for."""
    maps: list[Deferred[KnownExtents]] = attrs.field(factory=list)
    """What the next looks for extents give; after them, all is data."""

    def put(self, name: str, size: int = 1000, mtime_ns: int = 1_700_000_000_500_000_000) -> FakeBlob:
        self.blobs[name] = FakeBlob(file_status(size, mtime_ns))
        return self.blobs[name]

    def open(self, wanted: BlobRequest) -> Deferred[Opened]:
        published = wanted.artifact is not None and (wanted.image is None or wanted.manifest in self.blobs)
        name = wanted.artifact if published or wanted.image is None else wanted.image.file
        assert name is not None
        self.opened.append(name)
        return self.held or execute(self._find, name, raw=not published)

    def open_cached(self, wanted: BlobRequest) -> Opened | None:
        return self.cached.get(wanted)

    def close(self) -> None:
        raise AssertionError("the handler does not own the store")

    def extents(self, image: Image, status: BlobStatus) -> Deferred[KnownExtents]:
        self.mapped.append(image.id)
        if self.maps:
            return self.maps.pop(0)
        return succeed(KnownExtents(everything(status.size)))

    def look_anew(self) -> None:
        raise AssertionError("the handler has no such wish")

    def _find(self, name: str, *, raw: bool) -> Opened:
        if name in self.unreadable:
            raise BlobUnreadableError(name)
        if name not in self.blobs:
            raise BlobNotFoundError(name)
        self.blobs[name].raw = raw
        return self.blobs[name]

    def survey(self, images: Iterable[Image]) -> Deferred[Survey]:
        asked = tuple(images)
        self.asked.append(tuple(image.id for image in asked))
        found = tuple((image, self.blobs[image.file].status) for image in asked if image.file in self.blobs)
        return succeed(Survey(found, sum(image.file in self.unreadable for image in asked)))

    def faults(self, images: Iterable[Image]) -> Deferred[tuple[EntryFault, ...]]:
        missing = [image for image in images if image.file not in self.blobs]
        return succeed(tuple(EntryFault(image, f"{image.file}: missing") for image in missing))

    def complete(self, images: Iterable[Image]) -> Deferred[bool]:
        self.asked.append(tuple(image.id for image in images))
        return succeed(self.is_complete)


@attrs.define(eq=False)
class HeldDisk:
    """A Disk that does its work only when it is told to."""

    waiting: list[Callable[[], None]] = attrs.field(factory=list)

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane)

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del discard, lane, background
        deferred: Deferred[_T] = Deferred()

        def perform() -> None:
            if not deferred.called:
                deferred.callback(work())

        self.waiting.append(perform)
        return deferred


@attrs.define(eq=False)
class FakeDisk:
    """Does work at once and counts it, or fails as it is told."""

    works: int = 0
    error: Exception | None = None

    def later(self, work: Callable[[], object], lane: Hashable = None) -> None:
        self.run(work, lane=lane)

    def run(
        self,
        work: Callable[[], _T],
        discard: Callable[[_T], object] = lambda _: None,
        lane: Hashable = None,
        *,
        background: bool = False,
    ) -> Deferred[_T]:
        del discard, lane, background
        self.works += 1
        if self.error is not None:
            error, self.error = self.error, None
            return execute(_throw, error)
        return execute(work)


def _throw(error: Exception) -> _T:  # type: ignore[type-var]
    raise error


@attrs.define(eq=False)
class FakeLog:
    """Keeps what it is told."""

    events: list[tuple[str, str, Fields]] = attrs.field(factory=list)

    def event(self, level: str, message: str, fields: Fields = {}) -> None:  # noqa: B006
        self.events.append((level, message, fields))


@attrs.define(eq=False)
class Bench:
    """A handler, and all that stands around it."""

    clock: Clock = attrs.field(factory=Clock)
    disk: FakeDisk = attrs.field(factory=FakeDisk)
    log: FakeLog = attrs.field(factory=FakeLog)
    store: FakeStore = attrs.field(factory=FakeStore)
    current_catalog: CurrentCatalog = attrs.field(factory=CurrentCatalog)
    registry: Registry = attrs.field(factory=Registry)
    now: float = NOW
    """The wall clock, in seconds since the epoch."""
    metrics: Metrics = attrs.field(init=False)
    admission: Admission = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = Metrics(self.registry, "1.2.3", 100)
        self.admission = Admission(2, 1.0, self.clock)

    def serve(self, *images: Image, listing: bool = False) -> None:
        """Put a catalog in force."""
        self.current_catalog.take(Reading(Catalog(images, listing=listing), None))

    def break_catalog(self) -> None:
        """Let a reading of the catalog fail."""
        self.current_catalog.take(Reading(None, CatalogError("manifest.json: not JSON")))

    @property
    def reporter(self) -> Reporter:
        return Reporter(self.clock, self.disk, self.metrics, self.log)

    def handler(
        self,
        policy: Policy | None = None,
        metrics_token: str | None = None,
        total: Total | None = None,
        **given: Any,
    ) -> RequestHandler:
        store: Store = self.store
        policy = policy or policy_with()
        virtual = VirtualChunks(policy, self.log)
        look_anew, access = given.get("look_anew"), given.get("access")
        byte_handler = ByteHandler(
            policy,
            self.current_catalog,
            store,
            self.admission,
            virtual,
            lambda: self.now,
            look_anew=look_anew,
            access=given.get("access"),
            profiles=given.get("profiles", ProfileLinks()),
        )
        build = Build("1.2.3")
        return RequestHandler(
            policy,
            build,
            metrics_token,
            self.reporter,
            self.current_catalog,
            store,
            byte_handler,
            ExtentsHandler(policy, self.current_catalog, store, self.reporter, look_anew=look_anew, access=access),
            total=total,
            now=lambda: self.now,
            **given,
        )

    def exchange(self, facts: Facts) -> Exchange:
        return Exchange(AccessRecord(facts, self.reporter), "192.0.2.1", "req-1")

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0

    def answer(self, facts: Asked, policy: Policy | None = None, handler: RequestHandler | None = None) -> Reply:
        """The reply to a request that waits for nothing, and gives back at once what it took."""
        handler = handler or self.handler(policy)
        exchange = self.exchange(facts)
        reply = drive(handler.answer(exchange, facts.range))
        exchange.end(Ending.COMPLETE, reply.status, 0)
        return reply


@pytest.fixture
def bench() -> Bench:
    return Bench()
