"""`aero-storage top`: a live view of a daemon's metrics."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import closing

import attrs
import click

from aero_storage.cli.commands.doctor import own_url
from aero_storage.cli.live_screen import LiveScreen, is_screen, live_screen
from aero_storage.cli.options import CommandContext, json_flag
from aero_storage.cli.output import Output
from aero_storage.cli.setting_flags import with_settings
from aero_storage.cli.terminal import shows_blocks
from aero_storage.cli.top.figures import Figures
from aero_storage.cli.top.layout import line, screen
from aero_storage.cli.top.observer import Observer
from aero_storage.doctor.http_client import HttpClient
from aero_storage.doctor.target import parse_target
from aero_storage.errors import OperatorError, OutputError

_REMEMBERED = 600
_WIDE, _ENDLESS = 100, 1000
"""Columns and lines of what is printed once."""


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
    insecure: bool,  # noqa: FBT001 - click's
    timeout: float,
) -> int:
    """Watch a running daemon: places, queue, connections, requests, bytes, latency, cache and object store.

    URL is that of the daemon (http://images.example.com:8080); without it, the daemon that the settings describe.
    The figures come from its /metrics, with the token of the settings, if there is one. On a terminal they stay in
    place until Ctrl-C, also while the daemon is away; elsewhere each look is a line.
    """
    resolved = context.settings
    target, _ = parse_target(url or own_url(resolved))
    token = resolved.metrics_auth_token
    extra = {"User-Agent": "aero-storage top", **({} if token is None else {"Authorization": f"Bearer {token}"})}
    with closing(HttpClient(target, timeout, extra, insecure=insecure)) as client:
        watch = Watch(Observer(client), context.output, target.url, interval)
        try:
            watch.begin()
            watch.once() if once else watch.on_a_screen() if _has_screen(context) else watch.as_lines()
        except KeyboardInterrupt:
            return 0
        except OutputError as error:
            if not isinstance(error.__cause__, BrokenPipeError):  # a reader that has seen enough
                raise
    return 0


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
        """Print the figures of one interval."""
        self._pause(self._interval)
        figures = self._observer.look()
        self._output.result(attrs.asdict(figures), *screen(figures, self._heading(figures), (), _WIDE, _ENDLESS))

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
