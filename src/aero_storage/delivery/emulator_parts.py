"""v86 and its firmware below `/ui/`, from the directory that `aero-storage page fetch` fills (http.md §17)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime

from aero_storage.delivery.facts import Facts
from aero_storage.delivery.page import ISOLATED
from aero_storage.delivery.part import Part
from aero_storage.delivery.policy import Policy
from aero_storage.delivery.reply import Reply
from aero_storage.delivery.single_flight import SingleFlight
from aero_storage.disk import Disk
from aero_storage.emulator.files import (
    NEEDED,
    EmulatorFiles,
    EmulatorFilesError,
    files_signature,
    read_emulator_files,
    signature,
)
from aero_storage.http import caching

DOCUMENT = "emulator.json"
"""The part that says where the others are; without parts, that there are none."""

_DIGEST_DIGITS = 16


@attrs.frozen
class _Loaded:
    """The content of the directory when its document was as `seen`."""

    seen: object
    document: Part
    parts: Mapping[str, Part]
    fault: str | None = None
    files: object = None
    """How the files were while they had a fault."""


def _loaded(seen: object, found: EmulatorFiles | None) -> _Loaded:
    if found is None:
        return _Loaded(seen, _document({}, ()), {})
    addresses = {
        name: f"{hashlib.sha256(body).hexdigest()[:_DIGEST_DIGITS]}-{name}" for name, body in found.files.items()
    }
    parts = {addresses[name]: Part.of(name, body) for name, body in found.files.items()}
    urls = {name: f"/ui/{address}" for name, address in addresses.items()}
    works = tuple(
        {**work.told(), "licence_file": urls[work.licence_file]} for work in found.works if work.licence_file in urls
    )
    return _Loaded(seen, _document({name: urls[name] for name in NEEDED}, works), parts)


def _document(urls: Mapping[str, str], works: tuple[Mapping[str, str], ...]) -> Part:
    return Part.of(DOCUMENT, json.dumps({"parts": dict(sorted(urls.items())), "works": works}).encode())


def load(directory: Path | None, last: _Loaded | None) -> _Loaded:
    """Return what a directory has, `last` if that is still so; waits for the disk. Faults are told, not raised."""
    seen: object = None
    files: object = None
    if directory is None:
        return _loaded(seen, None)
    try:
        seen = signature(directory)
        if last is not None and last.seen == seen and last.fault is None:
            return last
        files = None if seen is None else files_signature(directory)
        if last is not None and (last.seen, last.files) == (seen, files):
            return last
        return _loaded(seen, read_emulator_files(directory))
    except (EmulatorFilesError, OSError) as error:
        return attrs.evolve(_loaded(seen, None), fault=str(error), files=files)


@attrs.define(eq=False)
class EmulatorParts:
    """The parts that are there now: a directory that is filled while the daemon runs counts at once."""

    _directory: Path | None
    """None where no directory may have them."""
    _disk: Disk
    _clock: IReactorTime
    _tell: Callable[[str], object]
    """Told of what is wrong with the directory, once for each change."""
    _last: _Loaded | None = attrs.field(init=False, default=None)
    _looks: SingleFlight[_Loaded] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looks = SingleFlight(self._clock)

    async def answer(self, facts: Facts, policy: Policy) -> Reply | None:
        """Return the part that is asked for; None if there is none of that name. Raises DiskHangsError."""
        name = facts.names.part or ""
        found = await self._looks.ask(self, self._look)
        if name == DOCUMENT:
            return found.document.answer(facts, policy, caching.REVALIDATE, ISOLATED)
        part = found.parts.get(name)
        return None if part is None else part.answer(facts, policy, caching.PUBLIC_FOR_GOOD, ISOLATED)

    async def _look(self) -> _Loaded:
        last = self._last
        found = await self._disk.run(lambda: load(self._directory, last))
        if found.fault is not None and (last is None or last.fault != found.fault):
            self._tell(found.fault)
        self._last = found
        return found
