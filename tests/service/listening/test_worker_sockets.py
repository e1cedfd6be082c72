"""Where several workers listen: what the parent opens, and what a worker makes of it."""

from __future__ import annotations

import os
import pickle
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.streaming.watched_files import sending
from twisted.internet import tcp, unix
from twisted.internet.protocol import Factory

from aero_storage.errors import SettingsError
from aero_storage.service.listening.inherited_sockets import adopt
from aero_storage.service.listening.served_certificate import ServedCertificate
from aero_storage.service.listening.sibling_sockets import SiblingSockets
from aero_storage.service.listening.tls_material import TLSMaterial
from aero_storage.service.listening.worker_sockets import (
    SharedAddress,
    WorkerOwnSockets,
    WorkerSocket,
    open_worker_sockets,
)
from aero_storage.settings import resolve
from aero_storage.streaming.flush_tracking import FlushTracking

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
def open_them(reactor: Any, tmp_path: Path) -> Iterator[Callable[..., tuple[SharedAddress, ...]]]:
    """Open addresses for two workers; settings as keywords."""
    addresses: list[SharedAddress] = []

    def run(**given: str | list[str]) -> tuple[SharedAddress, ...]:
        texts = {name: [text] if isinstance(text, str) else text for name, text in given.items()}
        opened = open_worker_sockets(reactor, resolve(texts, {}, tmp_path), 2)
        addresses.extend(opened)
        return opened

    yield run
    for address in addresses:
        address.close()


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
def test_tcp(open_them: Callable[..., tuple[SharedAddress, ...]], given: dict[str, str], host: str) -> None:
    """Each worker has a listening socket of its own, all at the one port that was chosen."""
    (address,) = open_them(**given)
    one, other = address.sockets
    assert one.getsockname() == other.getsockname()
    assert one.getsockname()[0] == host
    assert one.getsockname()[1] > 0
    assert one.fileno() != other.fileno()
    assert {options_of(each) for each in address.sockets} == {(1, 1, 1, False)}


def test_closed(open_them: Callable[..., tuple[SharedAddress, ...]]) -> None:
    """After close nobody listens any more."""
    (address,) = open_them(listen_addr="127.0.0.1:0")
    where = address.sockets[0].getsockname()
    address.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, 5)


@pytest.fixture(params=["plain", "sharing"])
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    """An address that somebody else listens at, one who lets others share it or not."""
    with socket.socket() as server:
        if request.param == "sharing":
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_taken(open_them: Callable[..., tuple[SharedAddress, ...]], taken: str) -> None:
    """A port in use is told in one line, also where its owner shares it as workers do."""
    with pytest.raises(SettingsError, match=r"cannot listen at .*: Address already in use") as caught:
        open_them(listen_addr=taken)
    assert taken in str(caught.value)
    assert "flag --listen-addr" in str(caught.value)


def test_nothing_stays_open(open_them: Callable[..., tuple[SharedAddress, ...]], taken: str, tmp_path: Path) -> None:
    """Where one address of several cannot be used, the others are closed again."""
    before = open_sockets()
    with pytest.raises(SettingsError):
        open_them(
            endpoint=["tcp:0", f"unix:{tmp_path}/socket", f"tcp:{taken.rpartition(':')[2]}:interface=127.0.0.1"]
        )
    assert open_sockets() == before
    assert not (tmp_path / "socket").exists()


def test_the_same_twice(open_them: Callable[..., tuple[SharedAddress, ...]]) -> None:
    """An address that is given twice is in use the second time, as it is without workers."""
    (address,) = open_them(listen_addr="127.0.0.1:0")
    port = address.sockets[0].getsockname()[1]
    address.close()
    twice = [f"tcp:{port}:interface=127.0.0.1"] * 2
    with pytest.raises(SettingsError, match="in use"):
        open_them(endpoint=twice)


@pytest.mark.parametrize("text", ["192.0.2.1:8080", "no-such-host.invalid:8080"], ids=["elsewhere", "unknown"])
def test_unusable_addresses(open_them: Callable[..., tuple[SharedAddress, ...]], text: str) -> None:
    """An address that is not ours, or unknown, is told in one line."""
    with pytest.raises(SettingsError, match="cannot listen at") as caught:
        open_them(listen_addr=text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["systemd:domain=INET:index=0", "fd:fileno=0", "stdio:"])
def test_what_cannot_be_shared(open_them: Callable[..., tuple[SharedAddress, ...]], text: str) -> None:
    """Endpoints of other kinds are refused in a line that says what to do."""
    with pytest.raises(SettingsError) as caught:
        open_them(endpoint=text)
    assert "flag --endpoint" in str(caught.value)


def test_unix(open_them: Callable[..., tuple[SharedAddress, ...]], reactor: Any, tmp_path: Path) -> None:
    """A UNIX address has one socket for all, at which the parent does not listen itself; close removes its file."""
    (address,) = open_them(endpoint=f"unix:{tmp_path}/socket")
    assert len(address.sockets) == 2
    assert len(set(address.sockets)) == 1
    assert reactor.reading == set()
    assert (tmp_path / "socket").is_socket()
    address.close()
    assert not (tmp_path / "socket").exists()


def enter(address: SharedAddress, reactor: Any) -> Any:
    """A port at a address as a worker opens it, in a process that has a copy of the socket."""
    own = address.sockets[0]
    worker_socket = WorkerSocket(os.dup(own.fileno()), own.family, address.tls, is_own=True)
    assert pickle.loads(pickle.dumps(worker_socket)) == worker_socket
    return worker_socket.open(reactor, Factory(), sending(reactor, DISK))


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_entrance(
    open_them: Callable[..., tuple[SharedAddress, ...]], reactor: Any, tmp_path: Path, kind: str
) -> None:
    """A worker listens at the socket that it was given, with our transports, and knows the address."""
    text = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    (address,) = open_them(endpoint=text)
    port = enter(address, reactor)
    assert reactor.reading == {port}
    assert issubclass(port.transport, FlushTracking)
    host = port.getHost()
    shown = (host.host, host.port) if kind == "tcp" else host.name.decode()
    assert shown == address.sockets[0].getsockname()
    port.stopListening()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_worker_that_stops(
    open_them: Callable[..., tuple[SharedAddress, ...]], reactor: Any, tmp_path: Path, kind: str
) -> None:
    """A worker that stops listening closes its copy: connections wait for its successor, the file stays."""
    text = "tcp:0:interface=127.0.0.1" if kind == "tcp" else f"unix:{tmp_path}/socket"
    (address,) = open_them(endpoint=text)
    before = open_sockets()
    enter(address, reactor).stopListening()
    assert reactor.reading == set()
    assert open_sockets() == before
    with socket.socket(address.sockets[0].family) as client:
        client.settimeout(5)
        client.connect(address.sockets[0].getsockname())
        assert len(list(waiting(address))) == 1


def waiting(address: SharedAddress) -> Iterator[str]:
    """Accept the connections that wait at the parent's sockets."""
    for one in set(address.sockets):
        try:
            accepted, _peer = one.accept()
        except BlockingIOError:
            continue
        accepted.close()
        yield str(address)


def shares(address: SharedAddress) -> list[int]:
    """Of 60 new connections, how many the kernel gives to each worker's socket."""
    host, port = address.sockets[0].getsockname()[:2]
    for client in [socket.create_connection((host, port), 5) for _ in range(60)]:
        client.close()
    return [sum(1 for _ in accepted(one)) for one in address.sockets]


def accepted(listening: socket.socket) -> Iterator[None]:
    while True:
        try:
            listening.accept()[0].close()
        except OSError:  # none waits, or it does not listen
            return
        yield


@pytest.mark.parametrize("number", [1, 2])
def test_withdrawn(open_them: Callable[..., tuple[SharedAddress, ...]], number: int) -> None:
    """A withdrawn socket gets no connections, and its share again once it is restored, without a new bind."""
    addresses = open_them(listen_addr="127.0.0.1:0")
    own = WorkerOwnSockets(addresses)
    own.withdraw(number)
    without = shares(addresses[0])
    assert (without[number - 1], sum(without)) == (0, 60)
    own.restore(number)
    assert all(share >= 10 for share in shares(addresses[0]))


def test_all_withdrawn(open_them: Callable[..., tuple[SharedAddress, ...]]) -> None:
    """Where no worker is left, clients are refused."""
    addresses = open_them(listen_addr="127.0.0.1:0")
    own = WorkerOwnSockets(addresses)
    own.withdraw(1)
    own.withdraw(2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(addresses[0].sockets[0].getsockname(), 5)


def test_shared_sockets_stay(open_them: Callable[..., tuple[SharedAddress, ...]], tmp_path: Path) -> None:
    """A socket that all workers share is nobody's own: it is never withdrawn, nor handed over."""
    (address,) = open_them(endpoint=f"unix:{tmp_path}/socket")
    own = WorkerOwnSockets((address,))
    assert own.descriptors(1) == []
    own.withdraw(1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/socket")
    address.close()


def test_siblings(open_them: Callable[..., tuple[SharedAddress, ...]], reactor: Any) -> None:
    """A worker accepts at a sibling's socket until it gives it back; the socket listens on for its owner."""
    (address,) = open_them(listen_addr="127.0.0.1:0")
    before = open_sockets()

    def listen(descriptor: int) -> Any:
        return WorkerSocket(descriptor, socket.AF_INET, None, is_own=True).open(
            reactor, Factory(), sending(reactor, DISK)
        )

    siblings = SiblingSockets([listen])
    siblings.take_over(2, [os.dup(address.sockets[1].fileno())])
    ((port),) = reactor.reading
    assert port.socket.getsockname() == address.sockets[1].getsockname()
    siblings.give_back(2)
    siblings.give_back(2)
    assert (reactor.reading, open_sockets()) == (set(), before)
    assert all(shares(address))
    siblings.take_over(2, [os.dup(address.sockets[1].fileno())])
    siblings.close()
    siblings.take_over(2, [os.dup(address.sockets[1].fileno())])
    assert (reactor.reading, open_sockets()) == (set(), before)


@pytest.mark.parametrize("passed", [0, 1, 2, 3, 4])
def test_siblings_that_cannot_be_taken_over(
    open_them: Callable[..., tuple[SharedAddress, ...]], reactor: Any, passed: int
) -> None:
    """Where one socket of a sibling cannot be used, or their number is wrong, all are closed."""
    (address,) = open_them(listen_addr="127.0.0.1:0")
    before = open_sockets()

    def listen(tls: ServedCertificate | None, descriptor: int) -> Any:
        own = WorkerSocket(descriptor, socket.AF_INET, tls, is_own=True)
        return own.open(reactor, Factory(), sending(reactor, DISK))

    broken = ServedCertificate(TLSMaterial(b"no key", b"no certificate", (), None, None))
    siblings = SiblingSockets([partial(listen, tls) for tls in (None, broken, None)])
    with pytest.raises(Exception, match=r"PEM|DECODER|instead of 3"):
        siblings.take_over(2, [os.dup(address.sockets[1].fileno()) for _ in range(passed)])
    assert (reactor.reading, open_sockets()) == (set(), before)


def test_a_socket_of_no_use(reactor: Any) -> None:
    """A descriptor at which nobody can listen is closed."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(OSError, match="socket"):
        adopt(reactor, descriptor, socket.AF_INET, Factory())
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)
