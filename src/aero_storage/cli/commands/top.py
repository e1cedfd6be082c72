"""`aero-storage top`: a live view of a daemon's metrics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import attrs
import click

from aero_storage.cli.commands.doctor import own_url
from aero_storage.cli.interruption import InterruptedBySignal
from aero_storage.cli.live_screen import LiveScreen, is_screen, live_screen
from aero_storage.cli.options import CommandContext, json_flag
from aero_storage.cli.output import Output
from aero_storage.cli.setting_flags import with_settings
from aero_storage.cli.terminal import shows_blocks, terminal_columns
from aero_storage.cli.top.figures import Figures
from aero_storage.cli.top.layout import line, screen, whole
from aero_storage.cli.top.observer import Observer
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.target import Target, parse_target
from aero_storage.errors import OperatorError, OutputError
from aero_storage.settings import Settings

_REMEMBERED = 600


@click.command("top", short_help="Watch a running daemon by its metrics.")
@click.argument("url", required=False)
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look again after this time.",
)
@click.option("--once", is_flag=True, help="Look twice, print the figures between, and end.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the certificates in FILE (PEM), in place of those of the system: your own authority's.",
)
@click.option("--insecure", is_flag=True, help="Look on if the server's certificate is not valid.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait this long for an answer.",
)
@json_flag("Print the figures of each look as one JSON document, a line.")
@with_settings("metrics_auth_token_file")
@click.pass_obj
def watch_daemon(  # noqa: PLR0913, PLR0917 - one for each option
    context: CommandContext,
    url: str | None,
    interval: float,
    once: bool,  # noqa: FBT001 - click's
    ca_file: Path | None,
    insecure: bool,  # noqa: FBT001 - click's
    timeout: float,
) -> int:
    """Watch a running daemon: places, queue, connections, requests, bytes, latency, cache and object store.

    URL is that of the daemon (http://images.example.com:8080); without it, the daemon that the settings describe.
    The figures come from its /metrics. A token of the settings is sent to the address of these settings alone, and
    one that --metrics-auth-token-file gives here to any URL. On a terminal the figures stay in place until Ctrl-C,
    also while the daemon is away; elsewhere each look is a line.
    """
    resolved, context.when_interrupted = context.settings, "nothing was changed"
    target, _ = parse_target(url or own_url(resolved))
    token = token_for(target, resolved, is_given="metrics_auth_token_file" in context.given)
    with closing(_client(target, timeout, token, insecure=insecure, authorities=ca_file)) as client:
        withheld = token is None and resolved.metrics_auth_token is not None
        watch = Watch(Observer(client, withheld), context.output, target.url, interval)
        try:
            watch.begin()
            watch.once() if once else watch.on_a_screen() if _has_screen(context) else watch.as_lines()
        except InterruptedBySignal:
            raise
        except KeyboardInterrupt:  # Ctrl-C, the way to end it
            return 0
        except OutputError as error:
            if not isinstance(error.__cause__, BrokenPipeError):  # a reader that has seen enough
                raise
    return 0


def token_for(target: Target, resolved: Settings, *, is_given: bool) -> str | None:
    """Return the token to send: to the address of the settings, or to any if it was given for this command."""
    return resolved.metrics_auth_token if is_given or _is_own(target, resolved) else None


def _is_own(target: Target, resolved: Settings) -> bool:
    """Return whether the server is that of the settings, by the address that they name."""
    if resolved.endpoint or not resolved.listen_addr.port:
        return False
    own, _ = parse_target(own_url(resolved))
    is_same_host = target.host == own.host or (target.is_loopback and own.is_loopback)
    return is_same_host and (target.scheme, target.port, target.prefix) == (own.scheme, own.port, own.prefix)


def _client(
    target: Target, timeout: float, token: str | None, *, insecure: bool, authorities: Path | None
) -> HttpClient:
    headers = {"User-Agent": "aero-storage top", **({} if token is None else {"Authorization": f"Bearer {token}"})}
    try:
        return HttpClient(target, timeout, headers, insecure=insecure, authorities=authorities)
    except OSError as error:
        raise OperatorError(f"{authorities} has no certificates in PEM: {error}") from error


def _has_screen(context: CommandContext) -> bool:
    return not context.output.as_json and is_screen()


@attrs.define(eq=False)
class Watch:
    """Looks again and again, and shows the figures."""

    _observer: Observer
    _output: Output
    _url: str
    _interval: float
    _pause: Callable[[float], None] = time.sleep
    _history: deque[float] = attrs.field(init=False, factory=lambda: deque(maxlen=_REMEMBERED))

    def begin(self) -> None:
        """Look for the first time. Raises OperatorError: a failure at the start is a mistake."""
        self._observer.look()

    def once(self) -> None:
        """Print the figures of one interval; no line is cut, as it may be read by a program or go to a file."""
        self._pause(self._interval)
        figures = self._observer.look()
        self._output.result(attrs.asdict(figures), *whole(figures, self._heading(figures), (), terminal_columns()))

    def as_lines(self) -> None:
        """Print a line for each interval, without end."""
        while True:
            self._pause(self._interval)
            try:
                figures = self._observer.look()
            except OperatorError as error:
                self._output.failure(str(error))
            else:
                self._output.result(attrs.asdict(figures), f"{time.strftime('%H:%M:%S')}  {line(figures)}")

    def on_a_screen(self) -> None:
        """Keep the figures in place, without end."""
        with live_screen() as terminal:
            terminal.show(lambda width, _height: [self._url[:width], "", "looking …"])
            while True:
                terminal.wait(self._interval)
                self._show(terminal)

    def _show(self, terminal: LiveScreen) -> None:
        try:
            figures = self._observer.look()
        except OperatorError as error:
            said = f"no figures: {error}; looking again"
            terminal.show(lambda width, _height: [self._url[:width], "", *_folded(said, width)])
            return
        self._history.append(figures.bytes_per_second)
        heading, history = self._heading(figures), tuple(self._history) if shows_blocks() else ()
        terminal.show(lambda width, height: screen(figures, heading, history, width, height))

    def _heading(self, figures: Figures) -> str:
        return f"{self._url}   aero-storage {figures.version}   {time.strftime('%H:%M:%S')}"


def _folded(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), max(1, width))]
