"""What is kept in Chromium while it goes wrong: no room, data that the user clears, a browser that is killed."""

from __future__ import annotations

import base64
import os
import signal
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import until
from tests.browser.driven import BLOCK, driving, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.driven import Driven, Page
    from tests.browser.served import Served

RECORD = struct.Struct("<32sIII")
LITTLE_ROOM = 2_500_000
"""Chromium gives each file a MiB more at a time: the data have one, the index has another."""
OPEN_BOTH = """
    globalThis.disk = await open('disk');
    globalThis.over = await aero.Overlay.open(disk, { persistent: 'opfs' });
    globalThis.page = number => new Uint8Array(4096).fill(number + 1);
    [disk.persistent, over.persistent]
"""


def limit_room(page: Page, size: int | None) -> None:
    limit = {} if size is None else {"quotaSize": size}
    page.command("Storage.overrideQuotaForOrigin", origin=page.ask("location.origin"), **limit)


def clear_data(page: Page) -> None:
    page.command("Storage.clearDataForOrigin", origin=page.ask("location.origin"), storageTypes="all")


def code_of(page: Page, promise: str) -> str:
    """The code of the error of a promise, or `kept`."""
    code: str = page.ask(f"await {promise}.then(() => 'kept', ({{ code }}) => code)")
    return code


def test_no_room_for_blocks(driven: Driven) -> None:
    """Without room reads go on and one event has `quota`; what is kept is read, and `forget` makes room again."""
    whole = sha256(driven.served.image.read_bytes())
    page = driven.page("full")
    limit_room(page, LITTLE_ROOM)
    page.ask("globalThis.disk = await open('disk'); 0")
    assert [page.ask("await hashOf(disk)") for _ in range(2)] == [whole, whole]
    assert page.ask("told") == ["quota"]
    assert page.ask("disk.stats.hits.disk") > 0
    page.ask("await disk.forget()")
    assert sum(size for path, size in page.ask("await files()") if "note-" not in path) == 0
    limit_room(page, None)
    before = page.ask("disk.stats.hits.disk")
    assert [page.ask("await hashOf(disk)") for _ in range(2)] == [whole, whole]
    assert page.ask("disk.stats.hits.disk") > before
    assert page.ask("told") == ["quota"]
    page.tab.close()


def test_no_room_for_writes(driven: Driven) -> None:
    """A write that cannot be kept is told of at once, and by `flush`; once there is room it is kept after all."""
    page = driven.page("written")
    page.ask("globalThis.disk = await open('disk', { persistent: false }); 0")
    page.ask("globalThis.over = await aero.Overlay.open(disk, { persistent: 'opfs' }); 0")
    limit_room(page, 1)
    page.ask("await over.write(0, new Uint8Array(1 << 20).fill(7)); 0")
    page.until("told.length > 0")
    assert page.ask("told") == ["quota"]
    assert code_of(page, "over.flush()") == code_of(page, "over.write(0, new Uint8Array(512).fill(9))") == "quota"
    assert page.ask("Array.from(await over.read(511, 2))") == [9, 7]
    limit_room(page, None)
    assert code_of(page, "over.close()") == "kept"
    page.ask("globalThis.over = await aero.Overlay.open(disk, { persistent: 'opfs' }); 0")
    assert page.ask("Array.from(await over.read(511, 2))") == [9, 7]
    page.tab.close()


@pytest.mark.parametrize("kind", ["opfs", "indexeddb"])
def test_data_cleared(driven: Driven, kind: str) -> None:
    """The user clears the browser's data in mid-session: reads go on, and blocks and writes are kept anew."""
    image = driven.served.image.read_bytes()
    page = driven.page(f"cleared-{kind}")
    if kind == "indexeddb":
        page.ask("Object.defineProperty(navigator, 'locks', { value: undefined }); 0")
    assert page.ask(OPEN_BOTH) == [kind, kind]
    page.ask("await over.write(0, page(0)); await over.flush(); await disk.read(0, 1 << 20); 0")
    clear_data(page)
    assert page.ask("await hashOf(disk)") == sha256(image)
    page.ask("await over.write(4096, page(1)); await over.flush(); await over.close(); await disk.close(); 0")
    page.ask(OPEN_BOTH)
    assert page.ask("Array.from(await over.read(4095, 2))") == [1, 2]
    assert page.ask("await whole(disk), await disk.close(), await hashOf(await open('disk'))") == sha256(image)
    assert page.ask("told") == []
    page.tab.close()


def test_data_cleared_at_the_end(driven: Driven) -> None:
    """A disk whose files were cleared closes like any other."""
    page = driven.page("cleared-end")
    page.ask("globalThis.disk = await open('disk'); await disk.read(0, 512); 0")
    page.until("await records() === 1")
    clear_data(page)
    page.ask("await disk.close()", 5)
    page.ask("globalThis.disk = await open('disk'); 0")
    assert page.ask("disk.persistent") == "opfs"
    page.tab.close()


def test_forgotten_by_another_tab(driven: Driven) -> None:
    """Another tab forgets the image: this one fetches what it reads, and keeps it again."""
    image = driven.served.image.read_bytes()
    page, other = driven.page("forgotten"), driven.page("forgotten")
    page.ask("globalThis.disk = await open('disk'); await whole(disk); 0")
    other.ask("globalThis.disk = await open('disk'); await disk.forget(); 0")
    since = driven.requests()
    assert page.ask("await hashOf(disk)") == sha256(image)
    until(lambda: driven.ranges(since))
    page.until("await records() > 0")
    assert other.ask("await hashOf(disk)") == sha256(image)
    assert page.ask("told") == other.ask("told") == []
    for tab in (page, other):
        tab.tab.close()


def kept_files(page: Page) -> dict[str, bytes]:
    """The files of the store of blocks."""
    found: dict[str, str] = page.ask("""
        const found = {};
        for (const [path] of await files()) {
          let at = await navigator.storage.getDirectory();
          const names = path.split('/');
          for (const name of names.slice(0, -1)) at = await at.getDirectoryHandle(name);
          const bytes = new Uint8Array(await (await (await at.getFileHandle(names.at(-1))).getFile()).arrayBuffer());
          found[path] = btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
        }
        found
    """)
    return {path: base64.b64decode(text) for path, text in found.items()}


def check_store(index: bytes, data: bytes, image: bytes) -> int:
    """Every whole record names the block's bytes; give the number of records."""
    whole = len(index) // (RECORD.size + 4)
    for number in range(whole):
        record = index[number * (RECORD.size + 4) :][: RECORD.size]
        assert zlib.crc32(record) == int.from_bytes(index[number * (RECORD.size + 4) + RECORD.size :][:4], "little")
        key, slot, length, checksum = RECORD.unpack(record)
        value, block = data[slot * BLOCK :][:length], int.from_bytes(key, "big")
        assert value == image[block * BLOCK :][:length]
        assert zlib.crc32(value) == checksum
    return whole


def test_killed(chromium: str, served: Served, tmp_path: Path) -> None:
    """A browser that is killed amid writes: index and data agree, and all that was flushed is there."""
    image = served.image.read_bytes()
    with driving(chromium, tmp_path, served) as driven:
        page = driven.page("killed")
        page.ask(OPEN_BOTH)
        page.start("reading", f"whole(disk, {BLOCK}).then(() => whole(disk, 512))")
        page.ask("""
            (async () => {
              for (let number = 0; number < 200; number += 1) {
                await over.write(number * 4096, page(number));
                await over.flush();
                console.log(`kept ${number}`);
              }
            })();
            0
        """)
        page.until("await records() > 30")
        os.killpg(driven.running.process.pid, signal.SIGKILL)
        driven.running.process.wait(10)
        origin = driven.origin
        kept = [int(line.removeprefix("kept ")) for line in page.tab.said if line.startswith("kept ")]
    port = int(origin.rpartition(":")[2])
    with driving(chromium, tmp_path, served, port) as driven:
        page = driven.page("killed")
        files = kept_files(page)
        place = max((path for path in files if path.endswith("/data")), key=lambda path: len(files[path]))
        folder = place.removesuffix("data")
        index = next(files[path] for path in files if path.startswith(f"{folder}index-"))
        assert check_store(index, files[place], image) > 10
        page.ask(OPEN_BOTH)
        assert page.ask("await hashOf(disk)") == sha256(image)
        assert page.ask("disk.stats.hits.disk") > 10
        firsts = page.ask(f"await Promise.all({kept}.map(async number => (await over.read(number * 4096, 1))[0]))")
        assert kept
        assert firsts == [number + 1 for number in kept]
