"""The service: what it starts, how it hears signals, what is left when it stops."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from tests.lease_tokens import OCT, OKP, key_document
from twisted.application.service import Application, IService, IServiceCollection
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.logger import ILogObserver

from aero_storage.delivery.operations import Build
from aero_storage.linux.malloc import TRIM_SECONDS
from aero_storage.linux.sd_notify import Silent
from aero_storage.logs.json_log import JsonLines
from aero_storage.service import daemon
from aero_storage.service.build import build_of
from aero_storage.service.certificate_renewal import CertificateRenewal
from aero_storage.service.composition import Drain, policy_of
from aero_storage.service.daemon import AeroService
from aero_storage.service.listening.endpoints import Listening, address_text
from aero_storage.settings import Settings


@attrs.define(eq=False)
class Port:
    """A listening port."""

    stopped: bool = False

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 8080)

    def stopListening(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)


@attrs.define(eq=False)
class Running:
    """A started service over a daemon in memory."""

    stack: Any
    port: Port = attrs.field(factory=Port)
    handlers: dict[int, Any] = attrs.field(factory=dict)
    stops: list[None] = attrs.field(factory=list)
    service: AeroService = attrs.field(init=False)

    def start(self, *, tells_entries: bool = True) -> Running:
        self.stack.reactor.stop = lambda: self.stops.append(None)
        parts = attrs.evolve(self.stack.parts, listening=Listening((cast("Any", self.port),)))
        self.service = AeroService(parts, Silent(), self.handlers.__setitem__, tells_entries=tells_entries)
        self.service.startService()
        ((hook, arguments, _),) = self.stack.reactor.whenRunningHooks
        hook(*arguments)
        self.stack.reactor.advance(0)
        return self

    def said(self, message: str) -> list[dict[str, Any]]:
        return [fields for _, text, fields in self.stack.log.events if text == message]


def write_keys(path: Path, *keys: Mapping[str, object]) -> None:
    new = path.with_name("new")
    new.write_bytes(key_document(*keys))
    new.chmod(0o600)
    new.replace(path)


@pytest.fixture
def running(stack: Any) -> Running:
    """A started service."""
    return Running(stack).start()


def test_says_where_it_listens(running: Running) -> None:
    """Each address is told in the log once the service has started."""
    assert running.said("listening") == [{"address": "127.0.0.1:8080"}]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "127.0.0.1", 80), "127.0.0.1:80"),
        (IPv6Address("TCP", "::1", 80), "[::1]:80"),
        (UNIXAddress(b"/run/aero"), "unix:/run/aero"),
    ],
    ids=str,
)
def test_addresses_as_operators_write_them(address: Any, text: str) -> None:
    """Addresses read as they are typed."""
    assert address_text(address) == text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_once(running: Running, number: int) -> None:
    """SIGTERM and SIGINT stop the reactor, once."""
    handler = running.handlers[number]
    for _ in range(3):
        handler(number, None)
    assert running.stops == [None]
    assert len(running.said("stopping")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_deaf_while_stopping(running: Running, number: int) -> None:
    """Once it has stopped, no signal changes its exit status, also when Twisted has let go of the handlers."""
    running.handlers[signal.SIGTERM](signal.SIGTERM, None)
    running.service.stopService()
    assert running.handlers[number] is signal.SIG_IGN


def test_reloads_on_sighup(running: Running) -> None:
    """SIGHUP reads the catalog again, changed or not, and says so."""
    before = len(running.said("catalog loaded"))
    running.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert running.said("catalog loaded")[before:] == [{"images": 1, "changed": False}]


def test_reloads_while_certificates_wait(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate on a disk that hangs keeps the catalog from nothing."""
    waiting: Deferred[None] = Deferred()

    async def renew(_renewal: CertificateRenewal) -> None:
        await waiting

    monkeypatch.setattr(CertificateRenewal, "renew", renew)
    before = len(running.said("catalog loaded"))
    running.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert running.said("catalog loaded")[before:] == [{"images": 1, "changed": False}]
    waiting.callback(None)


def test_leases_are_watched(make_stack: Callable[..., Any], tmp_path: Path) -> None:
    """Other keys are in force within a second, and SIGHUP reads keys and catalog; without keys nothing is read."""
    keys = tmp_path / "keys.json"
    write_keys(keys, OCT)
    running = Running(make_stack(lease_keys_file=str(keys))).start()
    assert running.said("lease keys loaded") == [{"keys": 1, "changed": True}]
    write_keys(keys, OCT, OKP)
    running.stack.reactor.pump([0.45, 0.45])
    assert running.said("lease keys loaded")[1:] == [{"keys": 2, "changed": True}]
    assert len(running.stack.parts.leases.in_force.verifier.keys) == 2
    running.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert running.said("lease keys loaded")[2:] == [{"keys": 2, "changed": False}]
    assert running.stack.metric("aero_storage_lease_keys") == 2
    running.service.stopService()
    write_keys(keys, OCT)
    running.stack.reactor.pump([0.45] * 4)
    assert len(running.said("lease keys loaded")) == 3


def test_no_leases(running: Running) -> None:
    """Without a file of keys no file of leases is looked for, and no metric of one is shown."""
    assert running.stack.parts.leases is None
    running.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert b"aero_storage_lease_" not in running.stack.ask("/metrics").body


PRIVATE = '[{"id": "disk.img", "file": "disk.img", "name": "A", "public": false}]'
OPEN = "private images are open to everybody: lease_keys_file is not set"


@pytest.mark.parametrize("tells", [True, False])
def test_private_images_without_keys(make_stack: Callable[..., Any], tells: bool) -> None:  # noqa: FBT001
    """Without keys, a reload that brings private images is warned of once, and by one worker."""
    running = Running(make_stack()).start(tells_entries=tells)
    assert running.said(OPEN) == []
    manifest = running.stack.root / "manifest.json"
    for text in (PRIVATE, PRIVATE.replace("disk.img", "one", 1), "[]", PRIVATE):
        manifest.write_text(text)
        running.stack.reactor.pump([0.6, 0.6])
    assert running.said(OPEN) == ([{"images": 1, "image_id": "disk.img"}] if tells else [])


def test_private_images_at_the_start(make_stack: Callable[..., Any], tmp_path: Path) -> None:
    """The catalog of the start warns, too; where leases are on, none does."""
    root = tmp_path / "images"
    root.mkdir()
    (root / "manifest.json").write_text(PRIVATE)
    assert len(Running(make_stack()).start().said(OPEN)) == 1
    keys = tmp_path / "keys.json"
    write_keys(keys, OCT)
    assert Running(make_stack(lease_keys_file=str(keys))).start().said(OPEN) == []


def test_gives_memory_back(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds, in a thread that may wait, and no more once it stops."""
    given: list[None] = []
    monkeypatch.setattr(daemon, "trim", lambda: given.append(None))
    for _ in range(3):
        running.stack.reactor.advance(TRIM_SECONDS)
    assert len(given) == 3
    running.service.stopService()
    running.stack.reactor.advance(2 * TRIM_SECONDS)
    assert len(given) == 3


def test_a_new_image_shows_within_a_second(running: Running) -> None:
    """A file that is dropped into the folder is served without a restart."""
    (running.stack.root / "new.img").write_bytes(b"new")
    running.stack.reactor.advance(0.9)
    assert running.stack.ask("/v1/images/new.img").body == b"new"


def test_the_watch_survives_a_defect(running: Running) -> None:
    """An exception while the catalog is read is logged, and the next look works again."""
    watch = running.stack.parts.reloader
    reader, watch._reader = watch._reader, None  # noqa: SLF001
    running.stack.reactor.advance(0.6)
    assert len(running.said("reading the catalog failed")) == 1
    watch._reader = reader  # noqa: SLF001
    (running.stack.root / "new.img").write_bytes(b"new")
    running.stack.reactor.advance(0.6)
    assert running.stack.ask("/v1/images/new.img").status == 200


def test_not_ready_while_stopping(running: Running) -> None:
    """From the first moment of the shutdown `/readyz` says 503."""
    busy = running.stack.connect()
    busy.get("/readyz")
    assert busy.response().status == 200
    running.service.stopService()
    assert running.stack.ask("/readyz").status == 503


def test_a_disk_that_hangs_keeps_nobody(running: Running) -> None:
    """What a thread waits for is waited for a moment longer than all else; then the threads are left behind."""
    stack, done = running.stack, list[None]()
    stack.pool.held = True
    stack.connect().get("/v1/images/disk.img")
    running.service.stopService().addCallback(done.append)
    for _ in range(40):
        stack.reactor.advance(1)
    assert (done, running.said("a disk does not answer: ending all the same")) == ([None], [{"waiting": 1}])
    stack.parts.pools.stop()
    assert stack.pool.stops == 1  # of the readers, who have nothing to do
    stack.pool.release()
    stack.parts.pools.stop()
    assert stack.pool.stops == 3


def test_stop_closes_everything(running: Running) -> None:
    """Stopping closes ports, timer and connections; the Deferred fires when all are gone."""
    idle = running.stack.connect()
    done: list[None] = []
    running.service.stopService().addCallback(done.append)
    assert running.port.stopped
    assert idle.transport.disconnecting
    assert done == []
    idle.lose()
    assert done == [None]
    assert running.stack.reactor.getDelayedCalls() == []


def test_stop_does_not_wait_for_ever(running: Running) -> None:
    """A connection that will not go holds up the shutdown for the grace and two seconds more."""
    running.stack.connect()
    done: list[None] = []
    running.service.stopService().addCallback(done.append)
    running.stack.reactor.advance(30.1)
    assert done == []
    running.stack.reactor.advance(2.1)
    assert done == [None]


def begin(running: Running) -> Any:
    """A request that waits for its image to be opened."""
    running.stack.pool.held = True
    busy = running.stack.connect()
    busy.get("/v1/images/disk.img", ("Range", "bytes=0-9"))
    return busy


def test_what_is_under_way_is_finished(running: Running) -> None:
    """A response that has begun comes to its end, says that the connection closes, and then the daemon stops."""
    busy, idle = begin(running), running.stack.connect()
    done: list[None] = []
    running.service.stopService().addCallback(done.append)
    assert (idle.transport.disconnecting, busy.transport.disconnecting) == (True, False)
    assert running.said("draining") == [{"responses": 1, "grace_seconds": 30.0}]
    idle.lose()
    running.stack.reactor.advance(29)
    running.stack.pool.release()
    response = busy.response()
    assert (response.status, response["Connection"]) == (206, "close")
    assert busy.transport.disconnecting
    assert done == []
    busy.lose()
    assert done == [None]
    assert not running.said("breaking off responses")


def test_grace_has_an_end(running: Running) -> None:
    """What is not finished when the grace is over is broken off, and that is told."""
    busy = begin(running)
    running.service.stopService()
    running.stack.reactor.advance(30.1)
    assert running.said("breaking off responses") == [{"responses": 1}]
    assert busy.transport.aborted


def test_a_second_signal_ends_the_grace(running: Running) -> None:
    """Asked again in the same way it breaks off at once; asked in another way, as workers are, it does not."""
    busy = begin(running)
    running.handlers[signal.SIGTERM](signal.SIGTERM, None)
    running.service.stopService()
    running.service.stop(asked_by="parent")
    assert not busy.transport.aborted
    running.handlers[signal.SIGINT](signal.SIGINT, None)
    assert busy.transport.aborted
    assert len(running.said("stopping at once")) == 1


def test_serves_on_for_balancers(stack: Any) -> None:
    """For the delay it answers, but is not ready, and tells connections that they close; only then ports close."""
    parts = attrs.evolve(stack.parts, drain=Drain(drain_delay_secs=5.0, shutdown_grace_secs=30.0))
    stack.parts = parts
    running = Running(stack).start()
    running.service.stopService()
    assert not running.port.stopped
    assert stack.ask("/readyz").status == 503
    response = stack.ask("/v1/images/disk.img", ("Range", "bytes=0-9"))
    assert (response.status, response["Connection"]) == (206, "close")
    stack.reactor.advance(5.1)
    assert running.port.stopped


def test_a_response_that_begins_in_the_delay(stack: Any) -> None:
    """It tells that its connection closes, whenever its request came; one that has begun before says nothing."""
    stack.parts = attrs.evolve(stack.parts, drain=Drain(drain_delay_secs=5.0, shutdown_grace_secs=30.0))
    running = Running(stack).start()
    waits, piped = begin(running), running.stack.connect()
    piped.get("/v1/images/disk.img", ("Range", "bytes=0-9"))
    piped.get("/v1/images/disk.img", ("Range", "bytes=10-19"))
    running.service.stopService()
    running.stack.pool.release()
    assert waits.response()["Connection"] == "close"
    first, second = piped.responses()
    assert ("Connection" in first, second["Connection"]) == (False, "close")
    assert second.body == bytes(range(10, 20))


def test_what_is_pipelined_when_it_stops_is_told_once(running: Running) -> None:
    """Of connections that close with requests behind the last response there is one line, with how many."""
    connections = [begin(running) for _ in range(3)]
    for busy in connections[1:]:
        busy.get("/v1/images/disk.img", ("Range", "bytes=10-19"))
    running.service.stopService()
    running.stack.pool.release()
    for busy in connections:
        assert busy.response()["Connection"] == "close"
        busy.lose()
    assert len(running.stack.log.requests) == 3
    assert running.said("closed before all requests were answered") == [{"connections": 2}]


def test_becomes_the_log_of_its_application(stack: Any) -> None:
    """In a `twistd` application Twisted's own lines become JSON too."""
    application: Any = Application("test")
    log = JsonLines(cast("Any", None), "info")
    service = AeroService(attrs.evolve(stack.parts, log=log), Silent())
    service.setServiceParent(application)
    assert application.getComponent(ILogObserver) is log
    assert list(IServiceCollection(application)) == [service]
    assert IService(application) is not service


def test_policy_follows_the_settings() -> None:
    """Each setting that decisions hang on reaches the policy."""
    settings = Settings(
        cors_origin=("https://a.test",),
        cors_preflight_max_age_secs=1,
        cross_origin_resource_policy="same-origin",
        max_range_bytes=2,
        max_chunk_bytes=3,
        open_ended_ranges="limit",
        require_range=True,
        public_cache_max_age_secs=4,
    )
    policy = policy_of(settings)
    assert (policy.cors.cors_origin, policy.cors.cors_preflight_max_age_secs) == (("https://a.test",), 1)
    assert (policy.cross_origin_resource_policy, policy.open_ended_ranges) == ("same-origin", "limit")
    assert (policy.max_range_bytes, policy.max_chunk_bytes) == (2, 3)
    assert (policy.require_range, policy.public_cache_max_age_secs) == (True, 4)


def test_build_is_told_by_the_environment() -> None:
    """Whoever packages the daemon names commit and time; unknown is `dev` and empty."""
    told = build_of("1", {"AERO_STORAGE_GIT_SHA": "abc", "AERO_STORAGE_BUILT_AT": "now"})
    assert (told.git_sha, told.built_at) == ("abc", "now")
    old = {"AERO_STORAGE_SERVER_VERSION": "9", "GIT_SHA": "def", "BUILD_TIMESTAMP": "then"}
    assert build_of("1", old) == Build("9", "def", "then")
    newer = {"AERO_STORAGE_SERVER_GIT_SHA": "ghi", "AERO_STORAGE_SERVER_BUILD_TIMESTAMP": "later"}
    assert build_of("1", old | newer) == Build("9", "ghi", "later")
    ours = {"AERO_STORAGE_VERSION": "2", "AERO_STORAGE_GIT_SHA": "abc", "AERO_STORAGE_BUILT_AT": "now"}
    assert build_of("1", old | newer | ours) == Build("2", "abc", "now")
    assert (build_of("1", {}).git_sha, build_of("1", {}).built_at) == ("dev", "")
