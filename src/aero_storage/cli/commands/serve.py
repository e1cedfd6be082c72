"""`aero-storage serve`: the daemon in the foreground, with defaults for trying things."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from aero_storage.cli.options import CommandContext, json_flag
from aero_storage.cli.output import Output
from aero_storage.cli.qr_code import qr_rows
from aero_storage.cli.served_urls import EVERYWHERE, LOOPBACK, served_urls
from aero_storage.cli.setting_flags import with_all_settings
from aero_storage.cli.terminal import TerminalSink, lacks_colours, shows_blocks, terminal_columns, write_blocks
from aero_storage.cli.warning_lines import warning_lines
from aero_storage.errors import AeroStorageError, ListenError, OperatorError, OutputError, SettingsError
from aero_storage.logs.readable_lines import ReadableLines
from aero_storage.settings.origin_url import OriginUrl

if TYPE_CHECKING:
    from aero_storage.service.listening.endpoints import Address

_PORT = 8080
_DEFAULTS = {"listen_addr": f"{LOOPBACK}:{_PORT}", "shutdown_grace_secs": "5"}
"""Other defaults than the daemon's: only this machine, and a short grace at Ctrl-C."""
_SHOWN = (
    *("listen_addr", "workers", "cors_origin", "require_manifest", "virtual_chunks", "virtual_chunk_bytes"),
    *("lease_keys_file", "max_concurrent_bytes_requests", "max_bytes_per_second", "log_level", "page"),
)
"""The settings in the help of the command; it takes all others too."""


@click.command("serve", short_help="Serve an images root in the foreground, for trying things.")
@click.argument("root", required=False)
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help=f"Listen at this port; {_PORT} by default.")
@click.option("--lan", is_flag=True, help="Let other machines of the network in: listen at every address.")
@click.option("--qr", is_flag=True, help="Show the URL of the network as a QR code, for a phone; implies --lan.")
@json_flag("Write the log as the daemon does, each line a JSON document.")
@with_all_settings(_SHOWN)
@click.pass_obj
def serve_images(
    context: CommandContext,
    root: str | None,
    port: int | None,
    lan: bool,  # noqa: FBT001 - click's
    qr: bool,  # noqa: FBT001 - click's
) -> None:
    """Serve the images root ROOT, in the foreground, until Ctrl-C.

    ROOT is a directory or the URL of a bucket; by default it is the images root of the settings. Without a catalog
    every image in it is served. Each request is a readable line; with --json the log is that of the daemon. When
    the output is a pipe, and its reader has gone, serving ends as by Ctrl-C.

    This is the daemon, twistd aero-storage, with other defaults: it listens at this machine alone, and responses have
    5 seconds at the end, which a second Ctrl-C cuts short. Any setting of it may be given as the flag of its name.
    """
    context.when_interrupted = "nothing was changed"
    if (lan or qr or port is not None) and "listen_addr" in context.given:
        raise click.UsageError("--listen-addr names host and port: leave --port, --lan and --qr out")
    if root is not None:
        context.given["images_root"] = [root]
    if lan or qr or port is not None:
        host = EVERYWHERE if lan or qr else LOOPBACK
        context.given["listen_addr"] = [f"{host}:{_PORT if port is None else port}"]

    def tell(at: str, addresses: tuple[Address, ...]) -> None:
        tell_addresses(context.output, at, addresses, with_code=qr)
        _tell_of_left_out(context)

    serve_in_foreground(context, tell)


def _tell_of_left_out(context: CommandContext) -> None:
    """Write which files of a directory without a catalog are not served, and why: an empty page would not say so."""
    if not context.listing or isinstance(context.settings.images_root, OriginUrl):
        return
    with suppress(AeroStorageError):  # the daemon's log tells of it
        documents = context.repository.documents
        left_out = {} if documents.has_manifest() else documents.left_out()
        for line in warning_lines({name: [f"left out: {reason}"] for name, reason in left_out.items()}):
            context.output.say(line)


def serve_in_foreground(context: CommandContext, tell: Callable[[str, tuple[Address, ...]], object]) -> None:
    """Serve by the settings of a command until a signal ends it; `tell` gets root and addresses, unless as JSON.

    Raises SettingsError, and OperatorError if standard output does not take the addresses.
    """
    from aero_storage.service.foreground import Front, serve  # noqa: PLC0415 - Twisted takes half a second

    sink = TerminalSink()
    readable = None if context.output.as_json else ReadableLines(sink)

    def began(root: str, addresses: tuple[Address, ...]) -> None:
        if readable is not None:
            tell(root, addresses)
            with suppress(OSError):  # as of any line of the log; whether somebody reads is looked at from now on
                readable.release()

    def unread() -> None:
        context.output.say("aero-storage: nobody reads the output any more; ending, as by Ctrl-C")

    try:
        serve(context.given, _DEFAULTS, readable or sink, Front(began, unread, sink.descriptor))
    except ListenError as error:
        raise SettingsError(f"{error}; --port 0 takes a port that is free") from error
    except OutputError as error:
        raise OperatorError(f"{error}; it served, but could not tell where") from error


def tell_addresses(output: Output, root: str, addresses: tuple[Address, ...], *, with_code: bool) -> None:
    """Write the URLs, and the code of the first one that other machines reach."""
    urls = [url for one in addresses for url in served_urls(one.text, is_secure=one.is_secure)]
    reachable = [url.url for url in urls if url.is_reachable]
    lines = [f"Serving {root}", *(f"  {url.url}" for url in urls)]
    output.result(None, *lines, "Ctrl-C ends it.")
    if not with_code:
        return
    rows = qr_rows(reachable[0]) if reachable else []
    if not rows:
        output.say("aero-storage: this machine has no address that others reach, so there is no QR code")
    elif not shows_blocks():
        output.say("aero-storage: the encoding of this terminal has no blocks for a QR code")
    elif lacks_colours():
        output.say("aero-storage: this terminal shows no colours, which a QR code needs")
    elif terminal_columns() < len(rows[0]):
        output.say(f"aero-storage: the QR code has {len(rows[0])} columns, and this terminal {terminal_columns()}")
    else:
        write_blocks(rows)
