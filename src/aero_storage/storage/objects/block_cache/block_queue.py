"""The blocks of a cache directory in the order of their arrival, and what they take on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from aero_storage.storage.objects.block_cache.journal import BlockKey, Change, Entry
from aero_storage.storage.objects.block_cache.sieve import EvictionPolicy

_PAGE = 4096


@attrs.define(eq=False)
class BlockQueue:
    """The journal, replayed; all processes that have replayed the same have the same queue."""

    _make_policy: Callable[[], EvictionPolicy[BlockKey]]
    policy: EvictionPolicy[BlockKey] = attrs.field(init=False)
    blocks_bytes: int = attrs.field(init=False, default=0)
    """Bytes that the blocks take on disk, with the maps of their files."""
    other_bytes: int = attrs.field(init=False, default=0)
    """Allocated bytes that are of no block in the queue, when they were last measured."""
    is_stale: bool = attrs.field(init=False, default=False)
    """Whether the allocated bytes are to be measured again."""
    _lengths: dict[BlockKey, int] = attrs.field(init=False, factory=dict)
    _blocks_of: dict[bytes, int] = attrs.field(init=False, factory=dict)
    """Number of blocks in the queue of each file."""

    def __attrs_post_init__(self) -> None:
        self.policy = self._make_policy()

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def used(self) -> int:
        """Allocated bytes below the directory, as far as they are known."""
        return self.blocks_bytes + self.other_bytes

    @property
    def files(self) -> int:
        """Number of files with blocks."""
        return len(self._blocks_of)

    def length(self, key: BlockKey) -> int:
        """Return the length of a block, 0 if it is unknown."""
        return self._lengths.get(key, 0)

    def has_file(self, file: bytes) -> bool:
        """Return whether a file has a block in the queue."""
        return file in self._blocks_of

    def entries(self) -> Iterator[Entry]:
        """Yield the queue as a journal has it."""
        for key, length in self._lengths.items():
            yield Entry(Change.CAME, key, length)

    def clear(self) -> None:
        """Forget all blocks."""
        self.policy, self.blocks_bytes, self.is_stale = self._make_policy(), 0, True
        self._lengths.clear()
        self._blocks_of.clear()

    def measured(self, allocated: int) -> None:
        """Take note of how many bytes are allocated."""
        self.other_bytes, self.is_stale = allocated - self.blocks_bytes, False

    def note(self, entry: Entry) -> None:
        """Take note of a change; one that is known is ignored."""
        is_known = entry.key in self._lengths
        if entry.change is Change.WENT and is_known:
            self.is_stale = self.is_stale or entry.length < self._lengths[entry.key]
            self._remove(entry.key)
        elif entry.change is not Change.WENT and not is_known:
            self._add(entry)
        elif entry.change is Change.CAME:  # it was thrown away, and perhaps measured as missing
            self.is_stale = True

    def _add(self, entry: Entry) -> None:
        key, charge = entry.key, charged(entry.key, entry.length)
        self._lengths[key] = entry.length
        self._blocks_of[key.file] = self._blocks_of.get(key.file, 0) + 1
        self.blocks_bytes += charge
        if entry.change is Change.FOUND:
            self.other_bytes -= charge
        self.policy.insert(key)

    def _remove(self, key: BlockKey) -> None:
        self.blocks_bytes -= charged(key, self._lengths.pop(key))
        self.policy.remove(key)
        self._blocks_of[key.file] -= 1
        if not self._blocks_of[key.file]:
            del self._blocks_of[key.file]


def charged(key: BlockKey, length: int) -> int:
    """Return what a block takes on disk: whole pages, and with the first one of a file its map."""
    return -(-length // _PAGE) * _PAGE + (_PAGE if not key.index else 0)
