"""Pages of several kinds: with the client of the daemon, in a private window, without trust, in a sandbox."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.browser.driven import PLAIN_HOST, sha256

if TYPE_CHECKING:
    from tests.browser.driven import Driven

IN_WORKER = """
    const { AeroDisk } = await import(CLIENT);
    const disk = await AeroDisk.open(IMAGE, { profile: false, persistent: "opfs" });
    const bytes = await disk.read(0, disk.size);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    await disk.close();
    self.postMessage({ kind: disk.persistent, digest: Array.from(digest) });
"""


def expected_part(driven: Driven) -> str:
    """Some bytes of the image, across blocks and chunks, as `btoa` has them."""
    return base64.b64encode(driven.served.image.read_bytes()[60000:69000]).decode()


def test_client_of_the_daemon(driven: Driven) -> None:
    """An isolated page of another origin imports the client from the daemon; its worker of OPFS starts."""
    page = driven.page("imports", client=driven.images)
    page.ask("globalThis.disk = await open('disk'); 0")
    assert page.ask("[crossOriginIsolated, disk.persistent]") == [True, "opfs"]
    assert page.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    page.ask("await disk.close(); globalThis.disk = await open('disk'); await whole(disk); 0")
    assert page.ask("disk.stats.requests") <= 2
    page.tab.close()


def test_worker_with_the_client_of_the_daemon(driven: Driven) -> None:
    """A worker of such a page, made of a blob, imports the client as well, and has blocks in OPFS."""
    page = driven.page("worker")
    client, image = f"{driven.images}/client/aero-disk.js", f"{driven.images}/v1/images/disk"
    script = IN_WORKER.replace("CLIENT", json.dumps(client)).replace("IMAGE", json.dumps(image))
    found = page.ask(f"""
        const blob = URL.createObjectURL(new Blob([{json.dumps(script)}], {{ type: "text/javascript" }}));
        const worker = new Worker(blob, {{ type: "module" }});
        await new Promise((resolve, reject) => {{
          worker.onmessage = ({{ data }}) => resolve(data);
          worker.onerror = ({{ message }}) => reject(new Error(message));
        }})
    """)
    assert (found["kind"], bytes(found["digest"]).hex()) == ("opfs", sha256(driven.served.image.read_bytes()))
    page.tab.close()


def test_private_window(driven: Driven) -> None:
    """In a private window blocks are kept as long as it is open."""
    page = driven.page("private", context=driven.running.new_context())
    for requests in (100, 2):
        page.ask("globalThis.disk = await open('disk'); 0")
        assert page.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
        assert page.ask("disk.stats.requests") <= requests
        assert page.ask("await disk.close(), disk.persistent") in {"opfs", "indexeddb"}
    page.tab.close()


def test_plain_http(driven: Driven) -> None:
    """On plain http there is no OPFS and no `crypto.subtle`: IndexedDB keeps blocks, and the console has it."""
    page = driven.page(PLAIN_HOST, images=driven.served.base.replace("127.0.0.1", PLAIN_HOST))
    lacking = "[navigator.storage, navigator.locks, crypto.subtle].every(part => part === undefined)"
    assert page.ask(f"[isSecureContext, {lacking}]") == [False, True]
    for mode, name in (("range", "disk"), ("chunks", "published")):
        page.ask(f"globalThis.disk = await open('{name}', {{ mode: '{mode}' }}); 0")
        assert page.ask("btoa(String.fromCharCode(...await disk.read(60000, 9000)))") == expected_part(driven)
        assert page.ask("await disk.close(), disk.persistent") == "indexeddb"
    assert "aero-disk: opfs is not to be had; blocks are kept in indexeddb" in page.tab.said
    page.tab.close()


def test_no_store(driven: Driven) -> None:
    """Without any store blocks are in memory alone, and the console has it."""
    page = driven.page("nothing")
    page.ask("Object.defineProperty(navigator, 'locks', { value: undefined }); 0")
    page.ask("Object.defineProperty(globalThis, 'indexedDB', { value: { open() { throw new Error('no'); } } }); 0")
    page.ask("globalThis.disk = await open('disk'); 0")
    assert page.ask("disk.persistent") is False
    assert page.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    assert "aero-disk: opfs is not to be had; blocks are kept in memory" in page.tab.said
    page.tab.close()


def test_worker_refused(driven: Driven) -> None:
    """A policy of the page that forbids workers leaves IndexedDB, and nothing waits for a worker."""
    page = driven.page("policy")
    page.ask(
        """
        const policy = document.createElement("meta");
        policy.httpEquiv = "Content-Security-Policy";
        policy.content = "worker-src 'none'";
        document.head.append(policy);
        globalThis.disk = await open("disk");
    """,
        10,
    )
    assert page.ask("disk.persistent") == "indexeddb"
    assert page.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    page.ask("await disk.close()", 5)
    page.tab.close()


@pytest.mark.parametrize("kind", ["opfs", "cache"])
def test_sandbox(driven: Driven, kind: str) -> None:
    """A frame in a sandbox may keep nothing: reads go on from memory."""
    page = driven.page("sandbox")
    found = page.ask(f"""
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-scripts";
        frame.srcdoc = `<script type="module">
          const client = await import("{driven.images}/client/aero-disk.js");
          const options = {{ persistent: "{kind}", profile: false }};
          const disk = await client.AeroDisk.open("{driven.images}/v1/images/disk", options);
          const bytes = await disk.read(0, 65536);
          parent.postMessage([disk.persistent, Array.from(bytes)], "*");
        </` + "script>";
        const said = new Promise(resolve => {{
          addEventListener("message", ({{ data }}) => resolve(data), {{ once: true }});
        }});
        document.body.append(frame);
        await Promise.race([said, new Promise(resolve => setTimeout(resolve, 8000))])
    """)
    assert found is not None, page.tab.said
    assert found[0] is False
    assert bytes(found[1]) == driven.served.image.read_bytes()[:65536]
    page.tab.close()
