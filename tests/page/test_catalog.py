"""The catalog of the page in Chromium, from the daemon: what it shows, to whom, and what never happens."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.blackbox.harness import running, until
from tests.blackbox.image_roots import entry, put_catalog, write
from tests.blackbox.leased_root import lease
from tests.lease_tokens import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.harness import Daemon
    from tests.page.visit import Visit

MIB = 1 << 20
MANY = 10_000
OVERRIDE, BELL, ZALGO = "\u202e", "\u0007", "a" + "\u0301" * 60
HOSTILE = {
    "script": ("<script>globalThis.ran = 1</script>", '<img src=x onerror="globalThis.ran = 1">'),
    "attributes": ('"><svg onload="globalThis.ran = 1">', "' onmouseover='globalThis.ran = 1' x='"),
    "template": ("${globalThis.ran = 1}{{7*7}}", "</ul></main><h1>Not ours</h1>"),
    "turned": (f"{OVERRIDE}gnp.exe", f"left {OVERRIDE}thgir \u2067 unclosed"),
    "long": ("W" * 200, "no-break " + "x" * 4000),
    "stacked": (ZALGO * 20, ZALGO * 20),
    "arabic": ("نظام التشغيل", "وصف القرص abc 123"),
    "blank": ("\u200b\u3164", " "),
}
STATES = [(width, dark) for width in (320, 1280) for dark in (False, True)]
CARDS = "document.querySelectorAll('.image').length"
LISTED = f"{CARDS} > 0 && document.querySelector('.count').textContent"
CLEAN = "JSON.stringify([violations, failures, globalThis.ran ?? null])"
NOTHING = "[[],[],null]"
KNOWN = "(place => document.querySelectorAll('.image')[place].querySelectorAll('dd')[1].textContent !== '…')"


def fill_root(root: Path) -> None:
    """Write an image of 4 MiB with 1 MiB of data, images with hostile names, and a private one."""
    write(root / "disk.img", b"")
    with (root / "disk.img").open("r+b") as file:
        file.truncate(4 * MIB)
        file.write(b"d" * MIB)
    names = {
        image_id: entry(image_id, name=name, description=description)
        for image_id, (name, description) in HOSTILE.items()
    }
    first = entry("first", name="Windows 98", description="The second edition", virtual_chunks=True)
    put_catalog(root, {"images": [first, *names.values(), entry("secret", public=False, name="A secret")]})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    home = tmp_path_factory.mktemp("store")
    fill_root(home / "images")
    (home / "keys.json").write_bytes(KEYS)
    (home / "keys.json").chmod(0o600)
    with running(home, "--lease-keys-file", str(home / "keys.json")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with 10,000 images."""
    home = tmp_path_factory.mktemp("crowd")
    write(home / "images" / "disk.img", b"d" * 4096)
    images = [entry(f"image-{number:05}", name=f"Image {number}") for number in range(MANY)]
    put_catalog(home / "images", {"images": images})
    with running(home) as daemon:
        yield daemon


def opened(visit: Visit, daemon: Daemon, target: str = "/") -> None:
    """Open the page in a fresh state, and wait for the images."""
    base = f"http://127.0.0.1:{daemon.port}"
    visit.look()
    visit.open(f"{base}/version")
    visit.evaluate("sessionStorage.clear()")
    visit.open(base + target)
    visit.until(LISTED)


def texts(visit: Visit, selector: str) -> list[str]:
    found: list[str] = visit.evaluate(f"[...document.querySelectorAll({selector!r})].map(one => one.textContent)")
    return found


def facts(visit: Visit, place: int) -> dict[str, str]:
    card = f"document.querySelectorAll('.image')[{place}]"
    pairs: list[Any] = visit.evaluate(
        f"[...{card}.querySelectorAll('dl > div')].map(one => [...one.children].map(part => part.textContent))"
    )
    return dict(pairs)


def test_what_an_image_shows(visit: Visit, store: Daemon) -> None:
    """An image shows what the list says of it, and where its data is and whether it has chunks once that is known."""
    opened(visit, store)
    meta = json.loads(store.ask("/v1/images/first/meta").body)
    visit.until("document.querySelector('.image dl').textContent.includes('1 MiB')")
    found = facts(visit, 0)
    assert texts(visit, ".image h2")[0] == "Windows 98"
    assert texts(visit, ".image .description")[0] == "The second edition"
    assert found.pop("Version").rstrip("…") in meta["version"]
    assert found.pop("Last change") not in {"", "unknown"}
    assert found == {"Size": "4 MiB", "Its data": "1 MiB", "Chunks": "yes", "Access": "public"}
    assert visit.evaluate("document.querySelector('.image time').dateTime") == meta["last_modified"]
    visit.until("[...document.querySelectorAll('.image')][1].textContent.includes('Chunksno')")


@pytest.mark.parametrize(("width", "dark"), STATES)
def test_accessible(visit: Visit, store: Daemon, axe: str, width: int, *, dark: bool) -> None:
    """On each screen, in each scheme: axe finds nothing, nothing is cut off at the side, and nothing shifts."""
    visit.look(width=width, dark=dark)
    visit.open(f"http://127.0.0.1:{store.port}/")
    visit.until(LISTED)
    visit.until("document.querySelector('.image dl').textContent.includes('1 MiB')")
    assert visit.evaluate("shifted") < 0.01
    visit.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    visit.until("document.querySelector('.urls code')")
    assert visit.axe(axe) == []
    assert visit.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert visit.evaluate(CLEAN) == NOTHING


def test_hostile_texts(visit: Visit, store: Daemon) -> None:
    """Names and descriptions are text: no script runs, no markup appears, no direction turns, no card outgrows."""
    opened(visit, store)
    assert visit.evaluate("document.querySelectorAll('main img, main svg, main script, main h1').length") == 1
    shown = dict(zip(HOSTILE, texts(visit, ".image h2")[1:], strict=True))
    assert shown["script"] == HOSTILE["script"][0]
    assert shown["attributes"] == HOSTILE["attributes"][0]
    assert shown["turned"] == "\ufffdgnp.exe"
    assert shown["blank"] == "blank"
    assert OVERRIDE not in visit.evaluate("document.body.textContent")
    sizes = visit.evaluate(
        "[...document.querySelectorAll('.image')].map(one => [one.scrollWidth - one.clientWidth, one.clientHeight])"
    )
    assert [wide for wide, _ in sizes if wide > 0] == []
    assert max(high for _, high in sizes) < 400
    assert visit.evaluate(CLEAN) == NOTHING


def test_search(visit: Visit, store: Daemon) -> None:
    """Each letter narrows the list; the address of the page says what was searched for, and leads back to it."""
    opened(visit, store)
    visit.evaluate("document.querySelector('#search').focus()")
    visit.write("WINDOWS second")
    visit.until(f"{CARDS} === 1")
    assert visit.evaluate("location.hash") == "#/?q=WINDOWS+second"
    opened(visit, store, "/#/?q=WINDOWS+second")
    assert (texts(visit, ".image h2"), texts(visit, ".count")) == (["Windows 98"], ["1 image of 9"])
    visit.evaluate("document.querySelector('#search').select()")
    visit.write("no such thing")
    visit.until(f"{CARDS} === 0")
    assert texts(visit, ".count") == ["None of 9 images matches the search."]


def test_search_that_the_address_cannot_follow(visit: Visit, store: Daemon) -> None:
    """Browsers limit how often a page changes its address (Safari: 100 times in 30 seconds); the search goes on."""
    opened(visit, store)
    visit.evaluate("history.replaceState = () => { throw new DOMException('too often', 'SecurityError'); }; 0")
    visit.evaluate("document.querySelector('#search').focus()")
    visit.write("windows")
    visit.until(f"{CARDS} === 1")
    assert visit.evaluate(CLEAN) == NOTHING


def test_many_images(visit: Visit, crowd: Daemon) -> None:
    """Of 10,000 images fifty are in the document; search and pages answer within a moment, and no task is long."""
    opened(visit, crowd)
    visit.evaluate(
        "globalThis.longest = 0; new PerformanceObserver(list => { for (const { duration } of list.getEntries()) "
        "longest = Math.max(longest, duration); }).observe({ type: 'longtask', buffered: true })"
    )
    assert texts(visit, ".count") == ["1 to 50 of 10,000 images"]
    visit.evaluate("document.querySelector('#search').focus()")
    started = time.monotonic()
    visit.write("image-0999")
    visit.until(f"{CARDS} === 10")
    assert time.monotonic() - started < 2
    visit.evaluate("document.querySelector('#search').select()")
    visit.write("image")
    visit.until(f"{CARDS} === 50")
    visit.evaluate("[...document.querySelectorAll('.pages button')].at(-1).click()")
    visit.until("document.querySelector('.image h2').textContent === 'Image 50'")
    assert texts(visit, ".pages span") == ["Page 2 of 200"]
    assert visit.evaluate("document.querySelectorAll('*').length") < 3000
    assert visit.evaluate("longest") < 1000
    assert visit.evaluate(CLEAN) == NOTHING


def test_late_facts_of_what_is_seen(visit: Visit, crowd: Daemon) -> None:
    """Extents are asked for images that are in view, each once, and for no others."""
    since = crowd.log_size()
    opened(visit, crowd)
    visit.until(f"{KNOWN}(0) && {KNOWN}(1) && {KNOWN}(2)")

    def asked() -> list[str]:
        lines = [line for line in crowd.lines(since) if line.get("route") == "/v1/images/:image_id/extents"]
        return [line["image_id"] for line in lines if line.get("message") == "request complete"]

    until(lambda: "image-00000" in asked())
    assert "image-00049" not in asked()
    visit.evaluate("document.querySelectorAll('.image')[49].scrollIntoView()")
    visit.until(f"{KNOWN}(49)")
    assert len(asked()) == len(set(asked()))


def test_lease(visit: Visit, store: Daemon, axe: str) -> None:
    """A lease opens its image, in this tab alone; it is in no address of the page, and can be forgotten."""
    opened(visit, store)
    token = lease("secret")
    assert "A secret" not in texts(visit, ".image h2")
    visit.evaluate("document.querySelector('.leases').open = true; document.querySelector('#lease').focus()")
    visit.write("no lease")
    visit.press("Enter")
    visit.until("document.querySelector('#lease-error').textContent.includes('no lease')")
    visit.evaluate("document.querySelector('#lease').select()")
    visit.write(token)
    visit.press("Enter")
    visit.until("[...document.querySelectorAll('.image h2')].some(one => one.textContent === 'A secret')")
    visit.evaluate("document.querySelector('#lease').blur()")
    assert visit.axe(axe) == []
    assert token not in visit.evaluate("location.href + document.documentElement.outerHTML + document.cookie")
    assert visit.evaluate("JSON.stringify(localStorage)") == "{}"
    visit.tab.open(f"http://127.0.0.1:{store.port}/")
    visit.until(LISTED)
    assert "A secret" in texts(visit, ".image h2")
    visit.evaluate("document.querySelectorAll('.image')[9].scrollIntoView()")
    visit.until("document.querySelectorAll('.image')[9].textContent.includes('1 MiB')")
    assert facts(visit, 9)["Access"] == "private"
    assert [line for line in store.lines() if token in json.dumps(line)] == []
    visit.evaluate("document.querySelector('.held button').click()")
    visit.until("![...document.querySelectorAll('.image h2')].some(one => one.textContent === 'A secret')")
    assert visit.evaluate("sessionStorage['aero-leases']") == "{}"


def test_lease_of_a_public_image(visit: Visit, store: Daemon) -> None:
    """A lease of an image that is listed anyway is shown where it can be forgotten, and goes when it is."""
    opened(visit, store)
    visit.evaluate("document.querySelector('.leases').open = true; document.querySelector('#lease').focus()")
    visit.write(lease("first"))
    visit.press("Enter")
    visit.until("document.querySelector('.held code')?.textContent === 'first'")
    visit.evaluate("document.querySelector('.held button').click()")
    visit.until("!document.querySelector('.held button')")


def test_lease_while_the_list_loads(visit: Visit, store: Daemon) -> None:
    """A lease that is given while those that were given before are asked for opens its image too."""
    opened(visit, store)
    visit.evaluate(f"sessionStorage.setItem('aero-leases', JSON.stringify({{ gone: {lease('gone')!r} }}))")
    visit.tab.open(f"http://127.0.0.1:{store.port}/")
    visit.until(LISTED)
    visit.evaluate(
        "{ const real = fetch; globalThis.fetch = async (path, request) => {"
        " if (path.includes('/gone/')) await new Promise(done => { globalThis.release = done; });"
        " return real(path, request); }; } 0"
    )
    visit.evaluate("[...document.querySelectorAll('button')].find(one => one.textContent === 'Refresh').click()")
    visit.until("globalThis.release !== undefined")
    visit.evaluate("document.querySelector('#lease').focus()")
    visit.write(lease("secret"))
    visit.press("Enter")
    visit.evaluate("release()")
    visit.until(
        "(release(), [...document.querySelectorAll('.image h2')].some(one => one.innerText === 'A secret'))", 8
    )


def test_lease_that_is_not_good(visit: Visit, store: Daemon) -> None:
    """A lease that the server refuses is told beside its image, and the public images are shown all the same."""
    opened(visit, store)
    token = lease("secret", exp=int(time.time()) - 3600, iat=int(time.time()) - 7200)
    visit.evaluate(f"sessionStorage.setItem('aero-leases', JSON.stringify({{ secret: {token!r} }}))")
    visit.tab.open(f"http://127.0.0.1:{store.port}/")
    visit.until(LISTED)
    assert texts(visit, ".held .error") == ["The server does not accept this lease"]
    assert len(texts(visit, ".image h2")) == 9


def test_leased_image_that_fails(visit: Visit, store: Daemon) -> None:
    """An image of a lease that the server cannot tell of is named with its trouble; the others are there."""
    opened(visit, store)
    visit.evaluate(f"sessionStorage.setItem('aero-leases', JSON.stringify({{ secret: {lease('secret')!r} }}))")
    fails = (
        "globalThis.working = fetch; globalThis.fetch = async (path, request) =>"
        " String(path).includes('/secret/') ? new Response('', { status: 500 }) : working(path, request);"
    )
    made = visit.call("Page.addScriptToEvaluateOnNewDocument", source=fails)
    try:
        visit.tab.open(f"http://127.0.0.1:{store.port}/")
        visit.until(LISTED)
        assert texts(visit, ".held .error") == ["The server cannot answer"]
        assert visit.evaluate("document.querySelector('.leases').open")
        assert len(texts(visit, ".image h2")) == 9
        visit.evaluate("globalThis.fetch = working")
        visit.evaluate("dispatchEvent(new Event('online'))")
        visit.until("[...document.querySelectorAll('.image h2')].some(one => one.textContent === 'A secret')")
        assert texts(visit, ".held .error") == []
    finally:
        visit.call("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])


def test_data_that_is_looked_for(visit: Visit, store: Daemon) -> None:
    """A card whose data the server still looks for waits for it, and has it once the server does."""
    visit.open(f"http://127.0.0.1:{store.port}/version")
    busy = (
        "globalThis.busy = 2; globalThis.working = fetch; globalThis.fetch = async (path, request) =>"
        " String(path).includes('/first/extents') && busy-- > 0"
        " ? new Response('', { status: 503, headers: { 'Retry-After': '1' } }) : working(path, request);"
    )
    made = visit.call("Page.addScriptToEvaluateOnNewDocument", source=busy)
    try:
        visit.tab.open(f"http://127.0.0.1:{store.port}/")
        visit.until(LISTED)
        visit.until("busy === 1")
        assert facts(visit, 0)["Its data"] == "…"
        visit.until("document.querySelector('.image dl').textContent.includes('1 MiB')")
        assert visit.evaluate("busy") == -1
    finally:
        visit.call("Page.removeScriptToEvaluateOnNewDocument", identifier=made["identifier"])


def test_offline(visit: Visit, store: Daemon, axe: str) -> None:
    """Without a network the page says so and keeps the images; with it again the list comes back by itself."""
    opened(visit, store)
    visit.go_offline(is_offline=True)
    try:
        visit.evaluate("[...document.querySelectorAll('button')].find(one => one.textContent === 'Refresh').click()")
        visit.until("document.querySelector('[role=alert]')?.textContent.includes('cannot be reached')")
        assert len(texts(visit, ".image h2")) == 9
        assert visit.axe(axe) == []
    finally:
        visit.go_offline(is_offline=False)
    visit.until("!document.querySelector('[role=alert]')")


def test_busy(visit: Visit, store: Daemon) -> None:
    """A 503 is told, and asked anew after the seconds that it names."""
    opened(visit, store)
    busy = "new Response('', { status: 503, headers: { 'Retry-After': '1' } })"
    visit.evaluate(f"globalThis.real = fetch; globalThis.fetch = async () => {busy}")
    visit.evaluate("[...document.querySelectorAll('button')].find(one => one.textContent === 'Refresh').click()")
    visit.until("document.querySelector('[role=alert]')?.textContent.includes('busy')")
    visit.evaluate("globalThis.fetch = real")
    visit.until("!document.querySelector('[role=alert]')")


def test_broken_catalog(visit: Visit, tmp_path: Path) -> None:
    """A server that cannot answer is told of in words, and a button asks it again."""
    write(tmp_path / "images" / "manifest.json", b"{")
    with running(tmp_path) as daemon:
        visit.open(f"http://127.0.0.1:{daemon.port}/")
        visit.until("document.querySelector('[role=alert]')?.textContent.includes('status 500')")
        write(tmp_path / "images" / "disk.img", b"d" * 4096)
        put_catalog(tmp_path / "images", {"images": [entry("disk")]})
        daemon.hang_up()
        daemon.line(lambda line: line.get("message") == "catalog loaded" or "reload" in str(line.get("message")))
        visit.until("document.querySelector('[role=alert] button')?.click() ?? document.querySelector('.image')")


def test_empty(visit: Visit, tmp_path: Path) -> None:
    """A server without images says so, and how to bring one."""
    (tmp_path / "images").mkdir()
    with running(tmp_path) as daemon:
        visit.open(f"http://127.0.0.1:{daemon.port}/")
        visit.until("document.querySelector('.count')?.textContent.includes('no images')")
        assert "aero-storage import" in texts(visit, ".count")[0]
        assert visit.evaluate("document.querySelector('.leases').hidden")


def test_keyboard(visit: Visit, store: Daemon) -> None:
    """From the top, Tab leads past the skip link through all that can be used, each with a ring around it."""
    opened(visit, store)
    visit.evaluate("document.body.focus()")
    visit.press("Tab")
    assert visit.evaluate("document.activeElement.id") == "skip"
    assert visit.evaluate("document.activeElement.getBoundingClientRect().left") == 0
    visit.press("Enter")
    assert (visit.evaluate("document.activeElement.id"), visit.evaluate("location.hash")) == ("main", "")
    reached = []
    for _ in range(7):
        visit.press("Tab")
        reached.append(visit.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert visit.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached
    assert reached[:4] == ["search", "order", "Refresh", "Private images"]
    assert any("Copy URL" in text for text in reached[4:])  # behind the links to the views of the image
    assert visit.evaluate(CLEAN) == NOTHING


def test_copy(visit: Visit, store: Daemon) -> None:
    """A button copies the URL of an image, and says that it did."""
    opened(visit, store)
    visit.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    visit.evaluate("document.querySelector('.copy').focus()")
    visit.press("Enter")
    visit.until("document.querySelector('.copy').dataset.state === 'copied'")
    visit.until("document.querySelector('#announcements').textContent === 'Copied'")
    copied = visit.evaluate("navigator.clipboard.readText()")
    assert copied == f"http://127.0.0.1:{store.port}/v1/images/first"


def test_refresh(visit: Visit, store: Daemon) -> None:
    """A list that is still the same leaves the document, and so the place of the reader, as they are."""
    opened(visit, store)
    visit.evaluate("document.querySelector('.image .copy').focus()")
    since = store.log_size()
    visit.evaluate("dispatchEvent(new Event('online'))")
    store.line(lambda line: line.get("route") == "/v1/images" and line.get("status") == 304, since)
    visit.until("!document.querySelector('.images').hasAttribute('aria-busy')")
    assert visit.evaluate("document.activeElement.matches('.image .copy')")


def test_part_that_is_gone(visit: Visit, store: Daemon) -> None:
    """A view whose module cannot be loaded is told of, and the page can be loaded again."""
    visit.call("Network.enable")
    visit.call("Network.clearBrowserCache")
    visit.call("Network.setBlockedURLs", urls=["*-catalog-view.js"])
    visit.open(f"http://127.0.0.1:{store.port}/")
    visit.until("document.querySelector('[role=alert] h1')?.textContent.includes('has failed')")
    visit.call("Network.setBlockedURLs", urls=[])
    visit.evaluate("document.querySelector('[role=alert] button').click()")
    visit.until(LISTED)


def test_what_the_policy_allows(visit: Visit, store: Daemon) -> None:
    """Views may use the client, its worker and storage, WebAssembly and workers of their own, and nothing inline."""
    opened(visit, store)
    reads = """import("/client/aero-disk.js").then(async ({ AeroDisk }) => {
      const disk = await AeroDisk.open("/v1/images/first", { persistent: "opfs", profile: false });
      const [byte] = await disk.read(0, 512);
      await disk.close();
      return byte;
    })"""
    assert visit.evaluate(reads) == ord("d")
    works = "new Worker(URL.createObjectURL(new Blob(['postMessage(7)'])))"
    assert visit.evaluate(f"new Promise(done => {{ {works}.onmessage = event => done(event.data); }})") == 7
    header = "new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])"
    assert visit.evaluate(f"WebAssembly.instantiate({header}).then(({{ instance }}) => !!instance)")
    assert visit.evaluate(CLEAN) == NOTHING
    inline = "const made = document.createElement('script'); made.textContent = 'globalThis.ran = 1'; "
    visit.evaluate(f"{inline} document.body.append(made)")
    visit.until("violations.length === 1")
    assert visit.evaluate("globalThis.ran") is None


def test_unknown_address(visit: Visit, store: Daemon) -> None:
    """A hash that names no view says so, and leads back; the new heading has the focus."""
    opened(visit, store)
    visit.evaluate("location.hash = '#/nowhere'")
    visit.until("document.querySelector('h1').textContent.includes('nothing at this address')")
    assert visit.evaluate("document.activeElement.tagName") == "H1"
    visit.evaluate("document.querySelector('main a').click()")
    visit.until(LISTED)
    assert visit.evaluate("document.title") == "Disk images"


def test_weight(visit: Visit, store: Daemon) -> None:
    """All that the first view needs of the page has 60 kB at most; the next visit has all parts."""
    visit.call("Network.enable")
    visit.call("Network.clearBrowserCache")
    opened(visit, store)
    own = "performance.getEntriesByType('resource').filter(({ name }) => name.includes('/ui/'))"
    parts = visit.evaluate(f"{own}.map(({{ name, encodedBodySize }}) => [name, encodedBodySize])")
    document = visit.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
    assert len(parts) > 10
    assert 10_000 < document + sum(size for _, size in parts) <= 60_000
    since = store.log_size()
    opened(visit, store)
    assert [line["path"] for line in store.lines(since) if line.get("route") == "/ui/:part"] == []
    assert visit.evaluate("crossOriginIsolated")
