"""The files of leases: read when they change, kept when they break, patient with one that is half written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.lease_tokens import NOW, OCT, OKP, key_document

from aero_storage.errors import LeaseDocumentError
from aero_storage.http.leases.claims import Claims
from aero_storage.http.leases.key_set import KeySet
from aero_storage.http.leases.revocations import Revocations, read_revocations
from aero_storage.http.leases.verification import LeaseRules
from aero_storage.lease_documents import files
from aero_storage.lease_documents.current import CurrentDocument, DocumentChange
from aero_storage.lease_documents.files import keys_reader, revocations_reader
from aero_storage.lease_documents.reader import LeaseDocumentReader, Reading

CLAIMS = Claims(("a",), frozenset(), NOW - 60, NOW + 900, subject="ada", identifier="one")


@attrs.define
class Clocks:
    """Two clocks: one that is set, and a steady one."""

    wall: float = NOW
    steady: float = 5.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "document"


def put(path: Path, data: bytes, clocks: Clocks, mode: int = 0o600) -> None:
    """Replace the file by a rename, as of the wall clock's time."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.chmod(mode)
    os.utime(new, (clocks.wall, clocks.wall))
    new.replace(path)


def keys_of(path: Path, clocks: Clocks) -> LeaseDocumentReader[KeySet]:
    return keys_reader(path, lambda: clocks.wall, lambda: clocks.steady)


def revocations_of(path: Path, clocks: Clocks) -> LeaseDocumentReader[Revocations]:
    return revocations_reader(path, LeaseRules(), lambda: clocks.wall, lambda: clocks.steady)


def look(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], *, force: bool = False
) -> DocumentChange:
    reading = reader.read_if_changed(force=force)
    return DocumentChange.NONE if reading is None else current.take(reading)


@pytest.fixture
def reader(path: Path, clocks: Clocks) -> LeaseDocumentReader[KeySet]:
    put(path, key_document(OCT), clocks)
    return keys_of(path, clocks)


@pytest.fixture
def current(reader: LeaseDocumentReader[KeySet], clocks: Clocks) -> CurrentDocument[KeySet]:
    current = CurrentDocument(reader.read_first())
    clocks.pass_by(10)
    return current


def test_change(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A new file is in force at the next look; the looks behind it change nothing."""
    assert look(reader, current) is DocumentChange.NONE
    put(path, key_document(OKP), clocks)
    assert look(reader, current) is DocumentChange.LOADED
    assert current.document.find("ed") is not None
    assert current.document.find("hs") is None
    clocks.pass_by(1)
    assert look(reader, current) is DocumentChange.NONE
    assert look(reader, current, force=True) is DocumentChange.NONE


def test_same_keys(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A file that says the same in other words changes nothing but what is told of keys."""
    before = current.document
    put(path, key_document(OCT | {"use": "sig", "retired_at": NOW}), clocks)
    assert look(reader, current) is DocumentChange.NONE
    assert current.document == before
    assert current.document.overdue(NOW + 1) == ["hs"]


def test_last_good_stays(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A broken file never replaces a good one; it is told once, after a second, and so is its end."""
    good = path.read_bytes()
    put(path, good[:20], clocks)
    assert look(reader, current) is DocumentChange.NONE, "it may be half written"
    clocks.pass_by(0.9)
    assert look(reader, current, force=True) is DocumentChange.NONE
    clocks.pass_by(0.1)
    assert look(reader, current) is DocumentChange.FAILED
    assert str(current.error).startswith(f"{path}: not JSON")
    clocks.pass_by(1)
    assert look(reader, current) is DocumentChange.NONE
    assert current.document.find("hs") is not None
    put(path, good, clocks)
    assert look(reader, current) is DocumentChange.RECOVERED
    assert current.error is None


def test_other_error(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A file that is broken in another way now is told again."""
    put(path, b"x", clocks)
    look(reader, current)
    clocks.pass_by(1)
    assert look(reader, current) is DocumentChange.FAILED
    put(path, key_document(), clocks)
    assert look(reader, current) is DocumentChange.FAILED
    assert "no usable key" in str(current.error)


def test_half_written(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A file that is written in place and whole within a second is no error, and is in force then."""
    whole = key_document(OCT, OKP)
    with path.open("wb") as file:
        file.write(whole[:50])
        file.flush()
        assert look(reader, current) is DocumentChange.NONE
        clocks.pass_by(0.9)
        file.write(whole[50:])
    assert look(reader, current) is DocumentChange.LOADED
    assert len(current.document) == 2
    put(path, b"x", clocks)
    clocks.pass_by(0.5)
    assert look(reader, current) is DocumentChange.NONE, "the second begins anew"


def test_broken_file_is_not_read_again(path: Path, clocks: Clocks) -> None:
    """A broken file that is told and settled is looked at, and not read at every look."""
    reads: list[float] = []

    def parse(_file: object, _status: object, now: float) -> str:
        reads.append(now)
        raise LeaseDocumentError("broken")

    put(path, b"x", clocks)
    reader = LeaseDocumentReader[str](path, parse, lambda: clocks.wall, lambda: clocks.steady)
    found = []
    for _ in range(20):
        clocks.pass_by(0.5)
        found.append(reader.read_if_changed())
    assert [reading is not None for reading in found[:3]] == [False, False, True]
    assert len(reads) <= 6
    assert reader.read_if_changed(force=True) is not None


def test_missing(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """A file that is missing for a moment is no error; for longer it is one, and the keys stay."""
    good = path.read_bytes()
    path.unlink()
    assert look(reader, current) is DocumentChange.NONE
    put(path, good, clocks)
    assert look(reader, current) is DocumentChange.NONE
    path.unlink()
    look(reader, current)
    clocks.pass_by(1)
    assert look(reader, current) is DocumentChange.FAILED
    assert "No such file" in str(current.error)
    assert len(current.document) == 1


def test_unsettled(path: Path, clocks: Clocks) -> None:
    """While a file is young it is read at every look: it may change under the same size and times."""
    put(path, key_document(OCT), clocks)
    clocks.wall = path.stat().st_ctime
    os.utime(path, (clocks.wall, clocks.wall))
    reader = keys_of(path, clocks)
    reader.read_first()
    clocks.pass_by(1)
    assert reader.read_if_changed() == Reading(None), "read, with the same content"
    clocks.pass_by(3)
    assert reader.read_if_changed() == Reading(None)
    assert reader.read_if_changed() is None


@pytest.mark.parametrize(
    ("data", "mode", "reason"),
    [
        (b"", 0o600, "not JSON"),
        (key_document(OCT), 0o604, "chmod o-r"),
        (key_document(OCT, OKP), 0o644, "chmod o-r"),
        (key_document(OKP | {"d": "AA"}), 0o600, "1 bytes"),
        (b" " * (2 << 20), 0o600, "longer than"),
    ],
)
def test_broken_at_the_start(path: Path, clocks: Clocks, data: bytes, mode: int, reason: str) -> None:
    """At the start a broken file is an error at once, by its name."""
    put(path, data, clocks, mode)
    with pytest.raises(LeaseDocumentError) as caught:
        keys_of(path, clocks).read_first()
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_no_file_at_the_start(path: Path, clocks: Clocks) -> None:
    """So is none, and what is no regular file; a pipe that nobody writes to does not stop us."""
    with pytest.raises(LeaseDocumentError, match="No such file"):
        keys_of(path, clocks).read_first()
    os.mkfifo(path)
    with pytest.raises(LeaseDocumentError, match="regular"):
        keys_of(path, clocks).read_first()
    with pytest.raises(LeaseDocumentError, match="directory"):
        keys_of(path.parent, clocks).read_first()


@pytest.mark.parametrize(("data", "mode"), [(key_document(OKP), 0o644), (key_document(OCT), 0o640)])
def test_modes_that_are_fit(path: Path, clocks: Clocks, data: bytes, mode: int) -> None:
    """Public keys may be read by all, secrets by a group."""
    put(path, data, clocks, mode)
    assert len(keys_of(path, clocks).read_first()) == 1


def test_secrets_that_become_readable(
    reader: LeaseDocumentReader[KeySet], current: CurrentDocument[KeySet], path: Path, clocks: Clocks
) -> None:
    """Secrets that are laid open later are an error too, and good again when they are closed; the keys stay."""
    path.chmod(0o644)
    look(reader, current)
    clocks.pass_by(1)
    assert look(reader, current) is DocumentChange.FAILED
    path.chmod(0o600)
    assert look(reader, current) is DocumentChange.RECOVERED


def test_revocations(path: Path, clocks: Clocks) -> None:
    """Revocations are read likewise; a change of one line is in force at the next look."""
    put(path, b'{"jti":"one"}\n', clocks, 0o644)
    reader = revocations_of(path, clocks)
    current = CurrentDocument(reader.read_first())
    assert current.document.revoke("", CLAIMS)
    clocks.pass_by(10)
    reading = reader.read_if_changed(force=True)
    assert reading is not None
    assert current.take(reading) is DocumentChange.NONE, "the same content is not parsed again"
    put(path, b'{"jti":"two"}\n', clocks, 0o644)
    reading = reader.read_if_changed()
    assert reading is not None
    assert current.take(reading) is DocumentChange.LOADED
    assert not current.document.revoke("", CLAIMS)


@attrs.define
class CountedLines:
    """Parses revocations, and counts the lines that it was given."""

    lines: int = 0

    def __call__(self, *args: Any, **more: Any) -> Revocations:
        lines = [*args[0]]
        self.lines += len(lines)
        return read_revocations(lines, *args[1:], **more)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> CountedLines:
    counted = CountedLines()
    monkeypatch.setattr(files, "read_revocations", counted)
    return counted


def test_only_new_lines_are_parsed(path: Path, clocks: Clocks, counted: CountedLines) -> None:
    """Of a file that has grown the new lines are parsed, in place or by a rename; a fault is told with its line."""
    lines = b"".join(b'{"jti":"%d"}\n' % number for number in range(100))
    put(path, lines, clocks)
    reader = revocations_of(path, clocks)
    first = reader.read_first()
    put(path, lines + b'{"jti":"one"}\n', clocks)
    reading = reader.read_if_changed()
    assert reading is not None
    assert reading.document is not None
    assert reading.document.revoke("", CLAIMS)
    assert (len(reading.document), counted.lines) == (101, 101)
    assert (len(first), first.revoke("", CLAIMS)) == (100, False), "the former ones stay as they are"
    with path.open("ab") as file:
        file.write(b"\n{}\n")
    assert reader.read_if_changed() is None
    clocks.pass_by(1)
    reading = reader.read_if_changed()
    assert reading is not None
    assert "line 103: " in str(reading.error)


@pytest.mark.parametrize("ago", [86400 + 30 + 3590, 86400 + 30 + 3610])
def test_new_lines_are_dropped_as_others(path: Path, clocks: Clocks, ago: int) -> None:
    """Of the new lines those are dropped that a first reading drops, too: no response goes on that they hit."""
    line = b'{"sub":"ada","before":%d}\n' % (NOW - ago)
    put(path, b'{"jti":"one"}\n', clocks)
    rules = LeaseRules(stream_grace=3600)
    reader, other = (revocations_reader(path, rules, lambda: clocks.wall, lambda: clocks.steady) for _ in range(2))
    reader.read_first()
    put(path, b'{"jti":"one"}\n' + line, clocks)
    reading = reader.read_if_changed()
    assert reading is not None
    assert reading.document is not None
    assert len(reading.document) == len(other.read_first()) == (2 if ago < 86400 + 30 + 3600 else 1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"jti":"a"}\n{"jti":"b"}\n', b'{"jti":"c"}\n{"jti":"b"}\n{"jti":"d"}\n'),
        (b'{"jti":"a"}\n{"jti":"b"}\n', b'{"jti":"a"}\n'),
        (b'{"jti":"a"} ', b'{"jti":"a"} \n{"jti":"b"}\n'),
        (b"", b'{"jti":"b"}\n'),
    ],
)
def test_other_files_are_parsed_as_a_whole(
    path: Path, clocks: Clocks, counted: CountedLines, before: bytes, after: bytes
) -> None:
    """A file that does not begin with the whole lines of the former one is parsed from its first line on."""
    put(path, before, clocks)
    reader = revocations_of(path, clocks)
    reader.read_first()
    counted.lines = 0
    put(path, after, clocks)
    reading = reader.read_if_changed()
    assert reading is not None
    assert reading.document is not None
    assert counted.lines == after.count(b"\n") == len(reading.document)


LINES = st.lists(st.sampled_from([b'{"jti":"one"}', b'{"sub":"ada","before":%d}' % NOW, b'{"kid":"k"}', b"", b"{}"]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(LINES, st.booleans(), st.booleans()), min_size=2, max_size=5))
def test_however_a_file_grows(tmp_path: Path, steps: list[tuple[list[bytes], bool, bool]]) -> None:
    """Read step by step a file means the same as read at once, or is as broken."""
    clocks, path = Clocks(), tmp_path / "document"
    put(path, b"", clocks)
    reader, data = revocations_of(path, clocks), b""
    current = CurrentDocument(reader.read_first())
    for lines, is_new, is_ended in steps:
        data = (b"" if is_new else data) + b"\n".join(lines) + (b"\n" if is_ended else b"")
        put(path, data, clocks)
        for _ in range(2):
            reading = reader.read_if_changed(force=True)
            if reading is not None:
                current.take(reading)
            clocks.pass_by(1)
        assert str(current.error) == str(told_of(path, clocks))
        reading = revocations_of(path, clocks).read_if_changed()
        if reading is not None and reading.document is not None:
            assert len(current.document) == len(reading.document)
            for kid in ("k", "other"):
                assert current.document.revoke(kid, CLAIMS) == reading.document.revoke(kid, CLAIMS)


def told_of(path: Path, clocks: Clocks) -> LeaseDocumentError | None:
    """The error of a file that is read for the first time."""
    try:
        revocations_of(path, clocks).read_first()
    except LeaseDocumentError as error:
        return error
    return None


def test_empty_revocations(path: Path, clocks: Clocks) -> None:
    """An empty file revokes nothing; a line without an end, or too long, is refused at its place."""
    put(path, b"", clocks)
    assert len(revocations_of(path, clocks).read_first()) == 0
    put(path, b'{"jti":"one"}\n' + b"x" * 20_000, clocks)
    with pytest.raises(LeaseDocumentError, match="line 2: longer than"):
        revocations_of(path, clocks).read_first()


def test_old_revocations_come_back(path: Path, clocks: Clocks) -> None:
    """A line is dropped when no lease can live that it hits; when the clock is set back it counts again."""
    put(path, b'{"sub":"ada","before":%d}\n' % NOW, clocks)
    clocks.wall = NOW + 86400 + 31
    reader = revocations_of(path, clocks)
    current = CurrentDocument(reader.read_first())
    assert len(current.document) == 0
    clocks.pass_by(10)
    reader.read_if_changed()
    assert reader.read_if_changed() is None
    clocks.wall = NOW
    reading = reader.read_if_changed()
    assert reading is not None
    assert current.take(reading) is DocumentChange.LOADED
    assert current.document.revoke("", CLAIMS)
