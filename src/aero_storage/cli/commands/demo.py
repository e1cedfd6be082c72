"""`aero-storage demo`: a Linux that boots in a browser from this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aero_storage.cli.commands.serve import serve_in_foreground
from aero_storage.cli.demo.site import IMAGE_ID, DemoSite, prepare
from aero_storage.cli.download_options import with_registries
from aero_storage.cli.downloads import emulator
from aero_storage.cli.downloads.cache import Downloads
from aero_storage.cli.downloads.debian import Mirror
from aero_storage.cli.downloads.emulator_directory import present
from aero_storage.cli.options import CommandContext, with_json
from aero_storage.cli.served_urls import LOOPBACK, served_urls
from aero_storage.emulator.files import EmulatorFilesError, read_emulator_files
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from aero_storage.service.listening.endpoints import Address

_DIRECTORY = "aero-storage-demo"
_PORT = 8080


@click.command("demo", short_help="Boot a Linux in a browser, from this machine.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=_DIRECTORY)
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help=f"Listen at this port; else at {_PORT}.")
@with_registries
@click.option("--anew", is_flag=True, help="Fetch and build everything again.")
@click.option("--no-serve", is_flag=True, help="Fetch and build, and do not serve.")
@click.option("--remove", is_flag=True, help="Remove all that the demo has made in DIRECTORY.")
@with_json
@click.pass_obj
def demonstrate(  # noqa: PLR0913, PLR0917 - the flags of a command
    context: CommandContext,
    directory: Path,
    port: int | None,
    registry: str,
    mirror: str,
    anew: bool,  # noqa: FBT001 - click's
    no_serve: bool,  # noqa: FBT001 - click's
    remove: bool,  # noqa: FBT001 - click's
) -> int:
    """Fetch a small Linux and an emulator into DIRECTORY, and serve them until Ctrl-C; a browser boots it.

    DIRECTORY is ./aero-storage-demo by default. Some 70 MB are fetched once, from npm's registry and a mirror of
    Debian, and each is checked by its digest. The disk is built without root, and without any program but Python;
    where e2fsprogs is installed, it has a file system that can be written to. The rest is served if something
    cannot be fetched; with --no-serve the status is 1 then.
    """
    site = DemoSite(directory.absolute())
    context.when_interrupted = f"what is whole in {site.home} is kept, and the same command goes on from there"
    if remove:
        _remove(context, site)
        return 0
    is_whole = _prepare(context, site, registry, mirror, anew=anew)
    if no_serve:
        last = f"All is in {site.home}" if is_whole else f"What there is, is in {site.home}"
        context.output.result({"directory": str(site.home), "complete": is_whole}, *_made_of(site), last)
        return 0 if is_whole else 1
    context.given["images_root"] = [str(site.images)]
    context.given["listen_addr"] = [f"{LOOPBACK}:{_free_port() if port is None else port}"]
    serve_in_foreground(context, lambda _root, addresses: _tell(context, site, addresses))
    return 0


def _remove(context: CommandContext, site: DemoSite) -> None:
    removed = site.remove(context.output.say)
    rest = "; what else is in it stays" if site.home.exists() else ""
    text = f"Removed {len(removed)} files of the demo from {site.home}{rest}"
    context.output.result({"directory": str(site.home), "removed": len(removed)}, text)


def _prepare(context: CommandContext, site: DemoSite, registry: str, mirror: str, *, anew: bool) -> bool:
    """Bring all, and return whether it is there; tell what cannot be had, and what works without it."""
    downloads = Downloads(site.downloads, context.output.say)
    origins = emulator.Origins(registry, Mirror(mirror, downloads), downloads)
    site.claim()
    with site.alone(context.output.say):
        try:
            prepare(site, origins, context.output.say, anew=anew)
        except OperatorError as error:
            context.output.say(f"{error}.")
            _tell_of_missing(context, site)
            return False
    return True


def _tell_of_missing(context: CommandContext, site: DemoSite) -> None:
    if not site.has_image:
        site.put_placeholder()
    missing, rest = _missing(has_image=site.has_image, has_emulator=present(site.emulator) is not None)
    context.output.say(
        f"{missing}. {rest}. Run this command again with a network, or with a --registry URL and a --mirror URL of "
        "your own."
    )


def _missing(*, has_image: bool, has_emulator: bool) -> tuple[str, str]:
    """Return what is missing, and what works all the same."""
    if has_image and has_emulator:
        return "Not all of it could be fetched anew", "What was there before is kept, and boots"
    if has_image:
        return "There is no emulator to boot Linux in", "The page shows the image, its files and its digest"
    missing = "There is no Linux to boot" if has_emulator else "There is no Linux to boot, and no emulator"
    return missing, "The page shows another image, its sectors and its digest"


def _free_port() -> int:
    """Return the port of the default if nobody listens there, else 0 for any that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, _PORT))
        except OSError:
            return 0
    return _PORT


def _made_of(site: DemoSite) -> Iterator[str]:
    """Yield lines with works and licences."""
    try:
        found = read_emulator_files(site.emulator)
    except EmulatorFilesError:
        found = None
    for work in found.works if found else ():
        yield f"  {work.name} {work.version}: {work.licence}, {site.emulator / work.licence_file}"
    for path in site.licences():
        yield f"  {path.stem}: {path}"


def _tell(context: CommandContext, site: DemoSite, addresses: tuple[Address, ...]) -> None:
    can_boot = present(site.emulator) is not None and site.has_image
    urls = [url.url for one in addresses for url in served_urls(one.text, is_secure=one.is_secure)]
    place = f"#/boot/{IMAGE_ID}" if can_boot else ""
    lines = [f"  {url.rstrip('/')}/{place}" for url in urls[:1]]
    made_of = list(_made_of(site))
    told = ["Made of, with their licences:", *made_of] if made_of else []
    context.output.result(None, *told, "Open this in a browser:", *lines, "Ctrl-C ends it.")
