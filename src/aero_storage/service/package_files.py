"""The client for browsers and the page, which the package has as data."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.client_module import ClientModule
from aero_storage.delivery.emulator_parts import EmulatorParts
from aero_storage.delivery.package_parts import PackageParts
from aero_storage.delivery.page import DOCUMENT, Page
from aero_storage.disk import Disk
from aero_storage.logs.json_log import EventLog
from aero_storage.settings import Settings

_METRICS_ARE_OPEN = (b'data-metrics="closed"', b'data-metrics="open"')
"""The words of the document while nobody may read the metrics, and those if everybody may."""


def package_parts(settings: Settings, disk: Disk, clock: IReactorTime, log: EventLog) -> PackageParts:
    """Read both, some 85 files with 400 KB; the emulator is read when a page asks for it."""
    if not settings.page:
        return PackageParts()

    def tell(fault: str) -> None:
        log.event("warn", "the emulator of the page cannot be served", {"error": fault})

    page = _files_of("page")
    if not settings.disable_metrics and settings.metrics_auth_token is None:
        page = {**page, DOCUMENT: page[DOCUMENT].replace(*_METRICS_ARE_OPEN)}
    scripts = {name: body for name, body in _files_of("client").items() if name.endswith(".js")}
    emulator = EmulatorParts(settings.page_directory, disk, clock, tell)
    return PackageParts(ClientModule.of(scripts), Page.of(page), emulator)


def _files_of(directory: str) -> Mapping[str, bytes]:
    """Return the files of a directory by their names."""
    found = (files("aero_storage") / directory).iterdir()
    return {file.name: file.read_bytes() for file in found if file.is_file()}
