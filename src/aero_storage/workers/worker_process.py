"""Worker processes: start with inherited descriptors, commands over the control channel, log and end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from signal import Signals

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from typing_extensions import override

from aero_storage.logs.json_log import LineLog
from aero_storage.workers.control_protocol import ControlChannel, Kind, Message, open_channel
from aero_storage.workers.metric_totals import MetricTotals
from aero_storage.workers.supervisor import Ended, Worker
from aero_storage.workers.worker_log import WorkerLog, WorkerOutput

LOG = 3
"""The worker's end of the log pipe; text that libraries print on 1 and 2 never mixes with a line of it."""

CHANNEL = 4
"""The worker's end of the control channel."""

FIRST = 5
"""The first of the descriptors that the worker inherits from WorkerCommand."""


_COUNTED = (Kind.COUNTS, Kind.SUM)
"""Messages with counts."""


@attrs.frozen
class WorkerCommand:
    """Start parameters of a worker: command line, environment, standard input, inherited descriptors."""

    command: Sequence[str]
    environ: Mapping[str, str]
    config: bytes
    """Written to its standard input, which is then closed."""
    descriptors: Sequence[int]
    """Descriptors of this process; the worker has them, in this order, from FIRST on."""


class _Pipes(ProcessProtocol):
    """Reads the worker's output; `ended` fires with exit status or signal once it has ended and all is read."""

    def __init__(self, log: WorkerLog, printed: WorkerOutput) -> None:
        self._log = log
        self._printed = printed
        self.ended: Deferred[dict[str, object]] = Deferred()

    @override
    def childDataReceived(self, childFD: int, data: bytes) -> None:
        (self._log if childFD == LOG else self._printed).take(data)

    @override
    def processEnded(self, reason: Failure) -> None:
        self._log.finish()
        self._printed.finish()
        self.ended.callback(_exit_status(reason.value))


def _exit_status(error: BaseException | None) -> dict[str, object]:
    if isinstance(error, ProcessTerminated) and error.signal is not None:
        return {"signal": Signals(error.signal).name}
    return {"status": getattr(error, "exitCode", None)}


@attrs.frozen(eq=False)
class WorkerProcess(Worker):
    """A running worker process."""

    pid: int
    _transport: IProcessTransport
    _channel: ControlChannel
    _own_sockets: Callable[[int], Sequence[int]]

    @override
    def stop(self) -> None:
        self._channel.send(Message(Kind.STOP))

    @override
    def reload(self, payload: bytes = b"") -> None:
        self._channel.send(Message(Kind.RELOAD, payload=payload))

    @override
    def take_over(self, number: int) -> None:
        self._channel.send(Message(Kind.TAKE_OVER, number), self._own_sockets(number))

    @override
    def give_back(self, number: int) -> None:
        self._channel.send(Message(Kind.GIVE_BACK, number))

    @override
    def kill(self) -> None:
        with suppress(ProcessExitedAlready):
            self._transport.signalProcess("KILL")


@attrs.frozen(eq=False)
class WorkerStarter:
    """Starts worker processes. Their output goes to `log`, their counts to `totals`.

    `heard` is called with the number of a worker and the kind of each of its messages; `own_sockets` returns the
    descriptors of the listening sockets that a worker has to itself.
    """

    _reactor: PosixReactorBase
    _log: LineLog
    _totals: MetricTotals
    _command_for: Callable[[int], WorkerCommand]
    _heard: Callable[[int, Kind], object]
    _own_sockets: Callable[[int], Sequence[int]]

    def start(self, number: int, ended: Ended) -> WorkerProcess:
        """Start the worker of a number (supervisor.Spawn)."""
        channel = ControlChannel(lambda message: self._receive(number, message))
        pipes = _Pipes(WorkerLog(number, self._log), WorkerOutput(number, self._log, self._reactor))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            transport = self._spawn(pipes, self._command_for(number), theirs.fileno())
            open_channel(self._reactor, ours, channel)
        self._totals.join(number, channel.send)
        Deferred.fromCoroutine(self._await_end(number, pipes, channel, ended))
        return WorkerProcess(transport.pid, transport, channel, self._own_sockets)

    def _receive(self, number: int, message: Message) -> None:
        if message.kind in _COUNTED:
            self._totals.receive(number, message)
        self._heard(number, message.kind)

    def _spawn(self, pipes: _Pipes, command: WorkerCommand, channel: int) -> IProcessTransport:
        inherited = {FIRST + index: descriptor for index, descriptor in enumerate(command.descriptors)}
        transport: IProcessTransport = self._reactor.spawnProcess(
            pipes,
            command.command[0],
            command.command,
            command.environ,
            childFDs={0: "w", 1: "r", 2: "r", LOG: "r", CHANNEL: channel, **inherited},
        )
        transport.writeToChild(0, command.config)
        transport.closeStdin()
        return transport

    async def _await_end(self, number: int, pipes: _Pipes, channel: ControlChannel, ended: Ended) -> None:
        how = await pipes.ended
        await channel.lost  # its last counts may still be in the channel
        self._totals.leave(number)
        ended(how)
