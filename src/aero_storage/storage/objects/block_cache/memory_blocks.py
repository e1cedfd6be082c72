"""Blocks that the disk does not take: they are kept in memory until they are sent, up to a bound."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

MEMORY_BYTES = 64 * 1024 * 1024
"""Bytes of blocks that are kept in memory, at most; at least one block is."""


@attrs.define(eq=False)
class MemoryBlocks:
    """The blocks that were used last; on the reactor's thread only."""

    _limit: int = MEMORY_BYTES
    _blocks: dict[tuple[Hashable, int], memoryview] = attrs.field(init=False, factory=dict)
    bytes: int = attrs.field(init=False, default=0)

    def put(self, file: Hashable, index: int, data: memoryview) -> None:
        """Keep a block; others that were not used for longest go."""
        self.drop(file, index)
        self._blocks[file, index] = data
        self.bytes += len(data)
        while self.bytes > self._limit and len(self._blocks) > 1:
            self.drop(*next(iter(self._blocks)))

    def get(self, file: Hashable, index: int) -> memoryview | None:
        """Return a block that is kept, and keep it longer."""
        if not self._blocks:
            return None
        data = self._blocks.pop((file, index), None)
        if data is not None:
            self._blocks[file, index] = data
        return data

    def drop(self, file: Hashable, index: int) -> None:
        """Keep a block no longer."""
        data = self._blocks.pop((file, index), None)
        if data is not None:
            self.bytes -= len(data)

    def drop_file(self, file: Hashable) -> None:
        """Keep no block of a file any longer."""
        for one, index in [key for key in self._blocks if key[0] is file]:
            self.drop(one, index)
