"""The twistd plugin: makes a service, bound to its addresses, from a parsed command line."""

from __future__ import annotations

import attrs
from twisted.internet.posixbase import PosixReactorBase

from aero_storage.errors import SettingsError
from aero_storage.linux.descriptor_limit import raise_limit
from aero_storage.linux.malloc import limit_arenas
from aero_storage.linux.sd_notify import service_manager
from aero_storage.service.composition import compose
from aero_storage.service.daemon import AeroService
from aero_storage.service.direct_reads import read_directly
from aero_storage.service.disk_pools import make_disk_pools
from aero_storage.service.lease_documents import read_lease_documents
from aero_storage.service.listening.endpoints import listen
from aero_storage.service.monotonic_clock import use_monotonic_clock
from aero_storage.service.options import Options, prepare_images_root, refuse
from aero_storage.service.parent import ParentService, number_of_workers, supervise
from aero_storage.service.twisted_internals import check_internals
from aero_storage.settings import OriginUrl, effective

__all__ = ["Options", "makeService"]


def makeService(options: Options, reactor: PosixReactorBase | None = None) -> AeroService | ParentService:
    """Return the service of a parsed command line, bound to its addresses, not yet started.

    Raises SystemExit with one line if the images root, a file of leases or an address cannot be used.
    """
    if reactor is None:
        from twisted.internet import reactor as installed  # noqa: PLC0415 - a dropin must not install one early

        reactor = installed  # type: ignore[assignment]
    assert reactor is not None  # noqa: S101
    try:
        return make_service(options, reactor)
    except SettingsError as error:
        refuse(error)


def make_service(options: Options, reactor: PosixReactorBase) -> AeroService | ParentService:
    """Return the service of settled options, bound to its addresses, not yet started. Raises SettingsError."""
    use_monotonic_clock(reactor)
    limit_arenas()
    resolved = options.resolved
    raise_limit(reactor)
    check_internals()
    read_directly(reactor)
    claim = prepare_images_root(resolved, options.environ)
    service = _service_of(options, reactor)
    # With workers the parent says it, once for all of them.
    options.log.event("info", "settings", {"settings": effective(resolved)})
    service.claim = claim
    return service


def _service_of(options: Options, reactor: PosixReactorBase) -> AeroService | ParentService:
    resolved = options.resolved
    documents = read_lease_documents(resolved.settings, resolved.origins)  # each worker reads them, too
    workers = number_of_workers(resolved.settings)
    if workers > 1:
        return supervise(options, reactor, workers)
    pools = make_disk_pools(reactor, for_origin=isinstance(resolved.settings.images_root, OriginUrl))
    parts = compose(resolved.settings, reactor, pools, options.log, options.environ, documents=documents)
    parts = attrs.evolve(parts, listening=listen(reactor, parts.site, resolved, parts.sending))
    return AeroService(parts, service_manager(options.environ, reactor, options.log))
