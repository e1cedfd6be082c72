"""Tabs of one profile that read the same image: one has the files of OPFS, the others ask it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.browser.driven import BLOCK, sha256
from tests.browser.served import HOLE

if TYPE_CHECKING:
    from tests.browser.driven import Driven


def kept_blocks(blocks: int) -> int:
    """How many of the first blocks are no zeros."""
    return blocks - max(0, min(blocks, HOLE[1] // BLOCK) - HOLE[0] // BLOCK)


def blocks_of(ranges: list[str]) -> list[int]:
    """The blocks that requests asked for."""
    parts = [[int(end) for end in text.removeprefix("bytes=").split("-")] for text in ranges]
    return list(itertools.chain.from_iterable(range(first // BLOCK, last // BLOCK + 1) for first, last in parts))


def test_opened_at_once(driven: Driven) -> None:
    """Disks that open an image at the same time, as tabs do when a session is restored, all have OPFS."""
    page = driven.page("at-once")
    page.ask("globalThis.disks = await Promise.all(Array.from({ length: 4 }, () => open('disk'))); 0")
    kinds = page.ask("disks.map(disk => disk.persistent)")
    assert kinds == ["opfs"] * 4
    assert page.ask("told") == []
    page.tab.close()


def test_each_block_once(driven: Driven) -> None:
    """Two tabs together fetch each block once, whichever has the files: each knows what the other has kept."""
    since = driven.requests()
    one, other = driven.page("once"), driven.page("once")
    one.ask("globalThis.disk = await open('disk'); await disk.read(0, 512); 0")
    one.until("await records() === 1")
    other.ask("globalThis.disk = await open('disk'); 0")
    for blocks in range(12, 161, 12):
        reader = (one, other)[blocks // 12 % 2]
        reader.ask("await disk.read(0, 512); 0")  # the answer of the owner comes behind all news of keys
        reader.ask(f"await disk.read(0, {blocks * BLOCK}); 0")
        reader.until(f"await records() === {kept_blocks(blocks)}")
    for tab in (one, other):
        assert tab.ask("await disk.read(0, 512); await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    asked = blocks_of(driven.ranges(since))
    assert len(asked) == len(set(asked)) == kept_blocks(160)
    for tab in (one, other):
        tab.tab.close()


def test_owner_is_closed(driven: Driven) -> None:
    """The tab with the files is closed while another one reads: that has them then, and fetches nothing again."""
    owner = driven.page("closed")
    owner.ask("globalThis.disk = await open('disk'); await hashOf(disk)")
    other = driven.page("closed")
    other.ask("globalThis.disk = await open('disk'); 0")
    since = driven.requests()
    other.start("reading", "hashOf(disk, 5000)")
    owner.tab.close()
    assert other.outcome("reading") == sha256(driven.served.image.read_bytes())
    assert other.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    assert driven.ranges(since) == []
    assert other.ask("told") == []
    other.tab.close()
