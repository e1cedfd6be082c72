"""Real processes under a real reactor: what a child is given, and what becomes of all that it writes.

A program that stands for the parent is run for each test; the children that it starts are programs of a few lines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PARENT = """
import os, sys
from twisted.internet import reactor
from twisted.logger import globalLogBeginner
from aero_storage.logs.json_log import DescriptorSink, JsonLines
from aero_storage.metrics import Counts
from aero_storage.workers.control_protocol import Kind
from aero_storage.workers.metric_totals import MetricTotals
from aero_storage.workers.worker_process import WorkerCommand, WorkerStarter

log = JsonLines(DescriptorSink(1), "info")
totals = MetricTotals(reactor, Counts)
reading, writing = os.pipe()
command = [sys.executable, "-c", sys.argv[1]]
command = WorkerCommand(command, dict(os.environ), b"x" * 1_000_000 + b"!", [reading, writing])
def heard(number, kind):
    if kind is Kind.READY:
        log.event("info", "ready", {"number": number})
starter = WorkerStarter(reactor, log, totals, lambda number: command, heard, lambda number: [reading] * number)

def ended(how):
    log.event("info", "ended", {**how, "counted": totals.total().bytes.get(("a",), 0)})
    reactor.stop()

def begin():
    process = starter.start(4, ended)
    log.event("info", "began", {"pid": process.pid})
    if len(sys.argv) > 2:
        getattr(process, sys.argv[2])(*map(int, sys.argv[3:]))

log.start()
globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False)
reactor.callWhenRunning(begin)
reactor.run()
log.stop()
"""

LINE = """
import json, os, signal, socket, struct, sys
def line(number, size=10):
    text = {"timestamp": "now", "level": "info", "message": "line", "number": number, "text": "x" * size}
    return json.dumps(text).encode() + b"\\n"
def write(data, descriptor=3):
    while data:
        data = data[os.write(descriptor, data):]
"""


def run(child: str, *order: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Have the parent start a child; what was logged meanwhile, and how it ended."""
    command = [sys.executable, "-c", PARENT, LINE + child, *order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    (began,) = [record for record in records if record["message"] == "began"]
    assert isinstance(began["pid"], int)
    (ended,) = [record for record in records if record["message"] == "ended"]
    uninteresting = {"began", "ended", "Main loop terminated."}
    return [record for record in records if record["message"] not in uninteresting], ended


def test_long_lines() -> None:
    """Lines longer than a pipe takes at once, and than the kernel writes as one, come through whole and in order."""
    child = "for number in range(200): write(line(number, 300_000 if number % 20 == 0 else 5000 + number))"
    lines, ended = run(child)
    assert [line["number"] for line in lines] == list(range(200))
    assert [len(line["text"]) for line in lines[:2]] == [300_000, 5001]
    assert ended["status"] == 0


def test_printing_between() -> None:
    """What is printed between the parts of a line, on either stream, is told apart from it."""
    child = (
        "data = line(1, 100_000)\n"
        "write(data[:50_000]); print('on standard output', flush=True)\n"
        "print('on standard error', file=sys.stderr, flush=True); write(data[50_000:])\n"
    )
    lines, _ = run(child)
    (whole,) = [line for line in lines if line["message"] == "line"]
    assert len(whole["text"]) == 100_000
    texts = [line["text"] for line in lines if line["message"] == "a worker printed"]
    assert sorted("\n".join(texts).split("\n")) == ["on standard error", "on standard output"]
    assert all(line["child"] == 4 for line in lines if line["level"] == "error")


def test_killed_in_a_line() -> None:
    """The lines before a kill are there, the one that it cut is told as broken, and the signal is named."""
    lines, ended = run("write(line(1) + line(2)[:-5]); os.kill(os.getpid(), signal.SIGKILL)")
    assert lines[0]["number"] == 1
    assert [line["level"] for line in lines] == ["info", "error"]
    assert ended["signal"] == "SIGKILL"


@pytest.mark.parametrize("status", [0, 3])
def test_status(status: int) -> None:
    """The status of a child that ends is told."""
    lines, ended = run(f"sys.exit({status})")
    assert (lines, ended["status"]) == ([], status)


def test_crash() -> None:
    """The traceback of a child that cannot even start reaches the log."""
    lines, ended = run("import no_such_module")
    assert "ModuleNotFoundError: No module named 'no_such_module'" in "".join(line["text"] for line in lines)
    assert ended["status"] == 1


def test_what_is_given() -> None:
    """A child reads its brief to the end and inherits what it is to, in order, and nothing else."""
    child = (
        "brief = sys.stdin.buffer.read(); os.write(6, b'hello'); os.close(6)\n"
        "inherited = os.read(5, 100).decode()\n"
        "others = [int(name) for name in os.listdir('/proc/self/fd')]\n"
        "write(json.dumps({'timestamp': 'now', 'level': 'info', 'message': 'given', 'size': len(brief), "
        "'end': chr(brief[-1]), 'inherited': inherited, 'open': sorted(others)[:-1]}).encode() + b'\\n')\n"
    )
    lines, _ = run(child)
    (given,) = lines
    assert (given["size"], given["end"], given["inherited"]) == (1_000_001, "!", "hello")
    assert set(given["open"]) <= {0, 1, 2, 3, 4, 5}


SAY = """
def say(kind, number, counts):
    data = json.dumps([kind, number, counts, 0, ""]).encode()
    os.write(4, struct.pack("!I", len(data)) + data)
def counts(number):
    from aero_storage.metrics import Counts
    from aero_storage.workers.control_protocol import to_document
    return to_document(Counts(bytes={("a",): number}))
"""


def test_last_words() -> None:
    """What a child has counted before it was killed is in the books by the time its end is told."""
    child = SAY + "for number in range(500): say('counts', 0, counts(number))\nos.kill(os.getpid(), signal.SIGKILL)"
    assert run(child)[1]["counted"] == 499


def test_ready() -> None:
    """A child that says so is ready, which has nothing to do with counts."""
    lines, ended = run(SAY + "say('ready', 0, None)")
    assert [line["number"] for line in lines if line["message"] == "ready"] == [4]
    assert (ended["status"], ended["counted"]) == (0, 0)


HEAR = """
channel = socket.socket(fileno=4).makefile("rb")
(size,) = struct.unpack("!I", channel.read(4))
print(json.loads(channel.read(size))[0], flush=True)
"""


@pytest.mark.parametrize("order", ["stop", "reload"])
def test_orders(order: str) -> None:
    """Orders that are given before the child listens are there when it does."""
    lines, ended = run(HEAR, order)
    assert [line["text"] for line in lines] == [order]
    assert ended["status"] == 0


def test_descriptors() -> None:
    """A child is sent the descriptors of another's sockets with the command to take them over."""
    child = (
        "channel = socket.socket(fileno=4)\n"
        "data, descriptors = b'', []\n"
        "while len(data) < 4 or len(data) < 4 + struct.unpack('!I', data[:4])[0]:\n"
        "    more, received, _, _ = socket.recv_fds(channel, 1, 8)\n"
        "    data, descriptors = data + more, descriptors + received\n"
        "print(data[4:].decode(), len({os.fstat(one).st_ino for one in descriptors}), len(descriptors), flush=True)\n"
    )
    lines, _ = run(child, "take_over", "2")
    assert [line["text"] for line in lines] == ['["take_over", 2, null, 2, ""] 1 2']


def test_kill() -> None:
    """A child that hears nothing is killed."""
    assert run("signal.pause()", "kill")[1]["signal"] == "SIGKILL"


def test_nonsense_on_the_channel() -> None:
    """A child that says what nobody understands loses its parent's ear, and the reason is logged."""
    child = "os.write(4, struct.pack('!I', 3) + b'xyz'); print(socket.socket(fileno=4).recv(1), flush=True)"
    lines, ended = run(child)
    assert [line["text"] for line in lines if line["message"] == "a worker printed"] == ["b''"]
    assert [line for line in lines if line["level"] == "critical" and "JSONDecodeError" in line["message"]]
    assert ended["status"] == 0
