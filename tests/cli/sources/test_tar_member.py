"""A disk out of a tar archive: real ones, by Python's tarfile and by GNU tar, and hostile ones."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.cli.sources.streams import all_of, in_pieces

from aero_storage.cli.sources.members import Choice
from aero_storage.cli.sources.tar_member import is_tar, tar_disk
from aero_storage.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DISK = b"KDMV" + random.Random(3).randbytes(300_000)
OVF = b"<?xml version='1.0'?><Envelope/>"
FORMATS = pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
BLOCK = tarfile.BLOCKSIZE
ONLY_DISK = Choice()


def tar(*members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in members:
            header = tarfile.TarInfo(name) if isinstance(name, str) else name
            header.size = len(data) if header.isreg() else 0
            archive.addfile(header, io.BytesIO(data))
    return target.getvalue()


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.size, one.linkname = kind, size, link
    return one


def only(data: bytes, piece: int = 1 << 16, choice: Choice = ONLY_DISK) -> tuple[str, bytes]:
    assert is_tar(data[:BLOCK])
    member = tar_disk("IT", in_pieces(data, piece), choice)
    content = all_of(member.stream, 1 << 16)
    assert len(content) == member.size
    return member.name, content


def complaint(data: bytes, choice: Choice = ONLY_DISK) -> str:
    with pytest.raises(OperatorError) as caught:
        only(data, choice=choice)
    return str(caught.value)


@FORMATS
def test_ova(form: int) -> None:
    """The disk of an OVA is found between its description, its manifest and its certificate."""
    data = tar(("vm.ovf", OVF), ("vm-disk1.vmdk", DISK), ("vm.mf", b"SHA1(vm.ovf)= 00"), form=form)
    assert only(data) == ("vm-disk1.vmdk", DISK)
    assert only(data, piece=777) == ("vm-disk1.vmdk", DISK)


@FORMATS
def test_long_names(form: int) -> None:
    """Names of other headers (GNU, PAX) are read."""
    name = "/".join(["directory"] * 12) + "/disk.img" if form == tarfile.USTAR_FORMAT else "é" * 200 + ".img"
    assert only(tar((name, DISK), form=form)) == (name, DISK)


def test_disk_by_its_content() -> None:
    """A disk without a suffix is known by its content, and a text with a similar name is none."""
    boot = bytes(510) + b"\x55\xaa" + bytes(1000)
    assert only(tar(("disk.img.txt", b"notes"), ("disk", boot))) == ("disk", boot)


def test_compressed_member() -> None:
    """A compressed disk counts by the name below its suffix."""
    assert only(tar(("initrd.gz", b"\x1f\x8b\x08\0"), ("disk.img.gz", b"\x1f\x8b\x08\0 it")))[0] == "disk.img.gz"


def test_litter_of_macos() -> None:
    """The small files that macOS lays beside each file are no disks."""
    data = tar(("._disk.img", b"litter"), ("__MACOSX/disk.img", b"litter"), ("disk.img", DISK))
    assert only(data) == ("disk.img", DISK)


def test_no_disk() -> None:
    """The message lists what there is, without control characters, cut to a few."""
    members = [(f"notes-{n}\x1b[2J.txt", b"text") for n in range(40)]
    said = complaint(tar(*members))
    assert said.startswith("IT: holds no disk image, but notes-0\\x1b[2J.txt (4 B), notes-1\\x1b[2J.txt (4 B), ")
    assert said.endswith(" and 30 more; unpack it, and import the image")


@pytest.mark.parametrize("between", [(), (("notes.txt", b"x" * 9999),)])
def test_two_disks(between: tuple[tuple[str, bytes], ...]) -> None:
    """That there is a second disk is found at the end of the first one, before it counts as read."""
    data = tar(("one.vmdk", DISK), *between, ("two.vmdk", DISK + b"2"))
    assert complaint(data) == (
        "IT: holds more than one disk image: one.vmdk (293 KiB), two.vmdk (293 KiB); "
        "say which one is wanted: --member NAME"
    )


@pytest.mark.parametrize("wanted", ["a/one.vmdk", "a/two.vmdk", "two.vmdk", "notes.txt"])
def test_chosen_member(wanted: str) -> None:
    """The member that is named is taken, by its whole name or by the last part, whatever else is there."""
    members = {"a/one.vmdk": DISK, "notes.txt": b"notes", "a/two.vmdk": DISK + b"2", "z.img": DISK}
    assert only(tar(*members.items()), choice=Choice(wanted)) in {
        (name, data) for name, data in members.items() if name.endswith(wanted)
    }


@pytest.mark.parametrize("top", ["one.img", "./one.img"])
@pytest.mark.parametrize("is_first", [False, True])
def test_chosen_member_at_the_top(top: str, *, is_first: bool) -> None:
    """A file at the top of the archive can be chosen, also where one in a folder has its name."""
    members = [("a/one.img", DISK + b"2"), (top, DISK)]
    data = tar(*(reversed(members) if is_first else members))
    assert only(data, choice=Choice("./one.img")) == (top, DISK)


def test_chosen_member_that_is_not_there() -> None:
    """A name that no file has is told of with the names that there are, as is one that two files have."""
    data = tar(("a/one.vmdk", DISK), ("b/one.vmdk", DISK), (header("link.img", tarfile.SYMTYPE, link="x"), b""))
    there = "a/one.vmdk (293 KiB), b/one.vmdk (293 KiB)"
    assert complaint(data, Choice("two\x1b.img")) == f"IT: holds no file two\\x1b.img; its disk images: {there}"
    assert complaint(data, Choice("link.img")) == f"IT: holds no file link.img; its disk images: {there}"
    assert complaint(data, Choice("one.vmdk")) == (
        f"IT: holds more than one file one.vmdk; name it with its folder, ./ for the top; its disk images: {there}"
    )
    assert (
        complaint(tar(("n.txt", b"x")), Choice("y")) == "IT: holds no file y; its disk images: none, but n.txt (1 B)"
    )


@pytest.mark.parametrize("where", ["before", "behind"])
def test_many_bytes_of_others(where: str) -> None:
    """The members that are no disk are bounded in bytes too: an archive cannot go on for ever beside its disk."""
    others = [(f"{n}.txt", bytes(1000)) for n in range(1100)]
    disk = ("disk.img", DISK)
    good, bad, choice = others[:1000], others, Choice(most_others=1 << 20)
    assert only(tar(*good, disk) if where == "before" else tar(disk, *good), choice=choice) == disk
    data = tar(*bad, disk) if where == "before" else tar(disk, *bad)
    assert complaint(data, choice).startswith(
        "IT: holds more than 1 MiB beside the disk; if it is no bomb, allow it with"
    )


def test_links_and_devices_are_no_disks() -> None:
    """Nothing but a regular file is a disk, whatever it is called and wherever it leads to."""
    others = (
        header("a.img", tarfile.SYMTYPE, link="/etc/passwd"),
        header("b.img", tarfile.LNKTYPE, link="../../etc/shadow"),
        header("c.img", tarfile.CHRTYPE),
        header("d.img", tarfile.FIFOTYPE),
        header("e.img", tarfile.DIRTYPE),
        header("f.img"),
    )
    data = tar(*((one, b"") for one in others), ("/absolute/../../disk.img", DISK))
    assert only(data) == ("/absolute/../../disk.img", DISK)


@FORMATS
def test_cut_short(form: int) -> None:
    """An archive that is cut short anywhere is an error, between two members and before its end too."""
    data = tar(("vm.ovf", OVF), ("disk.vmdk", DISK), ("vm.mf", b"digest"), form=form)
    end = len(data) - data[::-1].index(b"t"[0:1])  # behind the last text
    blocks = range(BLOCK, end // BLOCK * BLOCK + BLOCK + 1, BLOCK)
    for length in (BLOCK + 100, *blocks[-3:], *blocks[:3], len(DISK)):
        assert complaint(data[:length]) == "IT: the tar archive is damaged: it is cut short; copy it here again"


def test_damaged_header() -> None:
    """A damaged header is an error, and not the end of the archive: a second disk could follow."""
    data = bytearray(tar(("one.vmdk", DISK), ("two.vmdk", DISK), form=tarfile.USTAR_FORMAT))
    second = BLOCK + (len(DISK) + BLOCK - 1) // BLOCK * BLOCK
    assert data[second : second + 8] == b"two.vmdk"
    data[second + 130] ^= 0x3
    assert "the tar archive is damaged: " in complaint(bytes(data))


def test_record_without_length() -> None:
    """A record that tarfile takes for the end of the archive, without a word, is an error."""
    start = tar(("vm.ovf", OVF), form=tarfile.USTAR_FORMAT)[: 2 * BLOCK]
    pax = header("x", tarfile.XHDTYPE, size=9).tobuf(tarfile.USTAR_FORMAT) + b"0 path=x\n".ljust(BLOCK, b"\0")
    data = start + pax + tar(("disk.img", DISK), form=tarfile.USTAR_FORMAT)
    assert complaint(data) == "IT: the tar archive is damaged: a header is wrong; copy it here again"


def test_second_archive_behind_it() -> None:
    """An archive behind the archive is an error, though tar ignores it: it could hold another disk."""
    data = tar(("one.vmdk", DISK))
    assert complaint(data + data) == (
        "IT: the tar archive is damaged: something else follows its end; copy it here again"
    )
    assert only(data + bytes(1 << 20)) == ("one.vmdk", DISK)


def test_padding_without_end() -> None:
    """Zeros behind the archive have a limit, so that a source without an end is given up."""
    assert "more than 64 MiB of zeros follow its end" in complaint(tar(("one.vmdk", DISK)) + bytes(65 << 20))


def test_endless_member() -> None:
    """A member that claims to be longer than all disks is cut short, and found to be so at once."""
    for name in ("disk.img", "notes.txt"):
        long = header(name, size=1 << 62).tobuf(tarfile.GNU_FORMAT)
        assert "it is cut short" in complaint(long + bytes(100_000), Choice(most_others=1 << 63))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_endless_record(kind: bytes) -> None:
    """A record that claims to have gigabytes is not read into memory."""
    start = tar(("vm.ovf", OVF), form=tarfile.USTAR_FORMAT)[: 2 * BLOCK]
    data = start + header("x", kind, size=1 << 33).tobuf(tarfile.GNU_FORMAT) + bytes(100_000)
    assert "the names or attributes of its members are too long" in complaint(data)


def test_negative_size() -> None:
    """A negative size, which leads older versions of tarfile back and round for ever, is an error."""
    start = tar(("vm.ovf", OVF), form=tarfile.USTAR_FORMAT)[: 2 * BLOCK]
    record = b"15 size=-99999\n"
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE):
        pax = header("x", kind, size=len(record)).tobuf(tarfile.USTAR_FORMAT) + record.ljust(BLOCK, b"\0")
        name = header("disk.img", size=512).tobuf(tarfile.USTAR_FORMAT)
        assert "damaged" in complaint(start + pax + name + bytes(20_000))
    back = header("disk.img", size=0)
    raw = bytearray(back.tobuf(tarfile.GNU_FORMAT))
    raw[124:136] = b"\xff" * 12  # -1
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + sum(raw[156:]) + 8 * 32)
    assert "damaged" in complaint(start + bytes(raw) + bytes(20_000))


def test_headers_without_end() -> None:
    """Headers that lead to further headers end with an error."""
    start = tar(("vm.ovf", OVF), form=tarfile.USTAR_FORMAT)[: 2 * BLOCK]
    pax = header("x", tarfile.XHDTYPE, size=15).tobuf(tarfile.USTAR_FORMAT) + b"15 comment=abc\n".ljust(BLOCK, b"\0")
    assert "damaged" in complaint(start + pax * 20_000)


def test_sparse_map_without_end() -> None:
    """The map of a sparse file that goes on and on is not kept in memory."""
    raw = bytearray(header("disk.img", tarfile.GNUTYPE_SPARSE, size=512).tobuf(tarfile.GNU_FORMAT))
    raw[482] = 1  # the map goes on
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + sum(raw[156:]) + 8 * 32)
    block = b"00000001000\x0000000000001\0" * 21 + b"\1" + bytes(7)
    assert len(block) == BLOCK
    assert "a header of a member is too long" in complaint(bytes(raw) + block * 20_000)


def test_many_members() -> None:
    """An archive of very many members is refused, before its list takes much memory."""
    one = tar(("notes.txt", b""), form=tarfile.USTAR_FORMAT)[:BLOCK]
    assert "has more than 10,000 members" in complaint(one * 10_050 + bytes(BLOCK * 2))


def test_garbage_is_no_archive() -> None:
    """The mark alone makes no archive: the checksum of the header has to be right."""
    data = bytearray(tar(("disk.img", DISK)))
    data[10] ^= 1
    assert not is_tar(bytes(data[:BLOCK]))
    assert not is_tar(b"ustar")


@pytest.mark.parametrize("style", ["oldgnu", "0.0", "0.1", "1.0"])
def test_sparse_member(tmp_path: Path, style: str, require_tool: Callable[..., str]) -> None:
    """GNU tar leaves holes out, as archives for Google's cloud have it; they come back as zeros."""
    program = require_tool("tar", package="tar")
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(8 << 20)
        for offset in range(0, 8 << 20, 1 << 18):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(5000))
    form = ["--format=oldgnu"] if style == "oldgnu" else ["--format=posix", f"--sparse-version={style}"]
    archive = tmp_path / "it.tar"
    subprocess.run([program, "-C", tmp_path, "-cSf", archive, *form, "disk.raw"], check=True, timeout=60)
    assert archive.stat().st_size < 1 << 20
    assert only(archive.read_bytes())[1] == disk.read_bytes()


def test_sparse_map_in_disorder() -> None:
    """A map that goes back and forth is refused: reading it could take days."""
    data = b"GNU.sparse.map=0,1,0,1,0,1\n"
    record = f"{len(data) + 3} ".encode() + data
    size = b"22 GNU.sparse.size=10\n"
    extra = record + size
    pax = header("x", tarfile.XHDTYPE, size=len(extra)).tobuf(tarfile.USTAR_FORMAT) + extra.ljust(BLOCK, b"\0")
    file = header("disk.img", size=3).tobuf(tarfile.USTAR_FORMAT) + b"abc".ljust(BLOCK, b"\0")
    assert "the map of a sparse member is wrong" in complaint(pax + file + bytes(2 * BLOCK))
