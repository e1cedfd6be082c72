"""The certificate that an `ssl:` endpoint presents to new connections. It can be replaced while the port is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

if TYPE_CHECKING:  # pyOpenSSL is an extra; with such endpoints it is installed
    from OpenSSL.SSL import Context

    from aero_storage.service.listening.tls_files import TLSFiles
    from aero_storage.service.listening.tls_material import TLSMaterial


@implementer(IOpenSSLContextFactory)
@attrs.define(eq=False)
class ServedCertificate:
    """A context factory: Twisted asks it for each new connection. A connection keeps the context it began with."""

    material: TLSMaterial
    files: TLSFiles | None = None
    """Where the material is read anew; None in a worker, whose parent reads."""
    _context: Context | None = attrs.field(init=False, default=None)

    def for_worker(self) -> ServedCertificate:
        """Return one with the present material that can be sent to another process."""
        return ServedCertificate(self.material)

    def getContext(self) -> Context:
        """Return OpenSSL's context of the present material, made once."""
        if self._context is None:
            self._context = self.material.context()
        return self._context

    def replace(self, material: TLSMaterial) -> None:
        """Present another certificate from now on. Raises an exception, and changes nothing, if it cannot be used."""
        if material != self.material:
            self._context = material.context()
            self.material = material
