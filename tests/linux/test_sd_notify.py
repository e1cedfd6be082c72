"""What a service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.internet.task import Clock

from aero_storage.linux.sd_notify import ServiceManager, Silent, send, service_manager, watchdog_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@attrs.define(eq=False)
class Manager:
    """A service manager that listens, and a log that keeps what is written to it."""

    address: str
    end: socket.socket
    events: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)
    clock: Clock = attrs.field(factory=Clock)

    def told(self) -> list[list[str]]:
        """What has come in by now."""
        states = []
        while True:
            try:
                states.append(self.end.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return states

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.events.append((level, message, dict(fields)))


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@aero-storage-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address.replace("@", "\0"))
        end.setblocking(False)  # noqa: FBT003
        yield Manager(address, end)


def test_states(manager: Manager) -> None:
    """Each state is one datagram, with the time of a reload and words for people."""
    notifier = ServiceManager(manager.address, manager, lambda: 1234567)
    notifier.ready()
    notifier.reloading()
    notifier.stopping()
    ready, reloading, stopping = manager.told()
    assert ready == ["READY=1", "STATUS=Serving"]
    assert reloading == ["RELOADING=1", "MONOTONIC_USEC=1234567", "STATUS=Reading the catalog again"]
    assert stopping == ["STOPPING=1", "STATUS=Stopping"]
    assert manager.events == []


def test_the_end_is_final(manager: Manager) -> None:
    """A reload that is under way when the end begins does not make the daemon ready again; it still is alive."""
    notifier = ServiceManager(manager.address, manager)
    notifier.stopping()
    notifier.ready()
    notifier.reloading()
    notifier.alive()
    assert [state[0] for state in manager.told()] == ["STOPPING=1", "WATCHDOG=1"]


def test_from_the_environment(manager: Manager) -> None:
    """The manager is the one that the environment names; one that does not watch is not told that we are alive."""
    service_manager({"NOTIFY_SOCKET": manager.address}, manager.clock, manager).ready()
    assert [state[0] for state in manager.told()] == ["READY=1"]
    assert manager.clock.getDelayedCalls() == []


def test_watchdog(manager: Manager) -> None:
    """A manager that watches is told twice in its time that the reactor turns, to the very end."""
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}
    service_manager(environ, manager.clock, manager).stopping()
    manager.told()
    manager.clock.pump([9.9, 0.2, 10])
    assert manager.told() == [["WATCHDOG=1"]] * 2


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}], ids=str)
def test_nobody(manager: Manager, environ: dict[str, str]) -> None:
    """Without a manager nothing is told, nor logged."""
    notifier = service_manager(environ, manager.clock, manager)
    for tell in (notifier.ready, notifier.reloading, notifier.stopping):
        tell()
    assert isinstance(notifier, Silent)
    assert manager.told() == []
    assert manager.events == []


@pytest.mark.parametrize("address", ["relative", "vsock:2:1234"])
def test_an_address_of_no_kind_that_we_know(manager: Manager, address: str) -> None:
    """It is logged, with the address, and the daemon goes its way."""
    service_manager({"NOTIFY_SOCKET": address}, manager.clock, manager).ready()
    ((level, message, fields),) = manager.events
    assert (level, message, fields["socket"]) == ("error", "the service manager cannot be told", address)


def test_a_manager_that_is_gone(manager: Manager) -> None:
    """It is logged what could not be told and why; nothing is raised."""
    manager.end.close()
    Path(manager.address).unlink(missing_ok=True)
    ServiceManager(manager.address, manager).ready()
    ((level, _, fields),) = manager.events
    assert level == "error"
    assert (fields["socket"], fields["state"]) == (manager.address, "READY=1")
    assert fields["reason"] in {"Connection refused", "No such file or directory"}


def test_a_manager_that_does_not_listen(manager: Manager) -> None:
    """One whose queue is full holds us up for a moment, not for ever."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)  # noqa: FBT003
        filler.connect(manager.address.replace("@", "\0"))
        with suppress(BlockingIOError):
            while filler.send(b"x"):
                pass
    with pytest.raises(TimeoutError):
        send(manager.address, "READY=1")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "7"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "7"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_who_is_watched(environ: dict[str, str], seconds: float | None) -> None:
    """The watchdog is for the process that it names, and for any if it names none."""
    assert watchdog_seconds(environ, 7) == seconds
