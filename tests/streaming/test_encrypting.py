"""A real TLS connection that sends files: right bytes, and no close alert before the end of a body."""

from __future__ import annotations

import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.certificates import write_certificate
from tests.streaming.tcp_pair import (
    KIB,
    MIB,
    ConnectionPair,
    FakeFile,
    ManualReactor,
    RecordingProtocol,
    pattern,
    result_of,
)
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from aero_storage.service.listening.tls_connection import TLSConnection, TLSMemoryBIOFactory
from aero_storage.streaming.encrypting import encrypting_transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WITHOUT_NAMES = """
from OpenSSL import SSL
del SSL.Connection._raise_ssl_error
from aero_storage.service.listening.tls_connection import TLSConnection
print(TLSConnection.encrypts_files)
"""


@attrs.define(eq=False)
class Ends:
    """Both ends of a connection whose handshake is done; `plain` is what the client has decrypted."""

    pair: ConnectionPair
    server: Any
    client: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    plain: bytearray = attrs.field(factory=bytearray)
    has_goodbye: bool = False
    """Whether the client has got a close alert."""

    def exchange(self) -> None:
        """Take to the client what has come, and to the server what the client says."""
        self.pair.run()
        self.incoming.write(bytes(self.pair.taken))
        self.pair.taken.clear()
        try:
            while data := self.client.read(MIB):
                self.plain += data
            self.has_goodbye = True
        except ssl.SSLWantReadError:
            pass
        if said := self.outgoing.read():
            self.pair.peer.sendall(said)
            self.pair.run()


@pytest.fixture
def ends(make_pair: Callable[..., ConnectionPair], reactor: ManualReactor, tmp_path: Path) -> Ends:
    """A connection after its handshake."""
    write_certificate(tmp_path)
    contexts = DefaultOpenSSLContextFactory(str(tmp_path / "key.pem"), str(tmp_path / "cert.pem"))
    factory = TLSMemoryBIOFactory(
        contexts, isClient=False, wrappedFactory=Factory.forProtocol(RecordingProtocol), clock=reactor
    )
    factory.protocol = TLSConnection
    server: Any = factory.buildProtocol(None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = Ends(make_pair(protocol=server), server, context.wrap_bio(incoming, outgoing), incoming, outgoing)
    for _ in range(3):
        ends.exchange()
    return ends


def test_file(ends: Ends, file: FakeFile) -> None:
    """A file comes right to the byte, through small sockets, and what is written before and after it in its place."""
    ends.server.write(b"before")
    done = result_of(ends.server.send_file(file, 7, 3 * MIB, b"the head", None))
    ends.exchange()
    ends.server.write(b"after")
    ends.exchange()
    assert bytes(ends.plain) == b"before" + b"the head" + pattern(3 * MIB, 7) + b"after"
    assert done == [None]


def test_no_goodbye_before_the_end(ends: Ends, file: FakeFile) -> None:
    """A connection that is closed amid a body is reset: the client gets a prefix, and no close alert."""
    done = result_of(ends.server.send_file(file, 0, 4 * MIB, b"", None))
    ends.pair.stall()
    ends.server.loseConnection()
    ends.exchange()
    assert ends.pair.was_reset
    assert bytes(ends.plain) == pattern(len(ends.plain))
    assert len(ends.plain) < 4 * MIB
    assert not ends.has_goodbye
    assert [type(one) for one in done] == [ConnectionLost]


def test_goodbye_behind_the_end(ends: Ends, file: FakeFile) -> None:
    """A connection that is closed after a body says so, behind its last byte."""
    ends.server.send_file(file, 0, 300 * KIB, b"", None)
    ends.exchange()
    ends.server.loseConnection()
    ends.exchange()
    assert bytes(ends.plain) == pattern(300 * KIB)
    assert ends.has_goodbye


def test_closed_connection_sends_nothing(ends: Ends, file: FakeFile) -> None:
    """A file for a connection that is closing fails at once."""
    ends.server.loseConnection()
    done = result_of(ends.server.send_file(file, 0, MIB, b"", None))
    assert [type(one) for one in done] == [ConnectionLost]


def test_which_transports_send_files(ends: Ends) -> None:
    """TLS above a TCP connection that sends files does; the connection below is no TLS."""
    assert encrypting_transport(ends.server) is ends.server
    assert encrypting_transport(ends.pair.server) is None


def test_other_names_in_pyopenssl() -> None:
    """A pyOpenSSL without the private names is no failure: its public ones have to do."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_NAMES], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
