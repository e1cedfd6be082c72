"""A client that sends the same hostile bytes to several daemons, and holds their answers side by side."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import attrs
from tests.blackbox.raw_http import RawConnection

from torture.fuzzing.hostile_connections import HostileConnection, Piece, hostile_connection

_STATUS = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2}) ")
"""Of a final response."""
_OWN = re.compile(rb"\r\n(?:Date|X-Request-Id): [^\r\n]*")
"""What no two answers have in common."""
_END_SECONDS = 15.0
_ANSWER_SECONDS = 0.02
"""How long an answer is awaited before the next request is sent nevertheless: not everything is answered."""
_MOST_COMPLAINTS = 5


@attrs.frozen
class Batch:
    """What came of one share of the requests."""

    sent: int
    connections: int
    statuses: Counter[int]
    complaints: list[str]


def compare_answers(ports: Sequence[int], seed: str, wanted: int, patience: float = _END_SECONDS) -> Batch:
    """Send hostile connections until so many answers have come; complain about what must not come.

    `patience` is how many seconds the end of a connection may take.
    """
    sent, number = 0, 0
    statuses: Counter[int] = Counter()
    complaints: list[str] = []
    while statuses.total() < wanted and len(complaints) < _MOST_COMPLAINTS:
        if number > wanted:  # most answer several
            complaints.append(f"{number} connections got only {statuses.total()} answers")
            break
        hostile_seed = f"{seed} {number}"
        hostile = hostile_connection(hostile_seed)
        peers = exchange(ports, hostile, patience)
        complaints += (
            f"hostile_connection({hostile_seed!r}): {text}; sent: {hostile.text!r}"[:4000] for text in faults(peers)
        )
        for peer in peers:
            statuses.update(peer.statuses)
        sent, number = sent + sum(peer.heads for peer in peers), number + 1
    return Batch(sent, number * len(ports), statuses, complaints)


@attrs.define(eq=False)
class Peer:
    """One connection, and what came back on it."""

    sock: socket.socket
    answer: bytearray = attrs.field(factory=bytearray)
    ended: bool = False
    """Whether the daemon has closed, too."""
    heads: int = 0
    """How many were sent."""

    def send(self, piece: Piece) -> None:
        """Send it, unless the daemon has closed."""
        if self.ended:
            return
        self.heads += piece.heads
        with suppress(BrokenPipeError, ConnectionResetError):  # what the daemon has said before is still to be read
            self.sock.sendall(piece.text)

    def read(self, seconds: float) -> bool:
        """Take what comes within so long; false if nothing does, or the connection has ended."""
        if self.ended:
            return False
        self.sock.settimeout(seconds)
        try:
            part = self.sock.recv(1 << 18)
        except TimeoutError:
            return False
        except ConnectionResetError:  # an answer too: what came before it counts
            part = b""
        self.answer += part
        self.ended = not part
        return not self.ended

    @property
    def statuses(self) -> list[int]:
        """Of all final responses, in their order."""
        return [int(status) for status in _STATUS.findall(self.answer)]

    @property
    def alike(self) -> bytes:
        """All that came, but for what no two answers have in common."""
        return _OWN.sub(b"", self.answer)


def exchange(ports: Sequence[int], hostile: HostileConnection, patience: float = _END_SECONDS) -> list[Peer]:
    """Send the same to all, half-close, and read to the end."""
    with ExitStack() as held:
        peers = [Peer(held.enter_context(_dialled(port, patience))) for port in ports]
        for piece in hostile.pieces:
            for peer in peers:
                peer.send(piece)
            if hostile.waits:
                for peer in peers:
                    peer.read(_ANSWER_SECONDS)
        for peer in peers:
            _half_close(peer.sock)
        for peer in peers:
            while peer.read(patience):
                pass
    return peers


def _dialled(port: int, patience: float) -> socket.socket:
    sock = RawConnection.dial(port).sock
    sock.settimeout(patience)
    return sock


def _half_close(sock: socket.socket) -> None:
    with suppress(OSError):  # reset already
        sock.shutdown(socket.SHUT_WR)


def faults(peers: Sequence[Peer]) -> list[str]:
    """What is wrong with the answers to the same bytes."""
    found = [peer.statuses for peer in peers]
    complaints = []
    if not all(peer.ended for peer in peers):
        complaints.append(f"no end of the connection: {found}")
    elif len({peer.alike for peer in peers}) > 1:
        complaints.append(f"not the same answers: {found}, {_difference([peer.alike for peer in peers])}")
    if any(status >= 500 for statuses in found for status in statuses):
        complaints.append(f"an error of the server: {found}")
    if any(b"smuggled" in peer.answer for peer in peers):
        complaints.append(f"a smuggled request was answered: {found}")
    return complaints


def _difference(texts: Sequence[bytes]) -> str:
    """The place where they part, and what they say there."""
    least = min(map(len, texts))
    at = next((at for at in range(least) if len({text[at] for text in texts}) > 1), least)
    return f"from byte {at} on {[text[max(at - 30, 0) : at + 90] for text in texts]}"
