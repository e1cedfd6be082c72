"""The view of an image in Chromium, from the daemon: what it finds, shows and checks, and what never happens."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.leased_root import lease
from tests.browser.served import operate
from tests.page.looked_at import (
    CHUNK_SIZE,
    DAMAGED_CHUNK,
    FAR_AT,
    HUGE,
    LABEL,
    MARKUP,
    MIB,
    NEEDLE,
    NEEDLE_AT,
    SIZE,
    fill_root,
    write_sparse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.page.visit import Visit

STATES = [*(("disk", width, dark) for width in (320, 1280) for dark in (False, True)), ("hostile", 320, False)]
SHOWN = "document.querySelector('.bytes table, .problem')"
CLEAN = "JSON.stringify([violations, failures, globalThis.ran ?? null])"
KEYS = {"PageUp": 33, "PageDown": 34, "End": 35, "Home": 36, "ArrowUp": 38, "ArrowDown": 40}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("store")
    fill_root(home)
    with running(home, "--lease-keys-file", str(home / "keys.json")) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def clean(visit: Visit) -> Iterator[None]:
    """Nothing breaks the policy of the page, nothing fails unseen, and nothing of a disk runs."""
    visit.look()
    yield
    assert visit.evaluate(CLEAN) == "[[],[],null]"


def opened(visit: Visit, store: Daemon, image_id: str) -> None:
    visit.open(f"http://127.0.0.1:{store.port}/#/image/{image_id}")
    visit.until(SHOWN)


def texts(visit: Visit, selector: str) -> list[str]:
    found = visit.evaluate(
        f"JSON.stringify([...document.querySelectorAll({selector!r})].map(one => one.textContent))"
    )
    return [str(text) for text in json.loads(found)]


def fill_in(visit: Visit, selector: str, value: str) -> None:
    """Give a field or a choice a value, as a user does."""
    visit.evaluate(
        f"(field => {{ field.value = {value!r}; field.dispatchEvent(new Event('change')); }})"
        f"(document.querySelector({selector!r}))"
    )


def click(visit: Visit, text: str, within: str = "main") -> None:
    visit.evaluate(
        f"[...document.querySelectorAll('{within} button')].find(one => one.textContent === {text!r}).click()"
    )


def go_to(visit: Visit, place: str) -> None:
    fill_in(visit, "#go-to", place)
    click(visit, "Go", ".hex")


def first_offset(visit: Visit) -> str:
    return str(visit.evaluate("document.querySelector('.bytes th[scope=row]')?.textContent ?? ''"))


def until_at(visit: Visit, offset: int) -> None:
    """Wait until the bytes that are shown begin at an offset."""
    script = "document.querySelector('.bytes[aria-busy=false] th[scope=row]')?.textContent"
    visit.until(f"parseInt({script}, 16) === {offset}")


def press(visit: Visit, key: str) -> None:
    common = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
    visit.call("Input.dispatchKeyEvent", type="rawKeyDown", **common)
    visit.call("Input.dispatchKeyEvent", type="keyUp", **common)


def outcome(visit: Visit, panel: str) -> str:
    """Return what came of a task, once there is something."""
    return str(visit.until(f"document.querySelector('.{panel} .outcome p')?.textContent"))


def facts(visit: Visit, card: int) -> dict[str, str]:
    script = (
        f"[...document.querySelectorAll('.card')[{card}].querySelectorAll('dl div')].map(one => [...one.children]"
    )
    pairs = json.loads(visit.evaluate(f"JSON.stringify({script}.map(part => part.textContent)))"))
    return dict(pairs)


def test_partitions(visit: Visit, store: Daemon) -> None:
    """Each partition is shown with its place, size and file system; its label is text, whatever is in it."""
    opened(visit, store, "disk")
    assert texts(visit, ".card h3") == ["1: Linux", "2: FAT32, LBA"]
    assert facts(visit, 0) == {
        "Begins at": "LBA 2048",
        "Size": "2 MiB",
        "Bootable": "yes",
        "Holds": "ext2",
        "Label": LABEL,
        "UUID": "00000000-0000-0000-0000-000000000000",
        "Details": "0 blocks of 1024 bytes",
    }
    assert facts(visit, 1) == {"Begins at": "LBA 8192", "Size": "1 MiB", "Holds": "nothing that is known"}
    assert texts(visit, ".partitions .remarks li") == []


def test_boot_sector(visit: Visit, store: Daemon) -> None:
    """The boot sector is described, with the texts in it."""
    opened(visit, store, "disk")
    (shown,) = texts(visit, ".boot-sector .facts")
    assert "55 AA" in shown
    assert "MSDOS5.0" in shown
    assert "a standard master boot record" in shown
    assert texts(visit, ".boot-sector .texts li") == ["MSDOS5.0", "Missing operating system"]


@pytest.mark.parametrize(
    ("place", "offset"),
    [("4096", 4096), ("0x200000", 2 * MIB), ("lba:2048", MIB), ("7 MiB", 7 * MIB), (str(SIZE - 1), SIZE - 512)],
)
def test_go_to(visit: Visit, store: Daemon, place: str, offset: int) -> None:
    """A place is reached by its byte or its sector, in decimal and hexadecimal digits."""
    opened(visit, store, "disk")
    go_to(visit, place)
    until_at(visit, offset)


def test_places_that_are_none(visit: Visit, store: Daemon) -> None:
    """A place that is not on the disk is refused in words, and the bytes stay where they are."""
    opened(visit, store, "disk")
    for place in (str(SIZE), "lba:99999999", "x", "-1"):
        go_to(visit, place)
        assert visit.evaluate("document.querySelector('#go-to-error').checkVisibility()")
        assert visit.evaluate("document.querySelector('#go-to').getAttribute('aria-invalid')") == "true"
        assert first_offset(visit) == "00000000"


def test_bytes(visit: Visit, store: Daemon) -> None:
    """The bytes are those of the image, as digits and as text; markup in them is text."""
    opened(visit, store, "disk")
    go_to(visit, str(2 * MIB))
    until_at(visit, 2 * MIB)
    assert texts(visit, ".bytes .digits")[0] == MARKUP[:16].hex(" ")
    assert "".join(texts(visit, ".bytes .signs"))[: len(MARKUP)] == MARKUP.decode()
    fill_in(visit, "#bytes-form", "utf-8")
    visit.until("document.querySelector('.bytes pre')")
    assert texts(visit, ".bytes pre")[0].startswith(MARKUP.decode())


def test_keys(visit: Visit, store: Daemon) -> None:
    """The bytes are turned by the keyboard alone, page by page, row by row, and to both ends."""
    opened(visit, store, "disk")
    visit.evaluate("document.querySelector('.bytes').focus()")
    for key, offset in (
        ("PageDown", 512),
        ("PageDown", 1024),
        ("ArrowDown", 1040),
        ("ArrowUp", 1024),
        ("PageUp", 512),
        ("End", SIZE - 512),
        ("PageDown", SIZE - 512),
        ("Home", 0),
        ("PageUp", 0),
    ):
        press(visit, key)
        until_at(visit, offset)
    assert visit.evaluate("document.activeElement.id") == "bytes"


def search(visit: Visit, pattern: str, *, kind: str = "text", start: str = "0", length: int = 64 * MIB) -> str:
    for selector, value in (
        ("#pattern", pattern),
        ("#pattern-kind", kind),
        ("#search-from", start),
        ("#search-length", str(length)),
    ):
        fill_in(visit, selector, value)
    visit.evaluate("document.querySelector('.search .outcome').replaceChildren()")
    click(visit, "Search", ".search")
    return outcome(visit, "search")


@pytest.mark.parametrize(("kind", "pattern"), [("text", NEEDLE.decode()), ("hex", NEEDLE.hex(" "))])
def test_search(visit: Visit, store: Daemon, kind: str, pattern: str) -> None:
    """Text and digits are found across the border of two blocks, shown and marked; there is no second one."""
    opened(visit, store, "disk")
    assert str(NEEDLE_AT) in search(visit, pattern, kind=kind)
    until_at(visit, NEEDLE_AT // 16 * 16)
    assert "".join(texts(visit, ".bytes .digits mark")).replace(" ", "") == NEEDLE.hex()
    visit.evaluate("document.querySelector('.search .outcome p').remove()")
    click(visit, "Find next", ".search")
    assert outcome(visit, "search") == f"Not found in bytes {NEEDLE_AT + 1} to {SIZE - 1}."


def test_search_is_bounded(visit: Visit, store: Daemon) -> None:
    """A search ends where it was told to, and goes on from there when that is asked for."""
    opened(visit, store, "disk")
    assert search(visit, NEEDLE.decode(), length=MIB) == f"Not found in bytes 0 to {MIB - 1}."
    fill_in(visit, "#search-length", str(16 * MIB))
    visit.evaluate("document.querySelector('.search .outcome p').remove()")
    click(visit, "Search on from there", ".search")
    assert str(NEEDLE_AT) in outcome(visit, "search")


def test_search_is_cancelled(visit: Visit, store: Daemon) -> None:
    """A search is given up at once, and another one can begin."""
    opened(visit, store, "huge")
    fill_in(visit, "#pattern", "not there")
    fill_in(visit, "#search-length", str(1024 * MIB))
    visit.evaluate(
        "(([search, cancel]) => { search.click(); cancel.click(); })(document.querySelectorAll('.search button'))"
    )
    assert outcome(visit, "search") == "Cancelled."
    assert search(visit, "") == "Write what to search for; at most 1,024 bytes."


def test_search_of_a_view_that_was_left(visit: Visit, store: Daemon) -> None:
    """A search that ends because its view is left says nothing in the next one."""
    opened(visit, store, "huge")
    fill_in(visit, "#pattern", "not there")
    visit.evaluate(
        "globalThis.heard = []; new MutationObserver(() => heard.push(document.querySelector('#announcements')"
        ".textContent)).observe(document.querySelector('#announcements'), { childList: true })"
    )
    click(visit, "Search", ".search")
    visit.evaluate("location.hash = '#/'")
    visit.until("heard.some(text => text.includes('images'))")
    assert [text for text in visit.evaluate("heard") if "ancel" in text or "fail" in text] == []


def test_image_that_is_not_there(visit: Visit, store: Daemon, axe: str) -> None:
    """A view of an image that cannot be had says so in a heading of the first rank, and leads back."""
    for view in ("image", "boot"):
        visit.open(f"http://127.0.0.1:{store.port}/#/{view}/nothing")
        visit.until("document.querySelector('.problem')")
        assert texts(visit, "h1") == ["This image is private"]  # the server tells nobody which ones there are
        assert visit.axe(axe) == []
        visit.evaluate("document.querySelector('main a').click()")
        visit.until("document.querySelector('.image')")


def test_map_that_is_looked_for(visit: Visit, store: Daemon) -> None:
    """While the server looks for the data of an image the view is there; the map has it once the server does."""
    visit.open(f"http://127.0.0.1:{store.port}/version")
    busy = (
        "globalThis.busy = 2; globalThis.working = fetch; globalThis.fetch = async (path, request) =>"
        " String(path).includes('/extents?unit') && busy-- > 0"
        " ? new Response('', { status: 503, headers: { 'Retry-After': '1' } }) : working(path, request);"
    )
    made = visit.call("Page.addScriptToEvaluateOnNewDocument", source=busy)
    try:
        visit.tab.open(f"http://127.0.0.1:{store.port}/#/image/disk")
        visit.until(SHOWN)
        visit.until("document.querySelectorAll('.legend li')[1].textContent.includes('looking for it')")
        visit.until("document.querySelectorAll('.legend li')[1].textContent.startsWith('Data: 1 MiB')")
    finally:
        visit.call("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])


def test_kept_bytes_are_forgotten(visit: Visit, store: Daemon) -> None:
    """The view says that what was looked at stays in the browser, and drops it when that is asked for."""
    opened(visit, store, "disk")
    visit.until("!document.querySelectorAll('.legend li')[3].textContent.includes('0 bytes')")
    assert texts(visit, ".kept p") == ["The bytes that you look at stay in this browser, for a later boot."]
    click(visit, "Forget them", ".kept")
    visit.until("document.querySelectorAll('.legend li')[3].textContent === 'In this browser: 0 bytes, 0 %'")


def test_search_keeps_the_focus(visit: Visit, store: Daemon) -> None:
    """A button that goes with what was found before leaves the focus at the search."""
    opened(visit, store, "disk")
    search(visit, "no such text", length=MIB)
    on = "[...document.querySelectorAll('.search button')].find(one => one.textContent === 'Search on from there')"
    visit.evaluate(f"globalThis.first = {on}; first.focus(); first.click()")
    visit.until(f"{on} && {on} !== first")
    assert visit.evaluate("document.activeElement.textContent") == "Search"


def check(visit: Visit, what: str) -> str:
    fill_in(visit, "#check-what", what)
    click(visit, "Check", ".digests")
    return outcome(visit, "digests")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("all", "All 8 MiB are right: the SHA-256 is that of the image."),
        ("chunks", f"{SIZE // CHUNK_SIZE} chunks checked, all of them right."),
        ("sample", "32 chunks checked, all of them right."),
    ],
)
def test_digests(visit: Visit, store: Daemon, what: str, said: str) -> None:
    """All of an image, its chunks and a sample of them are found right."""
    opened(visit, store, "disk")
    assert check(visit, what) == said


def test_damaged_chunk(visit: Visit, store: Daemon) -> None:
    """A chunk that is not what its digest says is named."""
    opened(visit, store, "damaged")
    assert check(visit, "chunks") == f"1 of {SIZE // CHUNK_SIZE} chunks are damaged: {DAMAGED_CHUNK}."


def test_no_digests(visit: Visit, store: Daemon) -> None:
    """An image without digests says so."""
    opened(visit, store, "huge")
    assert "no chunks with digests" in check(visit, "sample")
    assert visit.evaluate("[...document.querySelector('#check-what').options].map(({value}) => value).join()") == (
        "sample,chunks"
    )


def test_map(visit: Visit, store: Daemon) -> None:
    """The map tells in words what it draws: partitions, data, the boot profile, and what this browser has."""
    opened(visit, store, "damaged")  # no other test keeps blocks of it
    visit.until("!document.querySelector('.legend').textContent.includes('…')")
    partitions, data, profile, here = texts(visit, ".legend li")
    assert partitions == "Partitions: 3 MiB, 37.5 %"
    assert data.startswith("Data: 1 MiB, 1")
    assert profile == "Boot profile: none"
    go_to(visit, "lba:9216")
    until_at(visit, 9216 * 512)
    visit.until(f"document.querySelectorAll('.legend li')[3].textContent !== {here!r}")
    label = visit.evaluate("document.querySelector('.map').getAttribute('aria-label')")
    assert data in label
    visit.evaluate("document.querySelector('.disk-map details').open = true")
    visit.until("document.querySelectorAll('.disk-map tbody tr').length === 16")


def test_boot_profile(visit: Visit, store: Daemon) -> None:
    """The map has the boot profile of an image that has one."""
    opened(visit, store, "disk")
    visit.until("document.querySelectorAll('.legend li')[2].textContent === 'Boot profile: 192 KiB, 2.3 %'")


def test_map_leads_to_bytes(visit: Visit, store: Daemon) -> None:
    """A click on the map shows the bytes of that place."""
    opened(visit, store, "disk")
    visit.evaluate(
        "(map => map.dispatchEvent(new MouseEvent('click', "
        "{ clientX: map.getBoundingClientRect().left + map.clientWidth / 2 })))(document.querySelector('.map'))"
    )
    visit.until(f"parseInt(document.querySelector('.bytes th[scope=row]').textContent, 16) >= {SIZE // 2 - 16384}")


def test_measured(visit: Visit, store: Daemon) -> None:
    """A measurement tells throughput and latency of ranges and of chunks, and the plots show them."""
    opened(visit, store, "disk")
    click(visit, "Measure", ".traffic")
    said = outcome(visit, "traffic")
    assert said.startswith("Ranges: ")
    assert "Chunks: " in said
    visit.until("document.querySelector('.plot').getAttribute('aria-label').includes('B/s at most; chunks: ')")
    label = visit.evaluate("document.querySelectorAll('.plot')[1].getAttribute('aria-label')")
    assert "nothing" not in label
    assert "ms at most" in label


def snippets(visit: Visit) -> dict[str, str]:
    pairs = "[...document.querySelectorAll('.snippet')].map(one => [one.querySelector('h3').textContent, "
    script = f"JSON.stringify({pairs}one.querySelector('pre').textContent]))"
    found: dict[str, Any] = dict(json.loads(visit.evaluate(script)))
    return found


def test_examples(visit: Visit, store: Daemon) -> None:
    """The examples have the address of the image on this server; none of a public image speaks of leases."""
    opened(visit, store, "disk")
    found = snippets(visit)
    assert list(found) == ["curl", "fetch", "AeroDisk", "v86", "qemu", "nginx"]
    for name, text in found.items():
        assert f"http://127.0.0.1:{store.port}" in text, name
        assert "/v1/images/disk" in text, name
        assert "lease" not in text.lower(), name
    assert visit.evaluate("document.querySelector('#with-lease')") is None


def test_lease_in_examples(visit: Visit, store: Daemon) -> None:
    """A lease opens a private image, and is in no example before its box is ticked."""
    token = lease("secret")
    visit.open(f"http://127.0.0.1:{store.port}/#/")
    visit.until("document.querySelector('h1')")
    visit.evaluate(f"sessionStorage.setItem('aero-leases', JSON.stringify({{ secret: {token!r} }}))")
    visit.evaluate("location.hash = '#/image/secret'; location.reload()")
    visit.until("document.querySelector('.bytes table')")
    assert token not in visit.evaluate("document.documentElement.outerHTML")
    assert "YOUR-LEASE" in snippets(visit)["curl"]
    assert "also when its lease has ended" in texts(visit, ".kept p")[0]
    visit.evaluate("document.querySelector('#with-lease').click()")
    assert all(token in text for name, text in snippets(visit).items() if name != "nginx")
    assert check(visit, "all").startswith("All 8 MiB are right")
    visit.evaluate("sessionStorage.clear()")


def test_two_tebibytes(visit: Visit, store: Daemon) -> None:
    """An image of 2 TiB is looked at within seconds, up to its last byte, beyond LBA 2^32 - 1 and byte 2^32."""
    opened(visit, store, "huge")
    assert facts(visit, 0)["Label"] == "huge"
    for place, offset in (("lba:4294967295", HUGE - 512), ("0x1_0000_0000", 1 << 32), (str(FAR_AT), FAR_AT)):
        go_to(visit, place)
        until_at(visit, offset)
    assert "far away" in "".join(texts(visit, ".bytes .signs"))
    assert first_offset(visit) == f"{FAR_AT:012x}"
    assert str(FAR_AT) in search(visit, "far away", start=f"lba:{FAR_AT // 512 - 4096}", length=16 * MIB)
    visit.until("document.querySelectorAll('.legend li')[1].textContent.includes('under 0.1 %')")


def test_hostile_sectors(visit: Visit, store: Daemon) -> None:
    """A disk full of markup and marks is shown as text: no element comes of it, and nothing of it runs."""
    opened(visit, store, "hostile")
    assert facts(visit, 0)["Name"] == "<svg onload=ran=1>"
    assert facts(visit, 0)["Label"] == "\ufffd<b>&amp;"
    assert visit.evaluate("document.querySelectorAll('main img, main svg, main script, main b').length") == 0
    for form in ("utf-8", "windows-1252", "utf-16le"):
        fill_in(visit, "#bytes-form", form)
        visit.until("document.querySelector('.bytes[aria-busy=false] pre')")
        assert (
            visit.evaluate("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.querySelector('.bytes').textContent)")
            is False
        )
        assert visit.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_replaced_image(visit: Visit, store: Daemon, tmp_path: Path) -> None:
    """A view of an image that was replaced says so, and the new one is shown when it is loaded again."""
    opened(visit, store, "moving")
    other = write_sparse(tmp_path / "other.raw", SIZE, {0: b"another one"})
    operate(store.root, "import", other, "--id", "moving", "--format", "raw")
    new = f"sha256-{hashlib.sha256(other.read_bytes()).hexdigest()}"
    until(lambda: json.loads(store.ask("/v1/images/moving/meta").body)["version"] == new)
    assert check(visit, "all") == "It failed: the image was replaced; load this page again"
    go_to(visit, "lba:9216")
    visit.until("document.querySelector('.problem')")
    assert "replaced" in texts(visit, ".problem h2")[0]
    click(visit, "Load it again", ".problem")
    visit.until("document.querySelector('.bytes .signs')?.textContent.startsWith('another one')")


@pytest.mark.parametrize(("image_id", "width", "dark"), STATES)
def test_accessible(visit: Visit, store: Daemon, axe: str, image_id: str, width: int, *, dark: bool) -> None:
    """On each screen, in each scheme: axe finds nothing, nothing is cut off at the side, and nothing shifts."""
    visit.look(width=width, dark=dark)
    opened(visit, store, image_id)
    visit.until("!document.querySelector('.legend').textContent.includes('…')")
    assert visit.evaluate("shifted") < 0.01
    assert visit.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    visit.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    search(visit, NEEDLE.decode())
    assert visit.axe(axe) == []
