"""Two pages, pasted: docs/how-to/private-images.md beside a daemon, and docs/how-to/who-read-what.md over its log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
from tests.clients.nginx_proxy import PATIENCE, until
from tests.docs.pages import PROJECT, blocks

HOW_TO = PROJECT / "docs" / "how-to"
PRIVATE, READERS = HOW_TO / "private-images.md", HOW_TO / "who-read-what.md"
BASE = "http://localhost:8080"
DAEMON = "twistd --nodaemon "
REVOKES = "aero-storage lease revoke "


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AERO_")}
    return clean | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"}


@attrs.define
class Terminal:
    """A directory with a shell in which pages are pasted; `printed` is what each block printed."""

    place: Path
    base: str = BASE
    printed: dict[str, str] = attrs.field(factory=dict)

    def paste(self, block: str) -> str:
        """Run commands, each of which must succeed; return what they printed on standard output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(BASE, self.base)],
            cwd=self.place,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        self.printed[block] = done.stdout
        return done.stdout

    def output_of(self, command: str) -> str:
        """Return what the only block with this command printed."""
        (text,) = [text for block, text in self.printed.items() if command in block]
        return text

    def status(self, lease: str = "", *words: str) -> str:
        """Read a byte of the image by the lease in a file, with curl's arguments `words`; return the status."""
        header = f"Authorization: Bearer $(cat {lease})" if lease else "X-Nothing: at all"
        asked = f"curl -sS -o /dev/null -w '%{{http_code}}' -r 0-0 -H @- {' '.join(words)} {BASE}/v1/images/win98"
        return self.paste(f'echo "{header}" | {asked}')

    def issue(self, user: str) -> str:
        """Sign a lease for a user; return the name of its file."""
        self.paste(f"aero-storage lease issue win98 --keys issuer.json --sub {user} > {user}.txt")
        return f"{user}.txt"

    def requests(self) -> list[dict[str, object]]:
        """Return the lines of requests that are in the log by now."""
        complete = (self.place / "twistd.log").read_text(encoding="utf-8").rpartition("\n")[0]
        lines = map(json.loads, complete.splitlines())
        return [line for line in lines if line["message"] == "request complete"]


@contextmanager
def running(terminal: Terminal, block: str) -> Iterator[None]:
    """Paste the block that starts the daemon, at a port of its own, with its log in `twistd.log`."""
    log = terminal.place / "twistd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-euc", block.replace("twistd", "exec twistd")],
            cwd=terminal.place,
            env=environment() | {"AERO_STORAGE_LISTEN_ADDR": "127.0.0.1:0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
        )
    try:
        until(
            lambda: '"message": "listening"' in log.read_text() or process.poll() is not None, "the daemon to listen"
        )
        (address,) = re.findall(r'"address": "([^"]+)"', log.read_text())
        terminal.base = f"http://{address}"
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def terminal(
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    demo_image: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Terminal]:
    """Paste the page up to the part that revokes; the daemon runs on."""
    for tool in ("curl", "jq"):
        require_tool(tool, package=tool)
    place = tmp_path_factory.mktemp("terminal")
    qemu_img = require_tool("qemu-img", package="qemu-utils")
    run_tool(qemu_img, "convert", "-f", "raw", "-O", "qcow2", demo_image, place / "win98.qcow2")
    shown = blocks(PRIVATE, "sh")
    (start,) = [at for at, block in enumerate(shown) if block.startswith(DAEMON)]
    (stop,) = [at for at, block in enumerate(shown) if REVOKES in block]
    terminal = Terminal(place)
    for block in shown[:start]:
        terminal.paste(block)
    with running(terminal, shown[start]):
        for block in shown[start + 1 : stop]:
            terminal.paste(block)
        yield terminal


def test_keys(terminal: Terminal) -> None:
    """The issuer's file is its owner's alone, and nothing of its private part is in the daemon's."""
    issuer, keys = terminal.place / "issuer.json", terminal.place / "keys.json"
    assert issuer.stat().st_mode & 0o777 == 0o600
    private = [one["d"] for one in json.loads(issuer.read_text())["keys"] if "d" in one]
    assert len(private) == 1, "the key that was rotated out signs no more"
    assert private[0] not in keys.read_text()


def test_carriers(terminal: Terminal, demo_bytes: bytes) -> None:
    """A bearer, a URL and a cookie open the image; nothing does not, and `check` says for how long it is open."""
    for carrier in ("bearer", "url", "cookie"):
        assert (terminal.place / f"by-{carrier}.bin").read_bytes() == demo_bytes[:512], carrier
    assert re.search(r"^Aero-Lease-Remaining: 28\d\d\d\r?$", terminal.output_of("-H @-"), re.MULTILINE)
    assert terminal.output_of("/dev/null -w") == "401\n"
    assert terminal.output_of("lease check").startswith("ok: it opens win98 for 28")


def test_a_cookie_ends_before_its_lease(terminal: Terminal) -> None:
    """The cookie is for one image, hidden from scripts, and good for what is left of the lease."""
    jar = (terminal.place / "cookies.txt").read_text(encoding="utf-8").splitlines()
    (cookie,) = [line.split("\t") for line in jar if "aero-lease" in line]
    assert cookie[0].startswith("#HttpOnly_")
    assert cookie[2] == "/v1/images/win98"


def test_both_keys_verify(terminal: Terminal) -> None:
    """After the rotation the new key signs, and the lease of the old one is good still."""
    kids = [one["kid"] for one in json.loads((terminal.place / "keys.json").read_text())["keys"]]
    assert len(kids) == 2
    assert json.loads((terminal.place / "issuer.json").read_text())["keys"][0]["kid"] == kids[0]
    assert terminal.status("lease.txt") == "206"


@pytest.fixture(scope="module")
def revoked(terminal: Terminal) -> Terminal:
    """Paste the lines that revoke, one after the other; `refused` is the first that ends each lease."""
    (block,) = [block for block in blocks(PRIVATE, "sh") if REVOKES in block]
    terminal.status("lease.txt", "--interface 127.0.0.2")
    leases = ["lease.txt", terminal.issue("ada"), terminal.issue("bob")]
    for number, line in enumerate(block.splitlines()):
        assert [terminal.status(lease) for lease in leases[number:]] == ["206"] * (3 - number), "not revoked yet"
        terminal.paste(line)
        until(partial(is_refused, terminal, leases[number]), f"the daemon to know of: {line}")
    return terminal


def is_refused(terminal: Terminal, lease: str) -> bool:
    return terminal.status(lease) == "401"


def test_each_revocation_hits_its_own(revoked: Terminal) -> None:
    """One lease, then those of one user, then all for the image are refused, and none before its turn."""
    assert len((revoked.place / "revocations.jsonl").read_text().splitlines()) == 3


@pytest.fixture(scope="module")
def readers(revoked: Terminal) -> Terminal:
    """Paste the questions to the log, once all that was asked is in it."""
    assert revoked.status("", "-H 'X-Request-Id: last'") == "401"
    until(lambda: revoked.requests()[-1]["request_id"] == "last", "the last line")
    for block in blocks(READERS, "sh"):
        revoked.paste(block)
    return revoked


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_who_read_an_image(readers: Terminal) -> None:
    """Users are told with the number and the bytes of their reads; nobody has read without a lease."""
    told = {user: (int(count), int(sent)) for user, count, sent in rows(readers.output_of("group_by(.user_id)"))}
    lines = [line for line in readers.requests() if line["bytes_sent"]]
    assert set(told) == {"ada", "bob", "operator"}
    for user, (count, sent) in told.items():
        mine = [line["bytes_sent"] for line in lines if line.get("user_id") == user]
        assert (count, sent) == (len(mine), sum(map(int, map(str, mine))))


def test_what_a_user_has_read(readers: Terminal) -> None:
    """Each read of a user is told with its time, address, image and range."""
    told = rows(readers.output_of(".range // .path"))
    assert ["127.0.0.1", "win98", "0-511", "206", "512"] in [row[1:] for row in told]
    assert {row[1] for row in told} == {"127.0.0.1", "127.0.0.2"}


def test_what_a_lease_has_read(readers: Terminal) -> None:
    """The requests of one lease are told, by its name."""
    told = [json.loads(line) for line in readers.output_of("--arg lease").splitlines()]
    assert told
    assert {line["image_id"] for line in told} == {"win98"}


def test_leases_of_several_addresses(readers: Terminal) -> None:
    """The lease that two addresses have used is told, and no other."""
    ((user, _, addresses),) = rows(readers.output_of("map(.client) | unique"))
    assert (user, addresses) == ("ada", "2")


def test_who_was_refused(readers: Terminal) -> None:
    """Refusals are counted by address and status."""
    told = {tuple(row[:2]): int(row[2]) for row in rows(readers.output_of('.reason == "lease"'))}
    refused = [line for line in readers.requests() if line["status"] == 401]
    assert told == {("127.0.0.1", "401"): len(refused)}
    assert len(refused) >= 5


def test_statistics_name_nobody(readers: Terminal) -> None:
    """The archive has a line for each request, without addresses, users and leases."""
    kept = (readers.place / "statistics.jsonl").read_text(encoding="utf-8")
    assert len(kept.splitlines()) == len(readers.requests())
    assert not re.search(r"127\.0\.0\.|ada|bob", kept)


def test_no_lease_is_in_the_log(readers: Terminal) -> None:
    """No line of the log has a lease that was signed here, or the signature of one."""
    log = (readers.place / "twistd.log").read_text(encoding="utf-8")
    for name in ("lease.txt", "ada.txt", "bob.txt"):
        for part in (readers.place / name).read_text(encoding="ascii").strip().split(".")[1:]:
            assert part not in log
