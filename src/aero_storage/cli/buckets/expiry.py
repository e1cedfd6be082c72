"""Removes what nothing has named for some time. A bucket has no locks, so that time is what protects others' work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from aero_storage.catalog.model import CHUNKED
from aero_storage.cli.buckets.pointer import CatalogPointer
from aero_storage.cli.buckets.unnamed import MARKS, Survey, Unit, is_complete, set_marks
from aero_storage.cli.image_files import IMPORTED
from aero_storage.cli.repository import Expired
from aero_storage.errors import BlobNotFoundError
from aero_storage.storage.objects.object_keys import MAPS
from aero_storage.storage.objects.origin import Origin


@attrs.frozen
class Expiry:
    """Sweeps: marks what nothing names, and removes what was marked for longer than `grace_ns`."""

    origin: Origin
    pointer: CatalogPointer
    now_ns: int
    """The time by the clock of the store."""
    grace_ns: int

    def sweep(self) -> Expired:
        """Sweep all of the bucket. Without a catalog everything is served, so nothing is removed."""
        catalog = self.pointer.current()
        if catalog is None:
            return Expired()
        survey, marks = Survey(self.origin, catalog), self._marks(MARKS)
        found = {unit.key: unit for unit in survey.units()}
        found |= {unit.key: unit for unit in self._condemned_files(survey, marks)}
        self._forget([Unit(key) for key in marks if key not in found])
        self._remove_stray_maps(survey)
        return self._carry_out(found.values(), marks)

    def _remove_stray_maps(self, survey: Survey) -> None:
        """Remove the maps of objects that other programs have removed."""
        for listed in self.origin.list(MAPS, delimiter=False):
            unit = Unit(listed.key.removeprefix(f"{MAPS}/"))
            if not survey.is_named(unit) and not self._exists(unit.key):
                self.origin.delete([listed.key])

    def _exists(self, key: str) -> bool:
        try:
            self.origin.head(key)
        except BlobNotFoundError:
            return False
        return True

    def sweep_image(self, image_id: str) -> Expired:
        """Sweep what interrupted commands have left of one image; published versions are kept."""
        catalog = self.pointer.current()
        if catalog is None:
            return Expired()
        units = Survey(self.origin, catalog).units_of(image_id)
        left = [unit for unit in units if not is_complete(self.origin, unit)]
        if not left:
            return Expired()
        marks = self._marks(f"{MARKS}/{IMPORTED}/{image_id}") | self._marks(f"{MARKS}/{CHUNKED}/{image_id}")
        return self._carry_out(left, marks)

    def _marks(self, directory: str) -> dict[str, int]:
        """Return the keys that are marked → since when."""
        listed = self.origin.list(directory, delimiter=False)
        return {one.key.removeprefix(f"{MARKS}/"): one.status.modified_ns for one in listed if one.status is not None}

    @staticmethod
    def _condemned_files(survey: Survey, marks: dict[str, int]) -> Iterator[Unit]:
        """Yield files that `remove --yes` has given up and no import made."""
        for key in marks:
            unit = Unit(key)
            if key.partition("/")[0] not in {IMPORTED, CHUNKED} and not survey.is_named(unit):
                yield unit

    def _carry_out(self, units: Iterable[Unit], marks: dict[str, int]) -> Expired:
        removed, freed, waiting = list[str](), 0, 0
        for unit in units:
            if unit.key not in marks:
                set_marks(self.origin, [unit])
            size = self._removed(unit) if self._is_over(marks.get(unit.key)) else None
            if size is None:
                waiting += 1
            else:
                removed.append(unit.key)
                freed += size
        return Expired(tuple(removed), freed, waiting)

    def _is_over(self, since_ns: int | None) -> bool:
        return bool(since_ns) and since_ns is not None and self.now_ns - since_ns >= self.grace_ns

    def _removed(self, unit: Unit) -> int | None:
        """Remove a unit, unless it is named by now, or somebody writes to it; return the bytes freed."""
        objects = [one.status for one in unit.listed(self.origin) if one.status is not None]
        if not all(self._is_over(status.modified_ns) for status in objects):
            return None
        catalog = self.pointer.current()
        if catalog is None or Survey(self.origin, catalog).is_named(unit):
            return None
        self.origin.delete(status.key for status in objects)
        self._forget([unit])
        return sum(status.size for status in objects)

    def _forget(self, units: Iterable[Unit]) -> None:
        self.origin.delete(unit.mark for unit in units)
