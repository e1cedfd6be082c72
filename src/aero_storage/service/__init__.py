"""`twistd aero-storage`: the one room where everything is wired, and the only one that names the reactor."""

from aero_storage.service.daemon import makeService
from aero_storage.service.options import Options

__all__ = ["Options", "makeService"]
