"""Files under the images root that no entry of the catalog needs, each with the command that removes it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath

import attrs

from aero_storage.atomic_files import Directory, is_at_work, is_locked
from aero_storage.catalog.model import CHUNKED, MANIFEST_NAME, Catalog, Image
from aero_storage.catalog.writer import LOCK, UNFINISHED
from aero_storage.chunks.manifest import CHUNKS_DIRECTORY
from aero_storage.chunks.publish.publisher import STAGING_NAME
from aero_storage.cli.image_files import IMPORTED
from aero_storage.cli.removals import MARK, Plan
from aero_storage.cli.repository import Leftover
from aero_storage.cli.terminal import printable
from aero_storage.cli.workplace import WORK, names_in
from aero_storage.errors import OperatorError
from aero_storage.http.identifiers import is_image_id, is_version

_INTERRUPTED = "an interrupted command has left it; the next import, publish or remove clears it away"
_OF_OTHERS = "commands of another user are at work, or have left it; nothing else can be told of what is left"
_UNNEEDED = "no image needs it"
_OTHER_VERSION = "the catalog names no such version; its URLs still lead to it"


def leftovers(root: Path, catalog: Catalog) -> list[Leftover]:
    """Return what no entry of the catalog needs; nothing of images that a command works on now."""
    with Directory.opened(root) as top:
        survey = _Survey(top, catalog)
        if survey.is_closed():  # a file that is not needed may be one that they work on
            return [survey.work_of_others()]
        return [*survey.work(), *survey.imported(), *survey.chunked()]


@attrs.frozen
class _Survey:
    root: Directory
    catalog: Catalog

    def is_closed(self) -> bool:
        return self.root.is_directory(WORK) and not os.access(WORK, os.R_OK | os.X_OK, dir_fd=self.root.descriptor)

    def work_of_others(self) -> Leftover:
        path = self.root.path / WORK
        return Leftover(WORK, _OF_OTHERS, f"look as its owner: ls -l {shlex.quote(printable(path, None))}")

    def work(self) -> Iterator[Leftover]:
        """Yield what killed commands have left of their work, of an import or a removal."""
        names = names_in(self.root, WORK)
        if not names and self.root.status(WORK) is not None:
            yield self._removed_by_hand(WORK, _INTERRUPTED)
        for name in names:
            if not self._is_busy(name.removesuffix(MARK)):
                yield self._removed_by_hand(f"{WORK}/{name}", _INTERRUPTED)
                yield from self._planned(name)

        if self.root.status(UNFINISHED) is not None and not is_locked(self.root, LOCK):
            yield self._removed_by_hand(UNFINISHED, _INTERRUPTED)

    def _planned(self, name: str) -> Iterator[Leftover]:
        """Yield the files outside the directories of ours that a killed command was going to remove."""
        with suppress(OSError, OperatorError), self.root.below(WORK) as place:
            plan = Plan.opened(self.root, place, place, name.removesuffix(MARK))
            paths = plan.unnamed(self.catalog) if name.endswith(MARK) else ()
            for path in paths:
                if PurePosixPath(path).parts[0] not in {IMPORTED, CHUNKED} and (self.root.path / path).exists():
                    yield self._removed_by_hand(path, _INTERRUPTED)

    def imported(self) -> Iterator[Leftover]:
        """Yield the files and directories among the imported ones that no entry names."""
        needed = set(_with_parents(self.root.path, self.catalog.images))
        for name in names_in(self.root, IMPORTED):
            if not self._is_busy(name):
                for path in self._unneeded(PurePosixPath(IMPORTED, name), needed):
                    yield self._removed_by_hand(path, _UNNEEDED)

    def _unneeded(self, path: PurePosixPath, needed: set[str]) -> Iterator[str]:
        if str(path) not in needed:
            yield str(path)
            return
        for name in names_in(self.root, *path.parts):
            yield from self._unneeded(path / name, needed)

    def chunked(self) -> Iterator[Leftover]:
        """Yield the chunks that no entry names, and unfinished ones. Without a catalog all are served."""
        for name in names_in(self.root, CHUNKED):
            if self._is_busy(name):
                continue
            image = self.catalog.find(name)
            if is_image_id(name) and (image is not None or self.catalog.listing):
                yield from self._versions(name, image)
            elif is_image_id(name) and self.root.is_directory(CHUNKED):
                yield Leftover(f"{CHUNKED}/{name}", _UNNEEDED, f"aero-storage remove {name}")
            else:
                yield self._removed_by_hand(f"{CHUNKED}/{name}", _UNNEEDED)

    def _versions(self, image_id: str, image: Image | None) -> Iterator[Leftover]:
        """Yield what the entry of an image, None without a catalog, does not need of the image's chunks."""
        names = names_in(self.root, CHUNKED, image_id)
        version = None if image is None else image.chunked_version
        needed = {MANIFEST_NAME, CHUNKS_DIRECTORY} if version is None else {version}
        for name in names:
            path = f"{CHUNKED}/{image_id}/{name}"
            if name == STAGING_NAME:
                yield self._removed_by_hand(path, _INTERRUPTED)
            elif name not in needed and (image is not None or not is_version(name)):
                yield self._removed_by_hand(path, _OTHER_VERSION if is_version(name) else _UNNEEDED)
        if not names:
            yield self._removed_by_hand(f"{CHUNKED}/{image_id}", _INTERRUPTED)

    def _is_busy(self, image_id: str) -> bool:
        return is_at_work(self.root, WORK, image_id)

    def _removed_by_hand(self, path: str, reason: str) -> Leftover:
        return Leftover(path, reason, f"rm -r {shlex.quote(printable(self.root.path / path, None))}")


def _with_parents(root: Path, images: Iterable[Image]) -> Iterator[str]:
    """Yield the path of each image's file, as the entry has it and with its links resolved, and of all above it."""
    top = os.path.realpath(root)
    for image in images:
        for path in (os.path.normpath(root / image.file), os.path.realpath(root / image.file)):
            for above in (str(root), top):
                if PurePath(path).is_relative_to(above):
                    relative = PurePosixPath(path).relative_to(above)
                    yield from (str(one) for one in (relative, *relative.parents))
