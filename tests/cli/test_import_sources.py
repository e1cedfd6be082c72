"""`aero-storage import` from pipes, URLs, compressed files and archives, up to what lies in the images root."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.sources.http_server import HttpServer, answer, cut, rest
from tests.command_output import CommandResult
from tests.disk_bytes import bootable
from tests.small_filesystem import mounted_tmpfs

from aero_storage.cli import image_files
from aero_storage.cli.main import run
from aero_storage.cli.output import Output
from aero_storage.cli.sources import http_body

if TYPE_CHECKING:
    from collections.abc import Callable

Command = "Callable[..., CommandResult]"
MIB = 1 << 20
DISK = bootable(bytes(512) + random.Random(2).randbytes(2 * MIB) + bytes(6 * MIB) + random.Random(3).randbytes(512))
QemuImg = "Callable[..., str]"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No daemon has to take a new catalog here, and no setting comes from outside."""
    monkeypatch.setattr(image_files, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(http_body, "_CLOCK", http_body.Clock(pause=lambda _: None))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for name in [name for name in os.environ if name.startswith("AERO_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """Give a function that runs one command line."""

    def call(*words: str | Path, stdin: bytes | None = None) -> CommandResult:
        Path("stdin").write_bytes(stdin or b"")
        with Path("stdin").open("rb") as file, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", file)
            status = run([str(word) for word in words], Output())
        printed = capsys.readouterr()
        return CommandResult(status, printed.out, printed.err)

    return call


def imported() -> bytes:
    (entry,) = json.loads(Path("images/manifest.json").read_text())["images"]
    return Path("images", entry["file"]).read_bytes()


def left_behind() -> list[str]:
    """What work has left in the images root."""
    return sorted(str(one) for one in Path("images").rglob("*~*"))


def tar(name: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        header = tarfile.TarInfo(name)
        header.size = len(data)
        archive.addfile(header, io.BytesIO(data))
    return target.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return target.getvalue()


RAW = {
    "disk.img.gz": gzip.compress(DISK, 1),
    "disk.img.xz": lzma.compress(DISK, preset=0),
    "disk.ova": tar("disk.img", DISK),
    "disk.tgz": gzip.compress(tar("disk.img", DISK), 1),
    "disk.zip": zipped("disk.img", DISK),
}


@pytest.mark.parametrize("name", RAW)
def test_raw_disks(command: Callable[..., CommandResult], name: str) -> None:
    """A raw disk is unpacked into the images root, with holes, and nothing else is left."""
    Path(name).write_bytes(RAW[name])
    said = command("import", name, "--id", "disk", "--json")
    assert said.status == 0, said.err
    assert imported() == DISK
    assert (said.json["format"], said.json["size"]) == ("raw", len(DISK))
    assert said.json["disk_usage"] < 3 * MIB
    assert Path("images/imported/disk/1.img").stat().st_mode & 0o777 == 0o644
    assert left_behind() == []


def test_pipe(command: Callable[..., CommandResult]) -> None:
    """The same from standard input, compressed or not."""
    for data in (DISK, RAW["disk.img.gz"], RAW["disk.ova"]):
        said = command("import", "-", "--id", "disk", stdin=data)
        assert said.status == 0, said.err
        assert imported() == DISK
    assert left_behind() == []


def test_url(command: Callable[..., CommandResult]) -> None:
    """The same from a URL, over connections that are cut; no query is shown."""
    tag = {"ETag": '"one"'}
    data = RAW["disk.img.gz"]
    with HttpServer(
        lambda request: rest(data, request, **tag) if request.number else cut(answer(data, **tag), 90_000)
    ) as server:
        said = command("import", f"{server.url}?key=secret", "--id", "disk")
    assert said.status == 0, said.err
    assert imported() == DISK
    assert f"{server.url}?…: cut off after 87.9 KiB" in said.err
    assert "secret" not in said.err + said.out
    assert [one.offset for one in server.requests] == [0, 90_000]


def test_web_page(command: Callable[..., CommandResult]) -> None:
    """A page that comes in place of an image is no disk, whatever status it has."""
    page = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>Log in first</body></html>" * 20
    with HttpServer(lambda _: answer(page, Content_Type="text/html")) as server:
        said = command("import", server.url, "--id", "disk")
    assert said.status == 1
    assert f"{server.url}: is a web page" in said.err
    assert not Path("images/manifest.json").exists()
    assert left_behind() == []


def test_refused_at_the_beginning() -> None:
    """A file that is no disk by its first bytes is refused before the rest has come."""
    reading, writing = os.pipe()
    os.write(writing, b"7z\xbc\xaf\x27\x1c" + bytes(60_000))
    words = ("-c", "from aero_storage.cli.main import main; main()", "import", "-", "--id", "disk")
    with subprocess.Popen([sys.executable, *words], stdin=reading, stderr=subprocess.PIPE) as process:
        os.close(reading)
        feeder = threading.Thread(target=feed, args=(writing,))
        feeder.start()
        _, said = process.communicate(timeout=60)
        feeder.join(60)
    assert process.returncode == 1
    assert b"standard input: is a 7z archive; unpack it first: 7z x FILE" in said
    assert list(Path("images").iterdir()) == []


NERO = random.Random(4).randbytes(2 * MIB) + b"NER5" + bytes(8)


@pytest.mark.parametrize("data", [b"7z\xbc\xaf\x27\x1c" + bytes(600), NERO])
def test_commands_name_no_file_that_is_not_there(command: Callable[..., CommandResult], data: bytes) -> None:
    """What came by a pipe or was unpacked is no file, so the command that is advised says FILE."""
    Path("disk.gz").write_bytes(gzip.compress(data))
    Path("disk").write_bytes(data)
    for words, is_file in ((("-",), False), (("disk.gz",), False), (("disk",), True)):
        said = command("import", *words, "--id", "disk", stdin=data if words == ("-",) else None).err
        advised = "7z x {}" if data is not NERO else "nrg2iso {} disk.iso"
        assert f": {advised.format('disk' if is_file else 'FILE')} " in " ".join(said.split())


def feed(writing: int) -> None:
    """Write for ever, until nobody reads."""
    with suppress(BrokenPipeError), open(writing, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


def test_compressed_chunks_of_an_image(command: Callable[..., CommandResult]) -> None:
    """A DMG may begin with a chunk in bzip2: its end tells that it is no bzip2 file."""
    trailer = b"koly" + (4).to_bytes(4, "big") + (512).to_bytes(4, "big") + bytes(500)
    Path("disk.dmg").write_bytes(bz2.compress(DISK[:4096]) + bytes(1000) + trailer)
    said = command("import", "disk.dmg", "--id", "disk")
    assert said.status == 1
    assert "bzip2" not in said.err
    assert "dmg" in said.err


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def recorded() -> str | None:
    (entry,) = json.loads(Path("images/manifest.json").read_text())["images"]
    digest: str | None = entry.get("sha256")
    return digest


@pytest.mark.parametrize("name", RAW)
def test_digests_of_raw_disks(command: Callable[..., CommandResult], name: str) -> None:
    """The catalog records the digest of the disk; --sha256 may be that, or that of the file that is offered."""
    Path(name).write_bytes(RAW[name])
    for given in (sha256(DISK), sha256(RAW[name])):
        said = command("import", name, "--id", "disk", "--sha256", given, "--json")
        assert said.status == 0, said.err
        assert recorded() == said.json["sha256"] == sha256(DISK)
    said = command("import", name, "--id", "disk", "--sha256", sha256(b"another"))
    assert said.status == 1
    assert f"its SHA-256 is {sha256(DISK)}, not {sha256(b'another')}; nothing was imported" in said.err
    assert left_behind() == []
    assert command("import", name, "--id", "disk", "--no-sha256").status == 0
    assert recorded() is None


def test_digests_of_other_formats(
    command: Callable[..., CommandResult], qemu_img: Callable[..., str], source: Path
) -> None:
    """For another format it may be that of what came in, of what was unpacked, and of the disk."""
    qemu_img("convert", "-f", "raw", "-O", "qcow2", source, "disk.qcow2")
    data = Path("disk.qcow2").read_bytes()
    packed = gzip.compress(data, 1)
    for given in map(sha256, (packed, data, DISK)):
        with HttpServer(lambda _: answer(packed)) as server:
            said = command("import", server.url, "--id", "disk", "--sha256", given)
        assert said.status == 0, said.err
        assert recorded() == sha256(DISK)
    said = command("import", "-", "--id", "disk", "--sha256", sha256(b"another"), stdin=packed)
    assert (said.status, "the SHA-256 of the disk in it is" in said.err) == (1, True)
    assert left_behind() == []


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "disk.raw").write_bytes(DISK)
    return tmp_path / "disk.raw"


FORMATS = {
    "qcow2": ["-O", "qcow2"],
    "vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
    "vdi": ["-O", "vdi"],
    "vhd": ["-O", "vpc", "-o", "subformat=fixed,force_size=on"],
}


@pytest.mark.parametrize("form", FORMATS)
def test_other_formats(
    command: Callable[..., CommandResult], qemu_img: Callable[..., str], source: Path, form: str
) -> None:
    """Another format inside is converted from one temporary file, as one remark tells; nothing of it is left."""
    qemu_img("convert", "-f", "raw", *FORMATS[form], source, "converted")
    data = Path("converted").read_bytes()
    for name, packed in {"it.gz": gzip.compress(data, 1), "it.ova": tar("it.hdd", data)}.items():
        Path(name).write_bytes(packed)
        said = command("import", name, "--id", "disk", "--json")
        assert said.status == 0, said.err
        assert said.json["format"] == form
        assert imported()[: len(DISK)] == DISK
        assert said.err.count("a temporary file holds it") == 1
    assert left_behind() == []


def test_bomb(command: Callable[..., CommandResult]) -> None:
    """A gibibyte of zeros takes no room; what is over the limit leaves nothing."""
    compressor = lzma.LZMACompressor(preset=0)
    bomb = compressor.compress(bytes(512) + b"\x55\xaa") + b"".join(
        compressor.compress(bytes(MIB)) for _ in range(64)
    )
    Path("bomb.xz").write_bytes(bomb + compressor.flush())
    said = command("import", "bomb.xz", "--id", "disk", "--max-size", "64MiB")
    assert said.status == 1
    assert "bomb.xz: holds more than 64 MiB; if it is no bomb, allow it with --max-size SIZE" in said.err
    assert list(Path("images").iterdir()) == []
    said = command("import", "bomb.xz", "--id", "disk", "--max-size", "65MiB", "--json", "--format", "raw")
    assert said.status == 0, said.err
    assert said.json["disk_usage"] < 64 * 1024


def test_bomb_inside_an_image(command: Callable[..., CommandResult], qemu_img: Callable[..., str]) -> None:
    """The limit is true of the disk in an image too, which may be larger than its file."""
    qemu_img("create", "-f", "qcow2", "large", "100G")
    said = command("import", "-", "--id", "disk", "--max-size", "10GiB", stdin=Path("large").read_bytes())
    assert (said.status, "holds more than 10 GiB" in said.err) == (1, True)
    assert list(Path("images").iterdir()) == []


def test_full_disk(command: Callable[..., CommandResult]) -> None:
    """A disk is not filled up: the import ends before, and what it wrote is gone."""
    noise = bytes(510) + b"\x55\xaa" + random.Random(1).randbytes(30 * MIB)
    with mounted_tmpfs(Path("images"), "20m"):
        said = command("import", "-", "--id", "disk", stdin=noise)
        assert said.status == 1
        assert "the disk of the images root is too full" in said.err
        assert list(Path("images").iterdir()) == []


def test_full_disk_by_conversion(command: Callable[..., CommandResult], qemu_img: Callable[..., str]) -> None:
    """The same is true while an image is converted that grows."""
    Path("large").write_bytes(bytes(510) + b"\x55\xaa" + b"some text, again and again " * (30 * MIB // 27))
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "large", "small.qcow2")
    assert Path("small.qcow2").stat().st_size < 4 * MIB
    with mounted_tmpfs(Path("images"), "20m"):
        said = command("import", "-", "--id", "disk", stdin=Path("small.qcow2").read_bytes())
        assert said.status == 1
        assert "the disk of the images root is too full" in said.err
        assert list(Path("images").iterdir()) == []


def test_descriptor_of_a_split_disk(command: Callable[..., CommandResult], qemu_img: Callable[..., str]) -> None:
    """The names in a VMDK descriptor that comes from elsewhere lead to no file here."""
    qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicFlat", "disk.vmdk", "1M")
    for data in (Path("disk.vmdk").read_bytes(), gzip.compress(Path("disk.vmdk").read_bytes())):
        said = command("import", "-", "--id", "disk", stdin=data)
        assert said.status == 1
        assert "describes a VMDK disk of several files" in said.err


def test_not_unpacked(command: Callable[..., CommandResult]) -> None:
    """With --no-unpack an archive is the disk itself, as on a floppy; without it --format is that of the content."""
    Path("disk.img.gz").write_bytes(gzip.compress(b"no disk at all" * 999))
    assert command("import", "disk.img.gz", "--id", "disk", "--no-unpack", "--format", "raw").status == 0
    assert imported() == Path("disk.img.gz").read_bytes()
    assert command("import", "disk.img.gz", "--id", "disk", "--format", "raw").status == 0
    assert imported() == b"no disk at all" * 999


def test_chosen_member(command: Callable[..., CommandResult]) -> None:
    """Of several disks in an archive the one that is named comes in; the error that lists them names the option."""
    disks = {"vm-1.img": DISK, "vm-2.img": bootable(DISK[::-1])}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in disks.items():
            archive.writestr(name, data)
    Path("vm.zip").write_bytes(target.getvalue())
    said = command("import", "vm.zip", "--id", "disk")
    assert (said.status, "vm-1.img" in said.err, "--member NAME" in said.err) == (1, True, True)
    assert command("import", "vm.zip", "--id", "disk", "--member", "vm-2.img").status == 0
    assert imported() == disks["vm-2.img"]


@pytest.mark.parametrize(
    ("source", "more", "status", "part"),
    [
        ("disk.img", ["--member", "x"], 1, "disk.img: is no archive, so there is no member to choose"),
        ("disk.img.gz", ["--member", "x"], 1, "disk.img.gz: is no archive, so there is no member to choose"),
        ("missing.ova", ["--member", "x"], 1, "missing.ova: cannot be opened"),
        ("disk.img", ["--member", ""], 2, "is no name"),
        ("disk.img", ["--member", "x", "--no-unpack"], 2, "exclude each other"),
    ],
)
def test_member_of_no_archive(
    command: Callable[..., CommandResult], source: str, more: list[str], status: int, part: str
) -> None:
    """A member of what is no archive is a mistake, which is told before any work."""
    Path("disk.img").write_bytes(DISK)
    Path("disk.img.gz").write_bytes(gzip.compress(DISK))
    said = command("import", source, "--id", "disk", *more)
    assert (said.status, part in said.err) == (status, True), said.err
    assert list(Path("images").iterdir()) == []


@pytest.mark.parametrize("data", [RAW["disk.img.gz"][:-9], b"", gzip.compress(b""), tar("notes.txt", b"text")])
def test_refused(command: Callable[..., CommandResult], data: bytes) -> None:
    """What cannot be imported changes nothing: the entry before stays, and its file."""
    assert command("import", "-", "--id", "disk", stdin=DISK).status == 0
    before = Path("images/manifest.json").read_bytes()
    said = command("import", "-", "--id", "disk", stdin=data)
    assert said.status == 1, said.out
    assert Path("images/manifest.json").read_bytes() == before
    assert imported() == DISK
    assert left_behind() == []


def test_killed(command: Callable[..., CommandResult]) -> None:
    """A killed import leaves nothing but what the next command removes."""
    words = ("-c", "from aero_storage.cli.main import main; main()", "import", "-", "--id", "disk")
    with subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(DISK)
        process.stdin.flush()
        while not any(Path("images").rglob("content")):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    said = command("import", "-", "--id", "disk", stdin=DISK)
    assert "An interrupted command had left" in said.err
    assert imported() == DISK
    assert left_behind() == []
    assert hashlib.sha256(imported()).digest() == hashlib.sha256(DISK).digest()
