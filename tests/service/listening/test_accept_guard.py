"""Accepting when there is no descriptor left: a real socket, in a process of its own that may have few."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMON = """
import json, os, resource, socket, sys
from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.listening.accept_guard import AcceptGuard

class Log:
    lines = []
    def event(self, level, message, fields={}):
        self.lines.append((level, message, dict(fields)))

class Reactor(Clock):
    readers = set()
    addReader = readers.add
    removeReader = readers.discard
    def addWriter(self, writer): pass
    def removeWriter(self, writer): pass

class Kept(Factory):
    noisy = False
    made = []
    def buildProtocol(self, address):
        protocol = Protocol()
        self.made.append(protocol)
        return protocol

reactor, log, factory = Reactor(), Log(), Kept()
metrics = Metrics(Registry(), "1", 0)
room, full = [], []
accept_guard = AcceptGuard(reactor, lambda: bool(room) and room.pop(), lambda: bool(full), metrics, log)
port = tcp.Port(0, factory, 1024, "127.0.0.1", reactor)
port.startListening()
accept_guard.guard(port)
address = port.getHost().host, port.getHost().port

def connect(number):
    made = [socket.create_connection(address, 5) for _ in range(number)]
    for one in made:
        one.settimeout(5)
    return made

def exhaust(left):
    # Clients have theirs already; from here on only `left` more can be had.
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + left, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def rob():
    # Another thread takes the descriptor that is kept back.
    os.close(accept_guard._spare)
    accept_guard._spare = None
    os.dup(0)
    exhaust(0)

def relax():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

def tell(**more):
    refused = metrics.counts.refusals[("descriptors",)]
    print(json.dumps({"log": log.lines, "made": len(factory.made), "refused": refused,
                      "reading": port in reactor.readers, "room": len(room), **more}))
"""


def run(program: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_all_are_served_while_there_are_descriptors() -> None:
    """Nothing is told, and nobody sent away."""
    told = run("clients = connect(5)\nport.doRead()\ntell()")
    assert (told["made"], told["refused"], told["log"]) == (5, 0, [])


def test_who_finds_no_descriptor_is_sent_away() -> None:
    """Those that there are descriptors for are served, all others closed, with one line; later ones are served."""
    told = run(
        """
clients = connect(20)
exhaust(3)
for _ in range(10):
    port.doRead()
ends = sum(one.recv(1) == b"" for one in clients[3:])
relax()
late = connect(2)
port.doRead()
port.doRead()
tell(ends=ends)
"""
    )
    assert (told["made"], told["refused"], told["ends"]) == (3 + 2, 17, 17)
    ((level, message, fields),) = told["log"]
    assert (level, message, fields["reason"]) == ("error", "out of file descriptors", "Too many open files")
    assert told["reading"]


def test_full_but_nobody_waits() -> None:
    """That the last descriptor has been given to a client is no trouble yet."""
    told = run("clients = connect(3)\nexhaust(3)\nfor _ in range(5):\n    port.doRead()\ntell()")
    assert (told["made"], told["refused"], told["log"], told["reading"]) == (3, 0, [], True)


def test_room_is_made_for_those_who_come_next() -> None:
    """A shortage closes some connections that nobody needs."""
    told = run("room[:] = [True] * 20\nclients = connect(2)\nexhaust(0)\nport.doRead()\ntell()")
    assert (told["refused"], told["room"]) == (2, 12)


def test_without_a_descriptor_kept_back() -> None:
    """If another thread has taken that, those who come wait for a moment, instead of keeping the reactor busy."""
    told = run(
        """
clients = connect(2)
rob()
port.doRead()
paused = port not in reactor.readers
reactor.advance(0.2)
still = port not in reactor.readers
relax()
reactor.advance(0.1)
port.doRead()
port.doRead()
tell(paused=paused, still=still)
"""
    )
    assert (told["paused"], told["still"], told["reading"]) == (True, True, True)
    assert (told["made"], told["refused"], len(told["log"])) == (2, 0, 1)


def test_lost_descriptor_is_taken_again() -> None:
    """What was lost to another thread comes back as soon as there is one."""
    told = run(
        """
clients = connect(3)
rob()
port.doRead()
first = metrics.counts.refusals[("descriptors",)]
relax()
reactor.advance(1)
tell(first=first, spare=accept_guard._spare is not None)
"""
    )
    assert (told["first"], told["spare"], told["reading"]) == (0, True, True)


def test_closed() -> None:
    """The one descriptor is given back, and no timer is left, however often it is closed."""
    told = run(
        """
clients = connect(1)
rob()
port.doRead()
relax()
accept_guard._take_spare()
before = len(os.listdir("/proc/self/fd"))
accept_guard.close()
accept_guard.close()
tell(fewer=before - len(os.listdir("/proc/self/fd")), timers=len(reactor.getDelayedCalls()))
"""
    )
    assert (told["fewer"], told["timers"]) == (1, 0)


def test_what_is_no_shortage_is_raised() -> None:
    """Another failure of accept is not taken for one of these."""
    told = run(
        """
listening = port.socket
os.close(listening.fileno())
try:
    listening.accept()
except OSError as error:
    raised = error.errno
listening.detach()
tell(raised=raised)
"""
    )
    assert (told["raised"], told["log"]) == (9, [])
