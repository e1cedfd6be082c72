"""Certificates follow their files on command; what cannot be used changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.certificates import write_certificate
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from aero_storage.errors import DiskHangsError
from aero_storage.metrics import Metrics, Registry
from aero_storage.service.certificate_renewal import CertificateRenewal
from aero_storage.service.listening.served_certificate import ServedCertificate
from aero_storage.service.listening.tls_files import TLSFiles
from aero_storage.service.listening.tls_material import TLSMaterial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# Twisted gives pyOpenSSL objects of a kind that it wants no more.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL")


class House:
    """Two certificates over files, a disk that may hang, and the log."""

    def __init__(self, place: Path) -> None:
        self.places = [place / name for name in ("one", "two")]
        for one in self.places:
            one.mkdir()
            write_certificate(one)
        self.certificates = [self.certificate(one) for one in self.places]
        self.metrics = Metrics(Registry(), "1", 0)
        self.events: list[tuple[str, str, Mapping[str, object]]] = []
        self.hangs = False
        disk: Any = self
        self.renewal = CertificateRenewal(self.certificates, disk, self.metrics, self)

    @staticmethod
    def certificate(place: Path) -> ServedCertificate:
        text = f"ssl:0:privateKey={place}/key.pem:certKey={place}/cert.pem"
        reactor: Any = MemoryReactorClock()
        endpoint: Any = serverFromString(reactor, text)
        return ServedCertificate(TLSMaterial.of(endpoint._sslContextFactory), TLSFiles.of(text))  # noqa: SLF001

    def run(self, work: Callable[[], object], *, lane: str) -> Deferred[Any]:
        """As the disk."""
        assert lane == "certificate"
        return fail(DiskHangsError("the disk does not answer")) if self.hangs else succeed(work())

    def event(self, level: str, message: str, fields: Mapping[str, object] = {}) -> None:
        self.events.append((level, message, fields))

    def renew(self) -> None:
        done: list[None] = []
        Deferred.fromCoroutine(self.renewal.renew()).addCallback(done.append)
        assert done == [None]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_each_by_itself(house: House) -> None:
    """One pair that is broken does not keep another from being renewed; each is told of and counted."""
    contexts = [certificate.getContext() for certificate in house.certificates]
    before = house.certificates[0].material
    (house.places[0] / "key.pem").unlink()
    write_certificate(house.places[1])
    house.renew()
    assert house.certificates[0].material == before
    assert house.certificates[0].getContext() is contexts[0]
    assert house.certificates[1].material.certificate == (house.places[1] / "cert.pem").read_bytes()
    assert house.certificates[1].getContext() is not contexts[1]
    told = [(level, fields["file"]) for level, _, fields in house.events]
    assert told == [("error", f"{house.places[0]}/key.pem"), ("info", f"{house.places[1]}/cert.pem")]
    assert house.metrics.counts.certificate_reloads == {("success",): 1, ("failure",): 1}


def test_unchanged(house: House) -> None:
    """Files that have not changed keep the context, with the sessions that clients may resume."""
    contexts = [certificate.getContext() for certificate in house.certificates]
    house.renew()
    assert [certificate.getContext() for certificate in house.certificates] == contexts
    assert [(message, fields["changed"]) for _, message, fields in house.events] == [
        ("certificate loaded", False)
    ] * 2


def test_disk_that_hangs(house: House) -> None:
    """A disk that does not answer is told of like a broken pair; the next command reads again."""
    house.hangs = True
    house.renew()
    reasons = {(message, fields["reason"]) for _, message, fields in house.events}
    assert reasons == {("certificate refused", "the disk does not answer")}
    house.hangs = False
    house.events.clear()
    house.renew()
    assert [message for _, message, _ in house.events] == ["certificate loaded"] * 2


def test_expiry_is_told(house: House) -> None:
    """The line of a certificate says until when it is valid."""
    house.renew()
    (_, _, fields), _ = house.events
    assert str(fields["expires"]).endswith("Z")
    assert len(str(fields["expires"])) == len("2030-01-01T00:00:00Z")
