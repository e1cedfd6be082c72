"""A Linux boots in Chromium from an image of the daemon, through the client: twice, in two browsers over one profile.

First boot: verify, a file is written and exported. Second boot: from what the first one kept, over the imported file;
its state is saved and restored; the image is replaced under it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from attrs import frozen
from tests.blackbox.harness import until
from tests.boot.pc import Guest, Served, opened, serving, wrong_reads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.blackbox.harness import Line
    from tests.boot.pc import Pc

KEPT = {"persistent": "opfs", "memory": 16 << 20}
NOTE = "written in a browser"
SECOND_PARTITION = 446 + 16 + 8
"""Where the partition table has its first sector."""
FLIPPED = bytes(255 - byte for byte in range(256))


def lacking(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; in CI it must be there")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest.installed() or lacking("there is no guest to boot (make guest browser-tools)")


@pytest.fixture(scope="module")
def chromium() -> str:
    return shutil.which("chromium") or lacking("chromium is not installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def served(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(guest, tmp_path_factory.mktemp("boot")) as running:
        yield running


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser keeps what pages keep."""
    return tmp_path_factory.mktemp("profile")


@frozen
class FirstBoot:
    """What was seen in the first browser."""

    isolated: bool
    version: str
    verified: str
    diff: bytes
    reads: list[tuple[int, int, str]]
    troubles: list[Any]
    lines: list[Line]


@pytest.fixture(scope="module")
def first(chromium: str, profile: Path, served: Served) -> FirstBoot:
    """Boot with nothing kept, verify, write a file and export it."""
    with opened(chromium, profile, served.origin) as pc:
        pc.open_disk(served.address, KEPT)
        pc.ask("globalThis.over = await aero.Overlay.open(disk)")
        pc.boot()
        verified = pc.run("verify")
        pc.run(f"echo '{NOTE}' >/root/note && sync")
        diff = base64.b64decode(pc.ask("await toBase64(over.export('diff'))"))
        seen = FirstBoot(
            isolated=pc.ask("crossOriginIsolated"),
            version=pc.ask("disk.version"),
            verified=verified,
            diff=diff,
            reads=pc.reads(),
            troubles=pc.ask("machine.troubles"),
            lines=served.requests(),
        )
        pc.ask("await machine.powerOff(); await disk.close()")
    return seen


@frozen
class Replacement:
    """What was seen when the image was replaced under a guest that runs."""

    changes: list[dict[str, Any]]
    """The disk's events `changed`."""
    troubles: list[dict[str, Any]]
    output: str
    """What the guest printed after the command that read a file."""
    reads: list[tuple[int, int, str]]
    refused: str
    """The code of the error with which the saved state was refused afterwards."""


@frozen
class SecondBoot:
    """What was seen in the second browser."""

    persistent: str
    boot_lines: list[Line]
    note: str
    restored: str
    replacement: Replacement


@pytest.fixture(scope="module")
def second(
    first: FirstBoot, chromium: str, profile: Path, served: Served, tmp_path_factory: pytest.TempPathFactory
) -> SecondBoot:
    """Boot over the exported file, save and restore, and have the image replaced."""
    since = served.daemon.log_size()
    with opened(chromium, profile, served.origin) as pc:
        pc.open_disk(served.address, KEPT | {"profile": False})
        exported = base64.b64encode(first.diff).decode()
        pc.ask(f"globalThis.over = await aero.Overlay.import(fromBase64('{exported}'), disk)")
        pc.boot()
        return SecondBoot(
            persistent=pc.ask("disk.persistent"),
            boot_lines=served.requests(since),
            note=pc.run("cat /root/note"),
            restored=save_and_restore(pc),
            replacement=replace_in_mid_session(pc, served, other_image(served, tmp_path_factory.mktemp("other"))),
        )


def other_image(served: Served, place: Path) -> Path:
    """Make an image of which no byte is that of the one that is served."""
    path = place / "other.img"
    path.write_bytes(served.image.translate(FLIPPED))
    return path


def save_and_restore(pc: Pc) -> str:
    """Change a variable and a file after the state was saved; give both after it was restored."""
    pc.run("x=before")
    pc.ask("globalThis.state = await machine.save()")
    pc.run("x=after; echo other >/root/note; sync")
    pc.ask("await machine.restore(state)")
    return pc.run("echo $x; echo 3 >/proc/sys/vm/drop_caches; cat /root/note")


def replace_in_mid_session(pc: Pc, served: Served, other: Path) -> Replacement:
    """Have the guest read a file of which nothing is kept any more, after the image was replaced."""
    pc.run("echo 3 >/proc/sys/vm/drop_caches")
    pc.ask("await disk.forget()")
    served.replace(other)
    start = pc.ask("machine.output.length")
    pc.ask("machine.begin('sha256sum /data/block-5.bin')")
    until(lambda: pc.ask("machine.troubles.length"), 30)
    output = pc.ask(f"machine.output.slice({start})")
    reads, changes, troubles = pc.reads(), pc.ask("changes"), pc.ask("machine.troubles")
    pc.ask("await disk.reprobe(); await machine.powerOff(); over = await aero.Overlay.open(disk)")
    pc.ask("await machine.powerOn(machine.through(over))")
    refused = pc.ask("await machine.restore(state).then(() => 'restored', error => error.code)")
    return Replacement(changes, troubles, output, reads, refused)


def test_page_is_isolated(first: FirstBoot) -> None:
    """The page runs under COOP and COEP, and reads the image from another origin nevertheless."""
    assert first.isolated


def test_every_file_is_right(first: FirstBoot) -> None:
    """The guest finds the SHA-256 of every file as it was when the image was built."""
    assert first.verified.endswith("every file is right\n")
    assert first.verified.count(": OK\n") > 8


def test_every_read_is_right(first: FirstBoot, served: Served) -> None:
    """What the client gave to the emulator is what the image has at that place."""
    assert first.version == f"sha256-{hashlib.sha256(served.image).hexdigest()}"
    assert len(first.reads) > 100
    assert wrong_reads(first.reads, served.image) == []
    assert first.troubles == []


def test_leases_are_renewed(first: FirstBoot) -> None:
    """A boot takes longer than a lease is good for: another one is fetched before a request is refused."""
    assert len({line["lease"] for line in first.lines if line.get("lease")}) > 1
    assert {line["status"] for line in first.lines} <= {200, 206, 404}  # 404: no profile, or no map of zeros


def test_exported_file_is_found_by_the_next_boot(second: SecondBoot) -> None:
    """A file that was written over the image, exported and imported is there when the guest boots again."""
    assert second.note == f"{NOTE}\n"


def test_exported_file_is_in_the_raw_image(first: FirstBoot, served: Served, tmp_path: Path) -> None:
    """The export laid over the image is a disk whose file system has the file, as e2fsprogs reads it."""
    debugfs = shutil.which("debugfs", path="/usr/sbin:/sbin") or lacking("debugfs is missing (Debian: e2fsprogs)")
    disk = bytearray(served.image)
    for offset, data in records(first.diff):
        disk[offset : offset + len(data)] = data
    (start,) = struct.unpack_from("<I", disk, SECOND_PARTITION)
    (tmp_path / "root.ext4").write_bytes(disk[start * 512 :])
    command = [debugfs, "-R", "cat /root/note", str(tmp_path / "root.ext4")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert done.stdout == f"{NOTE}\n"


def records(diff: bytes) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each record of an exported overlay; browser/diff-format.js has the format."""
    at = diff.index(b"\n", diff.index(b"\n") + 1) + 1
    while True:
        offset, length = struct.unpack_from("<QI", diff, at)
        if not length:
            return
        yield offset, diff[at + 16 : at + 16 + length]
        at += 16 + length


def test_second_boot_is_from_opfs(second: SecondBoot) -> None:
    """What the first boot read is not fetched again: two requests at most, and none of them for bytes."""
    assert second.persistent == "opfs"
    assert [line["path"] for line in second.boot_lines if line.get("range")] == []
    assert len(second.boot_lines) <= 2, [(line["path"], line["status"]) for line in second.boot_lines]


def test_state_is_restored(second: SecondBoot) -> None:
    """Memory and disk are as they were when the state was saved."""
    assert second.restored == f"before\n{NOTE}\n"


def test_replaced_image_is_told(second: SecondBoot) -> None:
    """The disk says that the image was replaced, and that nothing can be read any more."""
    (change,) = second.replacement.changes
    assert change["version"] != change["old"]["version"]
    assert {trouble["code"] for trouble in second.replacement.troubles} == {"changed"}


def test_no_read_is_of_the_other_image(second: SecondBoot, served: Served) -> None:
    """Before and after the replacement no byte of the other image reaches the guest, whose command waits."""
    assert wrong_reads(second.replacement.reads, served.image) == []
    assert "block-5.bin\n" not in second.replacement.output.partition("\n")[2]


def test_state_of_another_version_is_refused(second: SecondBoot) -> None:
    """A state is not restored over an image that it was not saved over."""
    assert second.replacement.refused == "changed"
