"""`aero-storage`, the operator's command: entry point, exit statuses and signals."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import NoReturn

import click

from aero_storage.cli.commands.completion import print_completion
from aero_storage.cli.commands.copy import copy_images
from aero_storage.cli.commands.demo import demonstrate
from aero_storage.cli.commands.doctor import examine_server
from aero_storage.cli.commands.import_image import import_image
from aero_storage.cli.commands.lease import lease
from aero_storage.cli.commands.list_images import catalog, show
from aero_storage.cli.commands.page import page
from aero_storage.cli.commands.profile import profile
from aero_storage.cli.commands.publish import publish_image
from aero_storage.cli.commands.remove import remove
from aero_storage.cli.commands.serve import serve_images
from aero_storage.cli.commands.top import watch_daemon
from aero_storage.cli.commands.verify import verify_chunks
from aero_storage.cli.interruption import InterruptedBySignal, signal_of
from aero_storage.cli.options import CommandContext, with_json, with_root
from aero_storage.cli.output import Output
from aero_storage.cli.terminal import accept_all_text, open_missing_streams
from aero_storage.errors import AeroStorageError, OutputError

_INTERRUPTED = 128
_STRICTEST = 0o022
"""The strictest umask for created files: the daemon that reads them usually runs as another user."""

_TERMINATED = (signal.SIGTERM, signal.SIGHUP)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="aero-storage", prog_name="aero-storage")
@with_json
@with_root
def command() -> None:
    """Serve disk images to browsers, and manage them: import them, cut them into chunks, check them.

    \b
      aero-storage demo                  # a Linux that boots in a browser
      aero-storage serve images          # the images of a directory, until Ctrl-C
      aero-storage import win98.qcow2 --id win98 --name "Windows 98 SE"
      aero-storage publish win98
      aero-storage verify win98

    The daemon (twistd aero-storage) may run meanwhile: each change is atomic and takes effect within a second.
    """  # noqa: D301 - click's mark for text that is not wrapped


for _command in (
    *(import_image, publish_image, verify_chunks, show, copy_images, remove, catalog),
    *(lease, profile, page, demonstrate, examine_server, serve_images, watch_daemon, print_completion),
):
    command.add_command(_command)


def _interrupt(number: int, _frame: object) -> NoReturn:
    raise InterruptedBySignal(number)


def main() -> None:
    """Run the command; the exit status is 0, 1 for a failure, 2 for a usage error, 128 + n after signal n."""
    open_missing_streams()
    for number in _TERMINATED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it on purpose
            signal.signal(number, _interrupt)
    os.umask(os.umask(0) & _STRICTEST)
    accept_all_text()
    sys.exit(run(sys.argv[1:], Output()))


def run(arguments: list[str], output: Output) -> int:
    """Run one command line and return its exit status; every failure is printed."""
    output.as_json = "--json" in arguments  # before click, which may stop at a usage error first
    context = CommandContext(output)
    try:
        return command.main(arguments, "aero-storage", standalone_mode=False, obj=context) or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        _show(error, output)
        if output.as_json:
            output.failure(error.format_message())
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        output.failure(f"interrupted; {context.when_interrupted}")
        return _INTERRUPTED + signal_of(error.__cause__ or error)  # click turns it into an Abort
    except OutputError as error:
        output.lost(str(error))
    except AeroStorageError as error:
        output.failure(str(error))
    except OSError as error:
        output.failure(_explain(error))
    return 1


def _show(error: click.ClickException, output: Output) -> None:
    """Print a mistake in the words of the command line, with the usage, as click would."""
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().removesuffix("\n").split("\n"):
        output.say(line)


def _explain(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}no space left; what was there before is as it was, what was written is removed again"
    return f"{where}{error.strerror or error}"
