"""A PC in Chromium, on the daemon's own page: one Linux boots by a click, and then everything else is tried."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import field, frozen
from tests.blackbox.harness import running
from tests.boot.pc import BOOT_SECONDS, Guest
from tests.page.boot_media import disc, floppy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

    from tests.blackbox.harness import Daemon
    from tests.page.visit import Visit

BOOT = "#/boot/linux"
STATES = [(width, dark) for width in (320, 1280) for dark in (False, True)]
SERIAL = "document.querySelector('.serial').textContent"
PROMPT = f"/aero:\\S+# ?$/.test({SERIAL})"
STATUS = "document.querySelector('.boot-status').textContent"
HINT = "document.querySelector('#screen-hint').textContent"
CLEAN = "JSON.stringify([violations, failures])"
NOTHING = "[[],[]]"
SAID = {"floppy.img": "from the floppy", "disc.iso": "from the disc"}
MEDIA = {
    "floppy.img": floppy(b"from the floppy"),
    "disc.iso": disc(b"from the disc"),
    "secret.iso": disc(b"secret"),
}
KEEP_FILES = """
globalThis.files = [];
const made = URL.createObjectURL.bind(URL);
URL.createObjectURL = blob => (blob.type.includes("javascript") || files.push(blob), made(blob));
"""
BASE64 = "((bytes, text = '') => { for (const byte of bytes) text += String.fromCharCode(byte); return btoa(text); })"
TEXTS = "one => [...one.children].map(part => part.textContent)"
NOTE = "written in a browser"


@pytest.fixture(scope="module")
def guest(lacking: Callable[[str], NoReturn]) -> Guest:
    return Guest.installed() or lacking("there is no guest to boot (make guest browser-tools)")


@pytest.fixture(scope="module")
def daemon(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon over what the demo leaves: an image, its catalog, and the emulator."""
    home = tmp_path_factory.mktemp("boot")
    shutil.copytree(guest.image.parent, home / "images")
    put_media(home / "images")
    with running(home) as served:
        yield served


def put_media(root: Path) -> None:
    """Add a floppy and CDs to the catalog, one of which is private."""
    catalog = json.loads((root / "manifest.json").read_bytes())
    for name, body in MEDIA.items():
        (root / name).write_bytes(body)
        catalog["images"].append({"id": name, "name": name, "file": name, "public": name != "secret.iso"})
    (root / "manifest.json").write_text(json.dumps(catalog), encoding="utf-8")


@pytest.fixture(scope="module")
def bare(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that does not have the emulator."""
    home = tmp_path_factory.mktemp("bare")
    shutil.copytree(guest.image.parent, home / "images", ignore=shutil.ignore_patterns(".page"))
    with running(home) as served:
        yield served


@frozen
class Seen:
    """What one visit saw."""

    meter: dict[str, str]
    hints: list[str]
    axe: list[str]
    state: str
    changes: bytes
    noted: str
    """What the guest says of its note after it went on from the saved state."""
    refused: str
    """The words for a state that was refused."""
    forgotten: str
    clean: str
    said: list[str] = field(repr=False)


def opened(visit: Visit, daemon: Daemon) -> None:
    visit.open(f"http://127.0.0.1:{daemon.port}/{BOOT}")
    visit.until("Boolean(document.querySelector('.view h1'))")


def press(visit: Visit, label: str) -> None:
    """Press the button with this label, as somebody does."""
    button = f"[...document.querySelectorAll('main button')].find(one => one.textContent === '{label}')"
    visit.until(f"Boolean({button}) && !{button}.disabled")
    x, y = visit.evaluate(
        f"(({button}).scrollIntoView({{block: 'center'}}), (box => [box.x + box.width / 2, box.y + box.height / 2])"
        f"(({button}).getBoundingClientRect()))"
    )
    for kind in ("mousePressed", "mouseReleased"):
        visit.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def run(visit: Visit, command: str) -> str:
    """Type a line into the serial line, and return what is said until the next prompt."""
    visit.evaluate(f"globalThis.start = {SERIAL}.length; document.querySelector('#serial-input').focus()")
    visit.write(command)
    visit.press("Enter")
    visit.until(f"({SERIAL}).length > start + {len(command)} && {PROMPT}", BOOT_SECONDS)
    said: str = visit.evaluate(f"({SERIAL}).slice(start)")
    return said


def put_file(visit: Visit, selector: str, name: str) -> None:
    """Choose a file of `files` in a field."""
    visit.evaluate(
        f"""(field => {{
            const held = new DataTransfer();
            held.items.add(new File([{name}], "a.state"));
            field.files = held.files;
            field.dispatchEvent(new Event("change"));
        }})(document.querySelector("{selector}"))"""
    )


def keyboard(visit: Visit) -> list[str]:
    """Give the keyboard to the PC by Enter and take it back by its keys; return what the page says meanwhile."""
    visit.evaluate("document.querySelector('.pc-frame').focus()")
    hints = [visit.evaluate(HINT)]
    visit.press("Enter")
    hints.append(visit.evaluate(HINT))
    keys: dict[str, Any] = {"key": "g", "code": "KeyG", "windowsVirtualKeyCode": 71, "modifiers": 1 | 2}
    visit.call("Input.dispatchKeyEvent", type="rawKeyDown", **keys)
    visit.call("Input.dispatchKeyEvent", type="keyUp", **keys)
    hints.append(visit.evaluate(HINT))
    return hints


def restored(visit: Visit) -> str:
    """Switch the PC off, go on from the saved state, and ask for the note and a variable."""
    press(visit, "Stop")
    visit.until(f"{STATUS} === 'The PC is off.'")
    visit.evaluate("document.querySelector('.more').open = true")
    put_file(visit, "#boot-state", "files[0]")
    press(visit, "Boot it")
    visit.until(f"{STATUS}.startsWith('The PC is on')", BOOT_SECONDS)
    visit.evaluate("document.querySelector('#serial-input').focus()")
    return run(visit, "cat /root/note; echo $x")


@pytest.fixture(scope="module")
def seen(visit: Visit, daemon: Daemon, axe: str) -> Seen:
    """Boot, write, save, change, go on from what was saved, export, and forget."""
    opened(visit, daemon)
    visit.evaluate(KEEP_FILES)
    press(visit, "Boot it")
    visit.until(f"Boolean(document.querySelector('.serial')) && {PROMPT}", BOOT_SECONDS)
    visit.until(f"{STATUS}.startsWith('The PC is on')")
    if picture := os.environ.get("PAGE_PICTURE"):  # `make picture`
        visit.evaluate("scrollTo(0, 0)")
        visit.screenshot(Path(picture))
    run(visit, f"x=before; echo '{NOTE}' >/root/note; sync")
    press(visit, "Save state")
    visit.until("files.length === 1", 60)
    state = visit.evaluate(STATUS)
    run(visit, "x=after; echo other >/root/note; sync")
    hints = keyboard(visit)
    found = visit.axe(axe)
    noted = restored(visit)
    press(visit, "Export changes")
    visit.until("files.length === 2", 60)
    changes = visit.evaluate(f"files[1].arrayBuffer().then(whole => {BASE64}(new Uint8Array(whole)))")
    pairs = visit.evaluate(f"[...document.querySelectorAll('.pc dl > div')].map({TEXTS})")
    put_file(visit, ".tools input", "'no state'")
    visit.until("Boolean(document.querySelector('.problem'))")
    refused = visit.evaluate("document.querySelector('.problem').textContent")
    press(visit, "Forget")
    visit.until(f"{STATUS}.startsWith('This browser has forgotten')")
    return Seen(
        meter=dict(pairs),
        hints=hints,
        axe=found,
        state=state,
        changes=base64.b64decode(changes),
        noted=noted,
        refused=refused,
        forgotten=visit.evaluate(STATUS),
        clean=visit.evaluate(CLEAN),
        said=list(visit.tab.said),
    )


def test_policy_is_kept(seen: Seen) -> None:
    """From the click to the end the page breaks no rule of its policy, and no error goes unheard."""
    assert seen.clean == NOTHING


def test_running_pc_is_accessible(seen: Seen) -> None:
    """With the PC on the page axe finds nothing."""
    assert seen.axe == []


def test_keyboard_goes_and_comes_back(seen: Seen) -> None:
    """Enter gives the keyboard to the PC, Ctrl+Alt+G gives it back, and the page says so."""
    before, caught, after = seen.hints
    assert "Click the screen" in before
    assert caught == "The PC has the keyboard. Ctrl+Alt+G gives it back."
    assert after == before


def test_meter_counts(seen: Seen) -> None:
    """The meter has what the disk has cost: something was fetched, and something written."""
    assert int(seen.meter["Requests"]) > 0
    assert seen.meter["Written here"].endswith("KiB")
    assert set(seen.meter) >= {"Fetched", "Hits in memory", "Hits on this disk", "Reads that waited"}


def test_state_goes_on(seen: Seen) -> None:
    """A PC that was switched off goes on from its saved state, with its memory and its disk."""
    assert seen.state.startswith("Saved the state: ")
    assert f"{NOTE}\n" in seen.noted
    assert "\nbefore\n" in seen.noted


def test_changes_are_exported(seen: Seen) -> None:
    """What was written is a file, in which the note is."""
    assert NOTE.encode() in seen.changes


def test_other_files_are_refused(seen: Seen) -> None:
    """A file that is no state is refused in words, and the PC stays on."""
    assert seen.refused == "This file is no saved state of this page."


def test_kept_things_are_forgotten(seen: Seen) -> None:
    """What the browser kept is forgotten on demand."""
    assert seen.forgotten == "This browser has forgotten what it kept of this image."


def test_stop_while_the_disk_opens(visit: Visit, daemon: Daemon) -> None:
    """A PC whose server does not answer can be switched off; the focus goes to where it is switched on again."""
    visit.look()
    opened(visit, daemon)
    visit.until("Boolean(document.querySelector('.boot-form'))")
    visit.evaluate(
        "globalThis.fetch = (_path, { signal }) => new Promise((_done, fail) => {"
        " signal.addEventListener('abort', () => fail(signal.reason)); }); 0"
    )
    press(visit, "Boot it")
    visit.until(f"{STATUS} === 'Opening the disk …'")
    press(visit, "Stop")
    visit.until(f"{STATUS} === 'The PC is off.' && document.activeElement.textContent === 'Boot it'")
    assert visit.evaluate("document.querySelector('.problem')") is None
    assert visit.evaluate(CLEAN) == NOTHING


@pytest.mark.parametrize("image", SAID)
def test_floppy_and_disc(visit: Visit, daemon: Daemon, image: str) -> None:
    """An image of a floppy and one of a CD boot as such by a click, and are read from the server."""
    visit.look()
    visit.open(f"http://127.0.0.1:{daemon.port}/#/boot/{image}")
    visit.until("Boolean(document.querySelector('.view h1'))")
    press(visit, "Boot it")
    visit.until(f"document.querySelector('.serial')?.textContent.includes({SAID[image]!r})", BOOT_SECONDS)
    assert visit.evaluate("document.querySelector('.problem')") is None
    press(visit, "Stop")
    visit.until(f"{STATUS} === 'The PC is off.'")
    assert visit.evaluate(CLEAN) == NOTHING


def test_flood_of_the_serial_line(visit: Visit, daemon: Daemon) -> None:
    """A serial line that floods keeps its last 128 KiB, is drawn in short tasks, and lets go of the oldest part."""
    visit.look()
    opened(visit, daemon)
    visit.until("Boolean(document.querySelector('.boot-form'))")
    flooded = visit.evaluate(
        """(async () => {
            const parts = performance.getEntriesByType("resource");
            const own = parts.find(({ name }) => name.endsWith("-serial-panel.js"));
            const { SerialPanel } = await import(own.name);
            const panel = new SerialPanel(() => {});
            document.querySelector(".stage").append(panel.root);
            let longest = 0;
            new PerformanceObserver(list => {
              for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
            }).observe({ type: "longtask" });
            for (let round = 0; round < 60; round += 1) {
              panel.write(`${"x".repeat(4095)}\\r\\n`.repeat(20));
              await new Promise(done => setTimeout(done, 16));
            }
            panel.write("the end");
            await new Promise(done => setTimeout(done, 100));
            const { textContent: text, childElementCount: pieces } = panel.output;
            return [text.length, text.endsWith("the end"), pieces, longest];
        })()"""
    )
    length, has_end, pieces, longest = flooded
    assert has_end
    assert 100_000 < length < 300_000
    assert pieces < 50
    assert longest < 200


def test_private_image(visit: Visit, daemon: Daemon) -> None:
    """What stays in the browser of a private image is said beside the choice to keep it, and is forgotten there."""
    visit.look()
    visit.open(f"http://127.0.0.1:{daemon.port}/#/boot/secret.iso")
    visit.until("Boolean(document.querySelector('.boot-form'))")
    said = visit.evaluate("document.querySelector('.boot-form').textContent")
    assert "This image is private. Whatever is kept stays in this browser" in said
    press(visit, "Forget what is kept")
    visit.until(f"{STATUS}.startsWith('This browser has forgotten')")
    opened(visit, daemon)
    visit.until("Boolean(document.querySelector('.boot-form'))")
    assert "private" not in visit.evaluate("document.querySelector('.boot-form').textContent")


@pytest.mark.parametrize(("width", "dark"), STATES)
def test_choices_are_accessible(visit: Visit, daemon: Daemon, axe: str, width: int, *, dark: bool) -> None:
    """Before the PC is on: axe finds nothing, nothing is cut off at the side, nothing shifts."""
    visit.look(width=width, dark=dark)
    opened(visit, daemon)
    visit.until("Boolean(document.querySelector('.boot-form'))")
    assert visit.evaluate("shifted") < 0.01
    visit.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert visit.axe(axe) == []
    assert visit.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert visit.evaluate(CLEAN) == NOTHING


def test_server_without_the_emulator(visit: Visit, bare: Daemon) -> None:
    """Without v86 and SeaBIOS one sentence says how the operator gets them, and nothing is loaded."""
    visit.look()
    opened(visit, bare)
    visit.until("Boolean(document.querySelector('.notice'))")
    told = visit.evaluate("document.querySelector('.notice').textContent")
    assert told == (
        "This server does not have the emulator yet: "
        "its operator fetches v86 and SeaBIOS with aero-storage page fetch."
    )
    assert visit.evaluate("document.querySelectorAll('.boot-form').length") == 0
    assert visit.evaluate(CLEAN) == NOTHING


def test_emulator_that_comes_while_the_daemon_runs(visit: Visit, bare: Daemon, guest: Guest) -> None:
    """What is fetched while the daemon runs is there for the next page, with its licences."""
    shutil.copytree(guest.files, bare.root / ".page")
    try:
        visit.until(
            "fetch('/ui/emulator.json').then(answer => answer.json()).then(found => 'v86.wasm' in found.parts)"
        )
        opened(visit, bare)
        visit.until("Boolean(document.querySelector('.boot-form'))")
        works = visit.evaluate("[...document.querySelectorAll('main .hint a')].map(one => one.textContent)")
        assert works[1::2] == ["BSD-2-Clause", "LGPL-3.0-only"]
        licence = "document.querySelectorAll('main .hint a')[1].href"
        text = visit.evaluate(f"fetch({licence}).then(answer => answer.text())")
        assert "Redistribution and use" in text
    finally:
        shutil.rmtree(bare.root / ".page")
