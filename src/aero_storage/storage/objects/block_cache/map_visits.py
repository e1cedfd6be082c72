"""Uses of blocks, noted in the block maps, where all workers see them. May wait for a disk."""

from __future__ import annotations

import attrs
from typing_extensions import override

from aero_storage.storage.objects.block_cache.cache_directory import CacheDirectory
from aero_storage.storage.objects.block_cache.file_pair import FilePair
from aero_storage.storage.objects.block_cache.journal import BlockKey
from aero_storage.storage.objects.block_cache.pair_files import find_pair
from aero_storage.storage.objects.block_cache.sieve import Visits


@attrs.frozen
class MapVisits(Visits[BlockKey]):
    """The visits of all blocks below a directory."""

    _directory: CacheDirectory

    @override
    def add(self, key: BlockKey) -> None:
        pair = pair_of(self._directory, key)
        if pair is not None:
            try:
                pair.map.visit(key.index)
            finally:
                pair.close()

    @override
    def take(self, key: BlockKey) -> bool:
        pair = pair_of(self._directory, key)
        if pair is None:
            return False
        try:
            return pair.map.take_visit(key.index)
        finally:
            pair.close()


def pair_of(directory: CacheDirectory, key: BlockKey) -> FilePair | None:
    """Open the files that have a block; None if they are not there, or damaged."""
    try:
        pair = find_pair(directory, key.name)
    except OSError:
        return None
    if pair is not None and key.index >= pair.layout.count:
        pair.close()
        return None
    return pair
