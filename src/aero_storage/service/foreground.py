"""The daemon in the foreground of a terminal: the service of `twistd aero-storage`, run by another program."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from typing_extensions import override

from aero_storage.errors import OutputError
from aero_storage.logs.json_log import JsonLines, LineLog
from aero_storage.logs.sink import Sink
from aero_storage.service.listening.endpoints import Address
from aero_storage.service.options import Options
from aero_storage.service.output_watch import OutputWatch
from aero_storage.service.tap import make_service

Began = Callable[[str, tuple[Address, ...]], object]
"""Called once the daemon serves, with its images root and the addresses that it listens at."""


@attrs.frozen
class Front:
    """The program in whose foreground the daemon runs."""

    began: Began
    unread: Callable[[], object]
    """Called once nobody reads its standard output any more; the daemon ends then, as by a signal."""
    output: int
    """The descriptor of its standard output."""


class ForegroundOptions(Options):
    """The options of a daemon whose flags another program has parsed, and whose log goes to `sink`."""

    def __init__(self, given: Mapping[str, list[str]], defaults: Mapping[str, str], sink: Sink) -> None:
        super().__init__()
        self.given = dict(given)
        self.other_defaults = defaults
        self._sink = sink

    @override
    def _choose_log(self) -> LineLog:
        return JsonLines(self._sink, self.resolved.settings.log_level)


@attrs.define
class _Beginning:
    """Tells that the daemon serves; where nobody can be told, it ends."""

    _tell: Callable[[], object]
    _watch: OutputWatch
    _unread: Callable[[], object]
    _end: Callable[[], object]
    failure: OutputError | None = None

    def __call__(self) -> None:
        try:
            self._tell()
        except OutputError as error:
            if isinstance(error.__cause__, BrokenPipeError):
                self._unread()
                return
            self.failure = error
            self._end()
        else:
            self._watch.start()


def serve(given: Mapping[str, list[str]], defaults: Mapping[str, str], sink: Sink, front: Front) -> None:
    """Serve until a signal ends it; `given` has the texts of flags by the names of their settings.

    Raises SettingsError if a setting, the images root or an address cannot be used, and the OutputError of
    `front.began`, unless it is that nobody reads.
    """
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing it installs one

    reactor: PosixReactorBase = installed  # type: ignore[assignment]
    options = ForegroundOptions(given, defaults, sink)
    options.settle()
    service = make_service(options, reactor)
    service.stops_on_hangup = True
    assert isinstance(options.log, JsonLines)  # noqa: S101
    # Of Twisted's own lines a terminal wants the warnings; the daemon's do not come this way.
    troubles = FilteringLogObserver(options.log, [LogLevelFilterPredicate(LogLevel.levelWithName("warn"))])
    globalLogBeginner.beginLoggingTo([troubles], redirectStandardIO=False)

    def unread() -> None:
        front.unread()
        service.stop(output="closed")

    watch = OutputWatch(reactor, front.output, unread)
    reactor.addSystemEventTrigger("before", "shutdown", watch.stop)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    # After the turn in which the service takes over the signals.
    root = str(options.resolved.settings.images_root)
    beginning = _Beginning(lambda: front.began(root, service.addresses), watch, unread, reactor.stop)
    reactor.callWhenRunning(reactor.callLater, 0, beginning)
    reactor.run()
    if beginning.failure is not None:
        raise beginning.failure
