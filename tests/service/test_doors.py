"""Where several workers listen: what the parent opens, and what a worker makes of it."""

from __future__ import annotations

import os
import pickle
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.internet import tcp, unix
from twisted.internet.protocol import Factory

from aero_storage.errors import SettingsError
from aero_storage.service.doors import Door, Entrance, open_doors
from aero_storage.settings import resolve
from aero_storage.streaming.draining import Draining
from aero_storage.streaming.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DISK: Any = None


@attrs.define(eq=False)
class Reactor:
    """A reactor that takes notes of who reads, and does things that are to be done later at once."""

    reading: set[Any] = attrs.field(factory=set)

    def addReader(self, reader: Any) -> None:
        self.reading.add(reader)

    def removeReader(self, reader: Any) -> None:
        self.reading.discard(reader)

    def removeWriter(self, writer: Any) -> None:
        pass

    def callLater(self, _seconds: float, work: Callable[..., object], *args: object) -> None:
        work(*args)

    def listenUNIX(self, address: Any, factory: Any, backlog: int, mode: int, wantPID: int) -> Any:
        port = unix.Port(address, factory, backlog, mode, self, wantPID)
        port.startListening()
        return port

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> Any:
        port = tcp.Port._fromListeningDescriptor(self, descriptor, family, factory)  # noqa: SLF001
        port.startListening()
        return port


@pytest.fixture
def reactor() -> Any:
    return Reactor()


@pytest.fixture
def open_them(reactor: Any, tmp_path: Path) -> Iterator[Callable[..., tuple[Door, ...]]]:
    """Open doors for two workers; settings as keywords."""
    doors: list[Door] = []

    def run(**given: str | list[str]) -> tuple[Door, ...]:
        texts = {name: [text] if isinstance(text, str) else text for name, text in given.items()}
        opened = open_doors(reactor, resolve(texts, {}, tmp_path), 2)
        doors.extend(opened)
        return opened

    yield run
    for door in doors:
        door.close()


def open_sockets() -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).rpartition("/")[2].startswith("socket:") for link in links)


def options_of(one: socket.socket) -> tuple[int, int, int, bool]:
    return (
        one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT),
        one.getblocking(),
    )


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({"listen_addr": "127.0.0.1:0"}, "127.0.0.1"),
        ({"listen_addr": "[::1]:0"}, "::1"),
        ({"endpoint": "tcp:0:interface=127.0.0.1"}, "127.0.0.1"),
        ({"endpoint": "tcp:0"}, "0.0.0.0"),
        ({"endpoint": r"tcp6:0:interface=\:\:1"}, "::1"),
        ({"endpoint": r"tcp6:0"}, "::"),
    ],
    ids=str,
)
def test_tcp(open_them: Callable[..., tuple[Door, ...]], given: dict[str, str], host: str) -> None:
    """Each worker has a listening socket of its own, all at the one port that was chosen."""
    (door,) = open_them(**given)
    one, other = door.sockets
    assert one.getsockname() == other.getsockname()
    assert one.getsockname()[0] == host
    assert one.getsockname()[1] > 0
    assert one.fileno() != other.fileno()
    assert {options_of(each) for each in door.sockets} == {(1, 1, 1, False)}


def test_closed(open_them: Callable[..., tuple[Door, ...]]) -> None:
    """After close nobody listens any more."""
    (door,) = open_them(listen_addr="127.0.0.1:0")
    address = door.sockets[0].getsockname()
    door.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


@pytest.fixture(params=["plain", "sharing"])
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address that somebody else listens at, one who lets others share it or not."""
    with socket.socket() as server:
        if request.param == "sharing":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_taken(open_them: Callable[..., tuple[Door, ...]], taken: str) -> None:
    """A port in use is told in one line, also where its owner shares it as workers do."""
    with pytest.raises(SettingsError, match=r"cannot listen at .*: Address already in use") as caught:
        open_them(listen_addr=taken)
    assert taken in str(caught.value)
    assert "flag --listen-addr" in str(caught.value)


def test_nothing_stays_open(open_them: Callable[..., tuple[Door, ...]], taken: str, tmp_path: Path) -> None:
    """Where one address of several cannot be used, the others are closed again."""
    before = open_sockets()
    with pytest.raises(SettingsError):
        open_them(
            endpoint=["tcp:0", f"unix:{tmp_path}/socket", f"tcp:{taken.rpartition(':')[2]}:interface=127.0.0.1"]
        )
    assert open_sockets() == before
    assert not (tmp_path / "socket").exists()


def test_the_same_twice(open_them: Callable[..., tuple[Door, ...]]) -> None:
    """An address that is given twice is in use the second time, as it is without workers."""
    (door,) = open_them(listen_addr="127.0.0.1:0")
    port = door.sockets[0].getsockname()[1]
    door.close()
    twice = [f"tcp:{port}:interface=127.0.0.1"] * 2
    with pytest.raises(SettingsError, match="in use"):
        open_them(endpoint=twice)


@pytest.mark.parametrize("text", ["192.0.2.1:8080", "no-such-host.invalid:8080"], ids=["elsewhere", "unknown"])
def test_unusable_addresses(open_them: Callable[..., tuple[Door, ...]], text: str) -> None:
    """An address that is not ours, or unknown, is told in one line."""
    with pytest.raises(SettingsError, match="cannot listen at") as caught:
        open_them(listen_addr=text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["systemd:domain=INET:index=0", "fd:fileno=0", "stdio:"])
def test_what_cannot_be_shared(open_them: Callable[..., tuple[Door, ...]], text: str) -> None:
    """Endpoints of other kinds are refused in a line that says what to do."""
    with pytest.raises(SettingsError) as caught:
        open_them(endpoint=text)
    assert "flag --endpoint" in str(caught.value)


def test_unix(open_them: Callable[..., tuple[Door, ...]], reactor: Any, tmp_path: Path) -> None:
    """A UNIX address has one socket for all, at which the parent does not listen itself; close removes its file."""
    (door,) = open_them(endpoint=f"unix:{tmp_path}/socket")
    assert len(door.sockets) == 2
    assert len(set(door.sockets)) == 1
    assert reactor.reading == set()
    assert (tmp_path / "socket").is_socket()
    door.close()
    assert not (tmp_path / "socket").exists()


def enter(door: Door, reactor: Any) -> Any:
    """A port at a door as a worker opens it, in a process that has a copy of the socket."""
    entrance = Entrance(os.dup(door.sockets[0].fileno()), door.sockets[0].family, door.tls)
    assert pickle.loads(pickle.dumps(entrance)) == entrance
    return entrance.open(reactor, Factory(), DISK, Turns(reactor))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_entrance(open_them: Callable[..., tuple[Door, ...]], reactor: Any, tmp_path: Path, kind: str) -> None:
    """A worker listens at the socket that it was given, with our transports, and knows the address."""
    text = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    (door,) = open_them(endpoint=text)
    port = enter(door, reactor)
    assert reactor.reading == {port}
    assert issubclass(port.transport, Draining)
    host = port.getHost()
    shown = (host.host, host.port) if kind == "tcp" else host.name.decode()
    assert shown == door.sockets[0].getsockname()
    port.stopListening()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_worker_that_stops(
    open_them: Callable[..., tuple[Door, ...]], reactor: Any, tmp_path: Path, kind: str
) -> None:
    """A worker that stops listening closes its copy: connections wait for its successor, the file stays."""
    text = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    (door,) = open_them(endpoint=text)
    before = open_sockets()
    enter(door, reactor).stopListening()
    assert reactor.reading == set()
    assert open_sockets() == before
    with socket.socket(door.sockets[0].family) as client:
        client.settimeout(5)
        client.connect(door.sockets[0].getsockname())
        assert len(list(waiting(door))) == 1


def waiting(door: Door) -> Iterator[str]:
    """Accept the connections that wait at the parent's sockets."""
    for one in set(door.sockets):
        try:
            accepted, address = one.accept()
        except BlockingIOError:
            continue
        accepted.close()
        yield str(address)
