"""The parent of several workers: what it starts them with, how it hears signals, how it stops."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
from tests.command_output import TextSink
from twisted.application.service import Application
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver

from aero_storage.linux.sd_notify import Silent
from aero_storage.logs.json_log import JsonLines
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.disk_pools import make_certificate_threads
from aero_storage.service.listening.worker_sockets import SharedAddress
from aero_storage.service.parent import ParentService, WorkerCommands, WorkerConfig, number_of_workers
from aero_storage.service.tap import Options, makeService
from aero_storage.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Reactor(MemoryReactorClock):
    """A reactor whose threads are the caller's."""

    def callFromThread(self, work: Callable[..., object], *args: object) -> None:
        work(*args)

    def stop(self) -> None:
        self.hasStopped = True


@attrs.define(eq=False)
class Supervisor:
    """Takes notes of what it is told, and stops when the test says so."""

    told: list[str] = attrs.field(factory=list)
    gone: Deferred[None] = attrs.field(factory=Deferred)

    def start(self) -> None:
        self.told.append("start")

    def reload(self, payload: bytes) -> None:
        self.told.append(f"reload {pickle.loads(payload)}")

    def stop(self) -> Deferred[None]:
        self.told.append("stop")
        return self.gone

    def stop_now(self) -> bool:
        self.told.append("stop_now")
        return self.told.count("stop_now") == 1


@attrs.define(eq=False)
class Parent:
    """A started parent in memory."""

    reactor: Any = attrs.field(factory=Reactor)
    supervisor: Supervisor = attrs.field(factory=Supervisor)
    sink: TextSink = attrs.field(factory=TextSink)
    handlers: dict[int, Any] = attrs.field(factory=dict)
    closed: list[None] = attrs.field(factory=list)
    tls: None = None
    """As an address."""
    drain_delay_secs: float = 0.0
    service: ParentService = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        addresses = cast("Any", (self,))
        log = JsonLines(self.sink, "info")
        supervisor = cast("Any", self.supervisor)
        metrics, threads = Metrics(Registry(), "1", 0), make_certificate_threads(self.reactor)
        delay, set_signal = self.drain_delay_secs, self.handlers.__setitem__
        self.service = ParentService(
            self.reactor, log, Silent(), addresses, supervisor, delay, threads, metrics, set_signal
        )
        self.service.startService()

    def close(self) -> Deferred[None]:
        """As a address."""
        self.closed.append(None)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def run(self) -> None:
        for hook, arguments, _ in self.reactor.whenRunningHooks:
            hook(*arguments)
        self.reactor.advance(0)


@pytest.fixture
def parent(request: pytest.FixtureRequest) -> Iterator[Parent]:
    """A parent; its parameter is the delay before it closes its addresses, 0 by default."""
    parent = Parent(drain_delay_secs=getattr(request, "param", 0.0))
    yield parent
    parent.service.end_log()


def test_starts_workers_when_it_runs(parent: Parent) -> None:
    """No worker is started before the reactor runs: until then nobody would notice that one has ended."""
    assert parent.supervisor.told == []
    parent.run()
    assert parent.supervisor.told == ["start"]


def test_hangup_is_passed_on(parent: Parent) -> None:
    """SIGHUP reaches every worker, with the certificates of all addresses; these have none."""
    parent.run()
    parent.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert parent.supervisor.told == ["start", "reload [None]"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_once(parent: Parent, number: int) -> None:
    """The first SIGTERM or SIGINT stops the reactor, further ones stop the workers at once; at last none acts."""
    parent.run()
    handler = parent.handlers[number]
    for _ in range(3):
        handler(number, None)
    assert parent.reactor.hasStopped
    assert parent.supervisor.told == ["start", "stop_now", "stop_now"]
    parent.service.end_log()
    assert {parent.handlers[one] for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)} == {signal.SIG_IGN}
    assert parent.sink.text.count('"stopping"') == 1
    assert parent.sink.text.count('"stopping at once"') == 1


def test_stop(parent: Parent) -> None:
    """Listening sockets close at once, then workers stop, and the parent has stopped when they have."""
    parent.run()
    done: list[None] = []
    parent.service.stopService().addCallback(done.append)
    assert parent.closed == [None]
    assert parent.supervisor.told == ["start", "stop"]
    assert done == []
    parent.supervisor.gone.callback(None)
    assert done == [None]


@pytest.mark.parametrize("parent", [5.0], indirect=True)
def test_doors_stay_open_for_the_delay(parent: Parent) -> None:
    """Workers serve on for a while: a UNIX socket's file must be there for so long."""
    parent.run()
    parent.service.stopService()
    assert parent.supervisor.told == ["start", "stop"]
    assert parent.closed == []
    parent.reactor.advance(5)
    assert parent.closed == [None]


def test_is_the_log_of_its_application(parent: Parent) -> None:
    """Twisted's own lines are JSON in the parent too."""
    application: Any = Application("test")
    parent.service.setServiceParent(application)
    assert isinstance(application.getComponent(ILogObserver), JsonLines)


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Options]:
    """Parse a command line in an empty directory and environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **twistd: object) -> Options:
        options = Options()
        options.environ = {"PATH": "/bin", "AERO_STORAGE_GIT_SHA": "abc"}
        options.parent = cast("Any", {"logger": "x", **twistd})
        options.parseOptions(["--listen-addr=127.0.0.1:0", *arguments])
        return options

    return run


def test_number_of_workers() -> None:
    """As many as are asked for; 0 is one for every core that this process may use."""
    assert number_of_workers(Settings()) == 1
    assert number_of_workers(Settings(workers=5)) == 5
    assert number_of_workers(Settings(workers=0)) == min(len(os.sched_getaffinity(0)), 128)


def test_one_worker_needs_no_parent(parse: Callable[..., Options]) -> None:
    """With one worker the daemon is what it is without the setting."""
    reactor: Any = MemoryReactorClock()
    makeService(parse("--workers=1"), reactor)
    assert len(reactor.tcpServers) == 1


def test_several_need_one(parse: Callable[..., Options]) -> None:
    """With several the service is a parent, which listens at nothing itself."""
    reactor: Any = MemoryReactorClock()
    service = makeService(parse("--workers=2"), reactor)
    assert isinstance(service, ParentService)
    assert reactor.tcpServers == []
    (address,) = service._addresses  # noqa: SLF001
    assert len(address.sockets) == 2
    address.close()


def test_no_chroot(parse: Callable[..., Options]) -> None:
    """Where there is no Python to start workers with, that is told in one line."""
    reactor: Any = MemoryReactorClock()
    with pytest.raises(SystemExit, match=r"--chroot: .* use --workers 1"):
        makeService(parse("--workers=2", chroot="/srv"), reactor)


def test_commission(parse: Callable[..., Options], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is told all settings, the secret ones on its standard input, and finds our modules wherever it is."""
    monkeypatch.syspath_prepend("relative")
    options = parse("--workers=2", "--metrics-auth-token=sesame")
    one, other = (cast("Any", Socket(number)) for number in (70, 80))
    recruiter = WorkerCommands(EPollReactor(), options, (SharedAddress((one, other)), SharedAddress((other, one))))
    monkeypatch.chdir("/")
    command = recruiter.command_for(2)
    brief: WorkerConfig = pickle.loads(command.config)
    assert brief.number == 2
    assert brief.settings == options.resolved.settings
    assert list(command.descriptors) == [80, 70]
    assert [worker_socket.descriptor for worker_socket in brief.worker_sockets] == [5, 6]
    assert command.command[0] == sys.executable
    assert command.command[-2:] == ["twisted.internet.epollreactor", "2"]
    assert "sesame" not in " ".join([*command.command, *command.environ.values()])
    assert command.environ["AERO_STORAGE_GIT_SHA"] == "abc"
    path = command.environ["PYTHONPATH"].split(os.pathsep)
    assert path[0] == str(tmp_path / "relative")
    assert all(Path(entry).is_absolute() for entry in path)


@attrs.frozen
class Socket:
    """A socket with a family and a number."""

    number: int
    family: int = 2

    def fileno(self) -> int:
        return self.number
