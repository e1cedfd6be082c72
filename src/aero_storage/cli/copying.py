"""Copies an image from one images root to another: its raw file, its published versions, and its catalog entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import attrs
from typing_extensions import Buffer

from aero_storage.catalog.draft import Draft, Entry
from aero_storage.catalog.model import Catalog, Image
from aero_storage.chunks.manifest import ChunkManifest
from aero_storage.chunks.manifest_parser import parse_chunk_manifest
from aero_storage.chunks.verify.source import ChunkSource
from aero_storage.cli.profile_subject import parsed_profile, subject_of
from aero_storage.cli.progress import Advance, progress
from aero_storage.cli.repository import Placed, Repository, Say, Work
from aero_storage.cli.stored_image import StoredImage
from aero_storage.cli.stored_profiles import ProfilePlace
from aero_storage.errors import ChunkFormatError, OperatorError

_OF_THE_PLACE = ("file", "sha256", "sha256_of")
"""Keys of an entry that are other ones in another images root."""

ChangeCatalog = Callable[[Repository, Callable[[Draft], "Switch"]], "Switch"]


@attrs.frozen
class Switch:
    """A changed catalog; `listed` are the images that a listing served before."""

    listed: tuple[str, ...]
    is_condemned: bool
    """Whether a file was replaced that is to be removed."""


@attrs.frozen
class Copied:
    """The work that was done for an image."""

    id: str
    file_copied: bool
    versions_copied: tuple[str, ...]
    bytes: int
    profiles_copied: tuple[str, ...] = ()


def entries_of(repository: Repository, catalog: Catalog) -> list[Entry]:
    """Return the entries of a catalog as JSON, with keys that we do not know; of a listing, new ones."""
    if catalog.listing:
        return Draft.of_listing([image.id for image in catalog.images]).entries
    return Draft.of_manifest(repository.documents.read_manifest()).entries


@attrs.frozen
class Copying:
    """Copies of images from one images root to another, by way of `change_catalog` of the target."""

    source: Repository
    target: Repository
    change_catalog: ChangeCatalog
    jobs: int
    say: Say
    catalog_of: Callable[[Repository], Catalog]

    def copy(self, image: Image, entry: Entry, present: Image | None) -> Copied:
        """Copy an image; `present` is that of the same id in the target. Nothing that is there is copied again.

        Raises OperatorError if it is not what its digests say.
        """
        versions = [*self._versions(image)]
        with self.target.at_work(image.id, self.say) as work:
            stored = self._stored(image, has_chunks=bool(versions))
            copied, size = list[str](), 0
            for manifest, source in versions:
                if self._adopt(work, manifest, source):
                    copied.append(manifest.version)
                    size += manifest.total_size
            is_there = stored is not None and self._is_there(image, stored, present)
            if stored is None or is_there:
                self._point(work, entry, None, present)
            else:
                size += stored.size
                self._receive(work, image, entry, stored)
            profiles = () if stored is None else self._copy_profiles(image, stored)
        return Copied(image.id, stored is not None and not is_there, tuple(copied), size, tuple(profiles))

    def _stored(self, image: Image, *, has_chunks: bool) -> StoredImage | None:
        try:
            return self.source.stored(image)
        except OperatorError:
            if has_chunks and not self.source.has_file(image.file):
                return None  # chunks need no raw file
            raise

    def _versions(self, image: Image) -> Iterator[tuple[ChunkManifest, ChunkSource]]:
        for version in self.source.chunk_versions(image.id) or ():
            source = self.source.chunk_source(attrs.evolve(image, chunked_version=version))
            if source is not None:
                yield self._manifest(source, image, version), source
        if self.source.chunk_source(attrs.evolve(image, chunked_version=None)) is not None:
            self.say(f"The chunks of {image.id} without a version are not copied: publish it there.")

    @staticmethod
    def _manifest(source: ChunkSource, image: Image, version: str) -> ChunkManifest:
        try:
            manifest = parse_chunk_manifest(source.manifest().data or b"")
        except ChunkFormatError as error:
            raise OperatorError(f"{source.name} is invalid: {error}") from error
        if (manifest.image_id, manifest.version) != (image.id, version):
            raise OperatorError(f"{source.name} is of {manifest.image_id}, version {manifest.version}")
        return manifest

    def _adopt(self, work: Work, manifest: ChunkManifest, source: ChunkSource) -> bool:
        with progress(f"Copying {manifest.version} of {manifest.image_id}", manifest.total_size) as advance:
            return work.adopt(manifest, source, jobs=self.jobs, advance=advance)

    def _copy_profiles(self, image: Image, stored: StoredImage) -> Iterator[str]:
        """Copy the profiles of the version that was copied, for the version that the same bytes have there."""
        version = image.version(stored.size, stored.etag, stored.stamps)
        places = [place for place in self.source.profiles.places(image.id) if place.version == version]
        present = self.catalog_of(self.target).find(image.id) if places else None
        if present is None:
            return
        there = subject_of(self.target, present).version
        for place in places:
            data = self.source.profiles.read(place) or b""
            try:
                profile = parsed_profile(data, f"{self.source.name}/{place.path}", stored.size)
            except OperatorError as error:
                self.say(f"Left out: {error}.")
                continue
            profile = attrs.evolve(profile, image_id=image.id, version=there, name=place.name)
            if self.target.profiles.read(ProfilePlace.of(profile)) != profile.to_json():
                self.target.profiles.write(profile)
                yield place.name

    def _is_there(self, image: Image, stored: StoredImage, present: Image | None) -> bool:
        """Return whether the image in the target has the digest of that in the source."""
        if present is None or present.sha256 is None:
            return False
        try:
            found = self.target.stored(present)
        except OperatorError:
            return False
        known = image.known_sha256(stored.stamps)
        if found.size != stored.size or present.known_sha256(found.stamps) is None:
            return False
        if known is None:
            known = stored.sha256(partial(progress, f"Comparing {image.id}"))[1]
        return known == present.sha256

    def _receive(self, work: Work, image: Image, entry: Entry, stored: StoredImage) -> None:
        with progress(f"Copying {image.id}", stored.size) as advance:
            contents = _told(stored.contents(), advance)
            with work.received(contents, stored.size, image.known_sha256(stored.stamps)) as placed:
                switch = self._point(work, entry, placed, None)
        if switch.is_condemned:
            work.settle()
        work.carry_out()

    def _point(self, work: Work, entry: Entry, placed: Placed | None, present: Image | None) -> Switch:
        """Put the entry into the catalog of the target, with a new file, or that which is there."""
        switch = self.change_catalog(self.target, partial(self._switch, work, entry, placed, present))
        if switch.listed:
            self.say(f"Made manifest.json; it lists what the listing was serving: {', '.join(switch.listed)}.")
        return switch

    def _switch(self, work: Work, entry: Entry, placed: Placed | None, present: Image | None, draft: Draft) -> Switch:
        before = draft.find(str(entry["id"]))
        draft.put(_moved(entry, placed, before if present is not None else None))
        replaced = None if before is None else str(before["file"])
        if replaced is None or self.target.is_named(replaced, draft.entries):
            return Switch(draft.listed, is_condemned=False)
        return Switch(draft.listed, work.condemn(replaced))


def _moved(entry: Entry, placed: Placed | None, present: Entry | None) -> Entry:
    """Return the entry of an image as it is in the target; `present` is that of a file which is there already."""
    kept = {key: value for key, value in entry.items() if key not in _OF_THE_PLACE}
    if placed is not None:
        digest = {} if placed.digest is None else placed.digest.keys()
        return kept | {"file": placed.file} | digest
    if present is not None:
        return kept | {key: present[key] for key in _OF_THE_PLACE if key in present}
    return entry


def _told(contents: Iterator[Buffer], advance: Advance) -> Iterator[Buffer]:
    for piece in contents:
        yield piece
        advance(memoryview(piece).nbytes)
