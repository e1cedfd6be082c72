"""The watch over the lease documents: when it reads, what comes into force, what log and metrics are told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from tests.delivery.conftest import HeldDisk
from tests.lease_tokens import NOW, OCT, OKP, SECRET, b64, key_document, token_of
from twisted.internet.defer import Deferred

from aero_storage.disk import Disk
from aero_storage.http.leases.results import LeaseRefusedError
from aero_storage.lease_documents import reader as reading
from aero_storage.service.lease_documents import LeaseDocuments, read_lease_documents
from aero_storage.service.lease_reload import LeaseReloader
from aero_storage.settings import resolve

if TYPE_CHECKING:
    from tests.delivery.conftest import Bench, Drive

OTHER = {**OCT, "kid": "other", "k": b64(bytes(32))}
BROKEN = b'{"keys": ['


@attrs.define(eq=False)
class Clocks:
    """A wall clock that is far from the times of the files, and a steady one."""

    wall: float = NOW
    steady: float = 0.0


@attrs.define(eq=False)
class Watch:
    """The watch, and the two files; each change comes by a rename, and has a time of its own."""

    keys: Path
    revocations: Path
    clocks: Clocks
    bench: Bench
    drive: Drive
    changes: int = 0
    reloader: LeaseReloader = attrs.field(init=False)
    documents: LeaseDocuments = attrs.field(init=False)

    def start(self, disk: Disk | None = None) -> None:
        flags = {"lease_keys_file": [str(self.keys)], "lease_revocations_file": [str(self.revocations)]}
        settings = resolve(flags, {}, self.keys.parent).settings
        documents = read_lease_documents(settings, {}, lambda: self.clocks.wall, lambda: self.clocks.steady)
        assert documents is not None
        self.documents = documents
        bench = self.bench
        self.reloader = LeaseReloader(
            documents, disk or bench.disk, bench.metrics, bench.log, lambda: self.clocks.wall
        )

    def write(self, path: Path, data: bytes, mode: int = 0o600) -> None:
        self.changes += 1
        new = path.with_name("new")
        new.write_bytes(data)
        new.chmod(mode)
        os.utime(new, ns=(0, self.changes * 10**9))
        new.replace(path)

    def look(self, *, asked: bool = False) -> list[tuple[str, str, Mapping[str, object]]]:
        """Look once, and return what the log was told since the last look."""
        self.bench.log.events.clear()
        self.drive(self.reloader.check(asked=asked))
        return list(self.bench.log.events)

    def look_for_long(self) -> list[tuple[str, str, Mapping[str, object]]]:
        """Look until a broken file is one that is half written no more."""
        before = self.look()
        self.clocks.steady += 1.0
        return before + self.look()

    def counts(self, document: str) -> tuple[float, float]:
        name = "aero_storage_lease_reload_total"
        success, failure = (self.bench.count(name, document=document, result=one) for one in ("success", "failure"))
        return success, failure

    def verifies(self) -> bool:
        """Whether a token of the first key is good."""
        try:
            self.reloader.in_force.verifier.verify(token_of())
        except LeaseRefusedError:
            return False
        return True


@pytest.fixture
def watch(tmp_path: Path, bench: Bench, drive: Drive) -> Watch:
    """A watch over one key, and no revocation, that has looked once."""
    watch = Watch(tmp_path / "keys", tmp_path / "revocations", Clocks(), bench, drive)
    watch.write(watch.keys, key_document(OCT))
    watch.write(watch.revocations, b"")
    watch.start()
    assert watch.look() == []
    return watch


def test_first(watch: Watch) -> None:
    """The documents of the start are told to log and metrics, once each."""
    watch.bench.log.events.clear()
    watch.reloader.tell_first()
    assert watch.bench.log.events == [
        ("info", "lease keys loaded", {"keys": 1, "changed": True}),
        ("info", "lease revocations loaded", {"revocations": 0, "changed": True}),
    ]
    assert (watch.counts("keys"), watch.counts("revocations")) == ((1, 0), (1, 0))
    assert (watch.documents.keys.read_at, watch.verifies()) == (NOW, True)


def test_nothing_new(watch: Watch) -> None:
    """A look that finds nothing new tells nothing; it looks off the reactor's thread."""
    works = watch.bench.disk.works
    assert watch.look() == []
    assert watch.bench.disk.works == works + 2


def test_other_keys(watch: Watch) -> None:
    """Other keys come into force, what the former ones have verified is forgotten, and listeners are told."""
    told: list[bool] = []
    in_force = watch.reloader.in_force
    in_force.on_change.append(lambda: told.append(watch.verifies()))
    in_force.remembered.remember("token", in_force.verifier.verify(token_of()))
    watch.write(watch.keys, key_document(OTHER, OKP))
    watch.clocks.wall += 5
    assert watch.look() == [("info", "lease keys loaded", {"keys": 2, "changed": True})]
    assert told == [False]
    assert in_force.remembered.find("token") is None
    assert watch.counts("keys") == (1, 0)
    assert watch.documents.keys.read_at == NOW + 5
    assert watch.look() == []


def test_other_revocations(watch: Watch) -> None:
    """Other revocations come into force beside the same keys, also when the file loses lines."""
    watch.write(watch.revocations, b'{"jti": "lease-1"}\n')
    assert watch.look() == [("info", "lease revocations loaded", {"revocations": 1, "changed": True})]
    assert not watch.verifies()
    watch.write(watch.revocations, b"")
    watch.look()
    assert watch.verifies()


@pytest.mark.parametrize("name", ["keys", "revocations"])
def test_broken(watch: Watch, name: str) -> None:
    """A broken file never replaces a good one; it is told once, after a second, and again when it is good."""
    path: Path = getattr(watch, name)
    good = path.read_bytes()
    watch.write(path, BROKEN)
    assert watch.look() == []
    watch.clocks.steady += 1.0
    ((level, message, fields),) = watch.look()
    assert (level, message, fields["in_force"]) == ("error", f"lease {name} invalid", "the last good one")
    assert str(fields["reason"]).startswith(f"{path}: ")
    assert (watch.look(), watch.counts(name), watch.verifies()) == ([], (0, 1), True)
    watch.write(path, good)
    ((level, message, fields),) = watch.look()
    assert (level, message, fields["changed"]) == ("info", f"lease {name} loaded", False)
    assert (watch.counts(name), watch.verifies()) == ((1, 1), True)


def test_gone(watch: Watch) -> None:
    """Files that are gone leave in force what was there: no key is lost, and nothing is revoked no more."""
    watch.write(watch.revocations, b'{"jti": "lease-1"}\n')
    watch.look()
    watch.keys.unlink()
    watch.revocations.unlink()
    assert [message for _, message, _ in watch.look_for_long()] == ["lease keys invalid", "lease revocations invalid"]
    assert not watch.verifies()
    assert len(watch.reloader.in_force.verifier.keys) == 1


def test_half_written(watch: Watch) -> None:
    """A file that is good again within a second was half written, which is nobody's error."""
    watch.write(watch.keys, BROKEN)
    watch.look()
    watch.clocks.steady += 0.9
    watch.write(watch.keys, key_document(OTHER))
    assert watch.look() == [("info", "lease keys loaded", {"keys": 1, "changed": True})]
    assert watch.counts("keys") == (1, 0)


def test_no_secret_is_told(watch: Watch) -> None:
    """Neither the log of a broken file nor that of a skipped key has a byte of a secret."""
    secret = b64(SECRET)
    skipped = {"kty": "oct", "kid": "x", "k": secret, "alg": "HS512"}
    events = []
    for data in (
        key_document({**OCT, "k": secret[:20]}),
        key_document({**OCT, "k": f"{secret}="}),
        key_document(OCT)[:-9],
        key_document({"kty": "oct", "k": secret}),
        key_document(OCT, skipped),
    ):
        watch.write(watch.keys, data)
        events += watch.look_for_long()
    assert [message for _, message, _ in events[-2:]] == ["lease keys loaded", "lease key skipped"]
    assert [level for level, _, _ in events] == [*["error"] * 4, "info", "warn"]
    assert secret[:12] not in repr(events)


def test_asked(watch: Watch) -> None:
    """An operator who asks for it (SIGHUP) is told what is there, changed or not, good or broken."""
    assert [(message, fields["changed"]) for _, message, fields in watch.look(asked=True)] == [
        ("lease keys loaded", False),
        ("lease revocations loaded", False),
    ]
    watch.write(watch.keys, BROKEN)
    watch.look_for_long()
    for _ in range(2):
        messages = [message for _, message, _ in watch.look(asked=True)]
        assert messages == ["lease keys invalid", "lease revocations loaded"]
    assert watch.counts("keys") == (1, 3)


def test_the_first_look_reads(tmp_path: Path, bench: Bench, drive: Drive) -> None:
    """The first look reads files that have not changed: since the start the process may have lost its rights."""
    watch = Watch(tmp_path / "keys", tmp_path / "revocations", Clocks(), bench, drive)
    watch.write(watch.keys, key_document(OKP))
    watch.write(watch.revocations, b"")
    watch.start()
    reader = watch.documents.keys.reader
    reader.path = tmp_path / "out-of-reach"
    assert watch.look() == []
    watch.clocks.steady += 1
    ((_, message, _),) = watch.look()
    assert message == "lease keys invalid"


def test_a_retired_key_shows(watch: Watch) -> None:
    """A rotation that changes but the time of a key is seen by the gauge, and forgets no lease."""
    in_force = watch.reloader.in_force
    in_force.remembered.remember("token", in_force.verifier.verify(token_of()))
    watch.write(watch.keys, key_document({**OCT, "retired_at": NOW}))
    assert watch.look() == []
    assert watch.documents.keys.current.document.overdue(NOW + 1) == ["hs"]
    assert in_force.remembered.find("token") is not None


def test_one_look_at_a_time(watch: Watch) -> None:
    """While a disk hangs, further looks wait for the first one, and take no further thread."""
    disk = HeldDisk()
    watch.start(disk)
    looks = [Deferred.fromCoroutine(watch.reloader.check()) for _ in range(3)]
    assert len(disk.waiting) == 1
    while disk.waiting:
        disk.waiting.pop()()
    assert all(look.called for look in looks)


def test_a_defect(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception while files are read is logged, and the next look works again."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(reading.LeaseDocumentReader, "read_if_changed", fail)
        ((level, message, fields),) = watch.look()
    assert (level, message) == ("critical", "reading lease files failed")
    assert "ZeroDivisionError" in str(fields["traceback"])
    watch.write(watch.keys, key_document(OTHER))
    assert len(watch.look()) == 1
