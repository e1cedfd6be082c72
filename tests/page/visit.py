"""A visit of the page in a headless Chromium: what is seen, pressed and written, and what went wrong meanwhile."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen
from tools.emulator.devtools import BrowserError, Tab, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 30.0
WATCH = """
globalThis.violations = [];
globalThis.failures = [];
globalThis.shifted = 0;
addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
  violations.push(`${effectiveDirective} ${blockedURI}`);
});
addEventListener("error", event => failures.push(String(event.message ?? event.type)));
addEventListener("unhandledrejection", event => failures.push(String(event.reason)));
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}
TEXTS = {"Enter": "\r", " ": " "}
SHIFT = 8
LEAST_RULES = 15


@frozen
class Visit:
    """One tab. Its documents note violations of their policy, errors, and how far they shifted (`WATCH`)."""

    tab: Tab

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command of the DevTools protocol."""
        return self.tab.browser.call(method, parameters, self.tab.session)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page, or of the promise that it is."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if failed := answer.get("exceptionDetails"):
            raise BrowserError(f"{script}\n{failed.get('exception', {}).get('description', failed['text'])}")
        return answer["result"].get("value")

    def _look(self, script: str) -> Any:
        """Evaluate; None while another document is loaded."""
        try:
            return self.evaluate(script)
        except BrowserError as error:
            if "navigated" in str(error):
                return None
            raise

    def until(self, script: str, seconds: float = SECONDS) -> Any:
        """Return the first value of an expression that is true; a node counts as true."""
        script = f"Promise.resolve({script}).then(value => value instanceof Node || value)"
        deadline = time.monotonic() + seconds
        while not (value := self._look(script)):
            if time.monotonic() > deadline:
                text = self.evaluate("`${document.body?.innerText.slice(0, 2000)}\\n${globalThis.failures}`")
                raise BrowserError(f"this did not come true: {script}\n{text}\n" + "\n".join(self.tab.said[-20:]))
            self.evaluate("new Promise(done => setTimeout(done, 20))")
        return value

    def open(self, address: str) -> None:
        """Go to an address, as by a fresh tab."""
        self.tab.open("about:blank")
        self.tab.open(address)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Set the size of the screen, and the scheme of colours that the reader prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def go_offline(self, *, is_offline: bool) -> None:
        """Take the network away, or give it back."""
        self.call("Network.enable")
        rates = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.call("Network.emulateNetworkConditions", offline=is_offline, **rates)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key of `KEYS`."""
        text = TEXTS.get(key, "")
        common = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": SHIFT if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        """Put a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of what is seen, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def axe(self, script: str) -> list[str]:
        """Return the violations that axe-core finds; `script` is its source."""
        self.evaluate(f"{{ {script}; }} 0")
        found = self.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        assert len(found["passes"]) > LEAST_RULES, "axe-core has looked at next to nothing"
        return [f"{one['id']}: {json.dumps([node['html'] for node in one['nodes']])}" for one in found["violations"]]


@contextmanager
def visiting(chromium: str, profile: Path) -> Iterator[Visit]:
    """Give a tab of a browser that has its profile below `profile`."""
    with browser(chromium, profile) as running:
        visit = Visit(running.new_tab())
        visit.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        visit.look()
        yield visit
