"""A headless Chromium with a profile that is kept, driven over the two pipes of its DevTools protocol."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from attrs import define, field

END_OF_MESSAGE = b"\0"
KEPT_LINES = 200
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]


# Chromium reads commands from descriptor 3 and writes answers to 4; shells know no descriptors above 9.
WITH_PIPES = """
import os, sys
pipes = [os.dup(int(word)) for word in sys.argv[1:3]]
for place, pipe in enumerate(pipes, start=3):
    os.dup2(pipe, place)
    os.set_inheritable(place, True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class BrowserError(Exception):
    """The browser ended, did not answer in time, or the page threw; the message has what the page said."""


@define
class Tab:
    """A page that is open, with what it wrote on its console."""

    browser: Browser
    session: str
    said: list[str] = field(factory=list)

    def open(self, address: str, seconds: float = 30.0) -> None:
        """Go to an address and wait until its modules have run."""
        self.browser.call("Page.navigate", {"url": address}, self.session, seconds)
        self.browser.wait_for_event("Page.loadEventFired", self.session, seconds)

    def evaluate(self, expression: str, seconds: float = 30.0) -> Any:
        """Run JavaScript, wait for its promise, and return the value as JSON has it."""
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True, "replMode": True}
        answer = self.browser.call("Runtime.evaluate", asked, self.session, seconds)
        if failed := answer.get("exceptionDetails"):
            thrown = failed.get("exception", {})
            text = thrown.get("description") or thrown.get("value") or failed["text"]
            raise BrowserError(f"{text}\n" + "\n".join(self.said[-20:]))
        return answer["result"].get("value")

    def close(self) -> None:
        """Close the page, as a user closes a tab."""
        self.browser.call("Page.close", {}, self.session)

    def note(self, line: str) -> None:
        """Keep what the page said, the last lines of it."""
        self.said.append(line)
        del self.said[:-KEPT_LINES]


@define
class Browser:
    """A browser that runs; `browser` starts and ends it."""

    process: subprocess.Popen[bytes]
    commands: IO[bytes]
    answers: queue.Queue[dict[str, Any] | None]
    complaints: Path
    tabs: dict[str, Tab] = field(factory=dict)
    events: list[tuple[str | None, str]] = field(factory=list)
    last: int = 0

    def new_context(self) -> str:
        """Make what a private window is: nothing of it is kept, and it sees nothing of the profile."""
        made: str = self.call("Target.createBrowserContext", {})["browserContextId"]
        return made

    def new_tab(self, context: str | None = None) -> Tab:
        """Open an empty page, in a private window if `context` names one."""
        where = {"browserContextId": context} if context else {}
        target = self.call("Target.createTarget", {"url": "about:blank", **where})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self.tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable", {}, session)
        return tab

    def call(
        self, method: str, parameters: dict[str, Any], session: str | None = None, seconds: float = 30.0
    ) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.last += 1
        command = {"id": self.last, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        self._send(json.dumps(command).encode() + END_OF_MESSAGE)
        deadline = time.monotonic() + seconds
        while (message := self._next(deadline, method)).get("id") != self.last:
            self._take(message)
        if "error" in message:
            raise BrowserError(f"{method}: {message['error']['message']}")
        answer: dict[str, Any] = message["result"]
        return answer

    def _send(self, message: bytes) -> None:
        """Write all of a message; that the browser is gone shows where its answer is missing."""
        with contextlib.suppress(BrokenPipeError):
            while message:
                message = message[self.commands.write(message) or 0 :]

    def wait_for_event(self, method: str, session: str, seconds: float) -> None:
        """Wait until an event has come, since the last time that somebody waited for it."""
        deadline = time.monotonic() + seconds
        while (session, method) not in self.events:
            self._take(self._next(deadline, method))
        self.events.remove((session, method))

    def _next(self, deadline: float, awaited: str) -> dict[str, Any]:
        try:
            message = self.answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            said = "\n".join(line for tab in self.tabs.values() for line in tab.said[-20:])
            raise BrowserError(f"no answer to {awaited} in time\n{said}") from None
        if message is None:
            text = self.complaints.read_text(errors="replace")[-3000:]
            raise BrowserError(f"the browser ended ({self.process.wait(10)}) before {awaited}\n{text}")
        return message

    def _take(self, event: dict[str, Any]) -> None:
        """Keep what an event says: lines of a console, or that a page was loaded."""
        session, method, told = event.get("sessionId"), event.get("method", ""), event.get("params", {})
        if method == "Page.loadEventFired":
            self.events.append((session, method))
        if (tab := self.tabs.get(session or "")) is not None and (line := _line(method, told)):
            tab.note(line)


def _line(method: str, told: dict[str, Any]) -> str:
    if method == "Runtime.consoleAPICalled":
        return " ".join(str(part.get("value", part.get("description", ""))) for part in told["args"])
    if method == "Runtime.exceptionThrown":
        details = told["exceptionDetails"]
        return str(details.get("exception", {}).get("description", details["text"]))
    if method == "Log.entryAdded":
        return f"{told['entry']['text']} {told['entry'].get('url', '')}"
    return ""


@contextlib.contextmanager
def browser(path: str, profile: Path, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """Run a browser over a directory with its profile: what pages keep there is found by the next one."""
    theirs, ours = os.pipe(), os.pipe()
    pipes = (theirs[0], ours[1])
    command = [sys.executable, "-c", WITH_PIPES, *map(str, pipes), path, *FLAGS, f"--user-data-dir={profile}", *flags]
    with tempfile.TemporaryDirectory(prefix="aero-browser-") as place, contextlib.ExitStack() as stack:
        complaints = Path(place) / "stderr"
        with complaints.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - a browser, with flags of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=pipes,
                start_new_session=True,
            )
        os.close(theirs[0])
        os.close(ours[1])
        commands = stack.enter_context(os.fdopen(theirs[1], "wb", buffering=0))
        answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        reader = threading.Thread(target=_read_messages, args=(os.fdopen(ours[0], "rb"), answers), daemon=True)
        reader.start()
        running = Browser(process, commands, answers, complaints)
        try:
            yield running
        finally:
            _end(running)
            reader.join(10)


def _read_messages(source: IO[bytes], answers: queue.Queue[dict[str, Any] | None]) -> None:
    """Take messages apart until the browser ends, then say so by None."""
    with source:
        rest = b""
        while part := os.read(source.fileno(), 1 << 16):
            *whole, rest = (rest + part).split(END_OF_MESSAGE)
            for message in whole:
                answers.put(json.loads(message))
    answers.put(None)


def _end(running: Browser) -> None:
    """Have it write its profile and end, with all its helpers; by force if it must be."""
    with contextlib.suppress(BrowserError, OSError):
        running.call("Browser.close", {}, None, 5.0)
    try:
        running.process.wait(10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.wait()
