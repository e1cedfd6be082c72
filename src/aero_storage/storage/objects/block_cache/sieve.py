"""Which block is evicted next: SIEVE (NSDI 2024), a queue in order of arrival with a hand that goes round.

The hand goes from the oldest block to the newest. It passes over a block that was used since it last came by, and
takes one that was not. A used block stays where it is, so a scan, of which each block is used once, flows past the
blocks that sessions use again and again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import attrs

_K = TypeVar("_K", bound=Hashable)
_K_contra = TypeVar("_K_contra", bound=Hashable, contravariant=True)


class Visits(Protocol[_K_contra]):
    """Notes which blocks were used."""

    def add(self, key: _K_contra) -> None:
        """Note a use."""
        ...

    def take(self, key: _K_contra) -> bool:
        """Return whether the block was used since the last call, and forget it."""
        ...


class EvictionPolicy(Protocol[_K]):
    """Decides which block goes next; knows keys, not bytes. Each call takes O(1), over time."""

    def insert(self, key: _K) -> None:
        """A block is cached; one that is known already stays as it is."""
        ...

    def touch(self, key: _K) -> None:
        """A block was used."""
        ...

    def victim(self) -> _K | None:
        """Return the block that should go next; the next call names another. None if there is no block."""
        ...

    def remove(self, key: _K) -> None:
        """A block is cached no more; unknown ones are ignored."""
        ...


@attrs.define(eq=False)
class _Node(Generic[_K]):
    key: _K
    older: _Node[_K] | None = None
    newer: _Node[_K] | None = None


@attrs.define(eq=False)
class Sieve(EvictionPolicy[_K]):
    """SIEVE; `visits` may be shared by several processes."""

    _visits: Visits[_K]
    _nodes: dict[_K, _Node[_K]] = attrs.field(init=False, factory=dict)
    _oldest: _Node[_K] | None = attrs.field(init=False, default=None)
    _newest: _Node[_K] | None = attrs.field(init=False, default=None)
    _hand: _Node[_K] | None = attrs.field(init=False, default=None)
    """Where the search goes on; None: at the oldest."""

    def insert(self, key: _K) -> None:
        """Put a block at the newest end."""
        if key in self._nodes:
            return
        node = self._nodes[key] = _Node(key, older=self._newest)
        if self._newest is None:
            self._oldest = node
        else:
            self._newest.newer = node
        self._newest = node

    def touch(self, key: _K) -> None:
        """Note a use."""
        self._visits.add(key)

    def victim(self) -> _K | None:
        """Return the first block from the hand on that was not used; the hand stands behind it then."""
        node = self._hand or self._oldest
        left = len(self._nodes)
        while node is not None and left and self._visits.take(node.key):
            node, left = node.newer or self._oldest, left - 1
        if node is None:
            return None
        self._hand = node.newer
        return node.key

    def remove(self, key: _K) -> None:
        """Take a block out. The hand goes on from there: another process may have evicted it."""
        node = self._nodes.pop(key, None)
        if node is None:
            return
        self._hand = node.newer
        if node.older is None:
            self._oldest = node.newer
        else:
            node.older.newer = node.newer
        if node.newer is None:
            self._newest = node.older
        else:
            node.newer.older = node.older
