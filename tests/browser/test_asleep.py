"""A laptop that slept: its lease is over, the server has closed its connections, and its timers fire late."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import until
from tests.blackbox.image_roots import DISK
from tests.blackbox.leased_root import leased
from tests.browser.driven import LEASE_SECONDS, sha256
from tests.clients.chromium import IMAGES_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.blackbox.harness import Daemon
    from tests.browser.driven import Driven, Page

WITH_LEASE = "{ lease: async () => (await fetch('/lease')).text(), persistent: false, ...options }"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that closes idle connections soon, and takes no lease that is over."""
    with leased(tmp_path_factory.mktemp("asleep"), "--idle-timeout-secs", "1", "--lease-leeway-secs", "0") as daemon:
        yield daemon


def visit(driven: Driven, daemon: Daemon, place: str, options: str) -> Page:
    page = driven.page(place, images=f"http://{IMAGES_HOST}:{daemon.port}")
    page.ask(f"const options = {options}; globalThis.disk = await open('secret', {WITH_LEASE}); 0")
    return page


@contextmanager
def asleep(driven: Driven) -> Iterator[None]:
    """Stop all processes of the browser, until leases are over."""
    group, end = driven.running.process.pid, time.monotonic() + LEASE_SECONDS + 0.5
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
        until(lambda: time.monotonic() > end)
    finally:
        os.killpg(group, signal.SIGCONT)


def test_machine_slept(driven: Driven, impatient: Daemon) -> None:
    """Reads that were under way and later ones succeed: with a fresh lease, over new connections."""
    page = visit(driven, impatient, "slept", "{ timeout: 1000, retries: 1, blockSize: 4096 }")
    page.ask("await Promise.all([0, 1, 2, 3, 4, 5].map(part => disk.read(part * 4096, 512))); 0")
    since = impatient.log_size()
    page.start("reading", "hashOf(disk, 20000)")
    with asleep(driven):
        until(lambda: impatient.metrics().value("aero_storage_connections") <= 1, 30)  # that one is our own
    assert page.outcome("reading") == page.ask("await hashOf(disk)") == sha256(DISK)
    statuses = {line["status"] for line in impatient.lines(since) if "/images/secret" in line.get("path", "")}
    assert statuses <= {206, 401}  # 401: a request that left before, with the lease of then
    page.tab.close()


def test_late_timers(driven: Driven, impatient: Daemon) -> None:
    """An answer that came while the tab was frozen is taken, though the time for it is over."""
    page = visit(driven, impatient, "frozen", "{ timeout: 1000, retries: 0 }")
    page.ask("await disk.read(0, 512); 0")
    conditions = {"offline": False, "latency": 800, "downloadThroughput": -1, "uploadThroughput": -1}
    page.command("Network.enable")
    page.command("Network.emulateNetworkConditions", **conditions)
    since = impatient.log_size()
    page.start("reading", "disk.read(100000, 512).then(sha256)")
    page.command("Page.setWebLifecycleState", state="frozen")
    end = time.monotonic() + 2.5
    impatient.line(lambda line: line.get("status") == 206, since)
    until(lambda: time.monotonic() > end)
    page.command("Page.setWebLifecycleState", state="active")
    assert page.outcome("reading") == sha256(DISK[100000:100512])
    page.tab.close()


def test_owner_is_frozen(driven: Driven) -> None:
    """The tab with the files of OPFS is frozen: another one waits for it no longer than it must, and reads on."""
    owner, other = driven.page("owner"), driven.page("owner")
    for tab in (owner, other):
        tab.ask("globalThis.disk = await open('disk'); await hashOf(disk)")
    owner.command("Page.setWebLifecycleState", state="frozen")
    assert other.ask("await hashOf(disk, 1 << 20)", 10) == sha256(driven.served.image.read_bytes())
    owner.command("Page.setWebLifecycleState", state="active")
    assert owner.ask("await hashOf(disk)") == sha256(driven.served.image.read_bytes())
    for tab in (owner, other):
        tab.tab.close()
