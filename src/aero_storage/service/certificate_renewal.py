"""Reads the certificates of `ssl:` endpoints anew, on SIGHUP (docs/how-to/tls.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import DeferredLock

from aero_storage.disk import Disk
from aero_storage.errors import CertificateError, DiskHangsError
from aero_storage.logs.json_log import EventLog
from aero_storage.metrics import Metrics
from aero_storage.service.listening.served_certificate import ServedCertificate

if TYPE_CHECKING:
    from aero_storage.service.listening.tls_files import TLSFiles


@attrs.define(eq=False)
class CertificateRenewal:
    """Has each certificate follow its files; a pair that cannot be used leaves the one before in place."""

    _certificates: Sequence[ServedCertificate]
    _disk: Disk
    _metrics: Metrics
    _log: EventLog
    _one_at_a_time: DeferredLock = attrs.field(init=False, factory=DeferredLock)

    async def renew(self) -> None:
        """Read the files of all certificates."""
        await self._one_at_a_time.acquire()
        try:
            for certificate in self._certificates:
                if certificate.files is not None:
                    await self._renew(certificate, certificate.files)
        finally:
            self._one_at_a_time.release()

    async def _renew(self, certificate: ServedCertificate, files: TLSFiles) -> None:
        before = certificate.material
        try:
            read = await self._disk.run(partial(files.read, before), lane="certificate")
            certificate.replace(read)
        except CertificateError as error:
            self._refused(error.path, error.reason)
        except DiskHangsError as error:
            self._refused(files.certificate, str(error))
        else:
            self._metrics.certificate_loaded()
            fields = {"file": str(files.certificate), "expires": read.expires, "changed": read != before}
            self._log.event("info", "certificate loaded", fields)

    def _refused(self, path: Path, reason: str) -> None:
        self._metrics.certificate_failed()
        fields = {"file": str(path), "reason": reason, "serving": "the one before"}
        self._log.event("error", "certificate refused", fields)
