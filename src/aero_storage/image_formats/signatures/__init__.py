"""Tables of files that are no raw disk: pure data. The first signature that shows counts."""

from __future__ import annotations

from aero_storage.image_formats.signatures.archives import ARCHIVES
from aero_storage.image_formats.signatures.disk_containers import DISK_CONTAINERS
from aero_storage.image_formats.signatures.files import FILES, TEXT
from aero_storage.image_formats.signatures.floppies import FLOPPIES
from aero_storage.image_formats.signatures.names import NAMES
from aero_storage.image_formats.signatures.signature import Signature

SIGNATURES: tuple[Signature, ...] = (*ARCHIVES, *DISK_CONTAINERS, *FLOPPIES, *FILES)

__all__ = ["NAMES", "SIGNATURES", "TEXT", "Signature"]
