"""The settings: one table, from which flags, variables, file keys, help and documentation are derived."""

from aero_storage.settings.origin_url import OriginUrl
from aero_storage.settings.rows import CONFIG, Setting
from aero_storage.settings.sources import Resolved, resolve
from aero_storage.settings.table import Settings, table
from aero_storage.settings.texts import describe, effective, markdown_table, usage
from aero_storage.settings.values import ListenAddress

__all__ = [
    "CONFIG",
    "ListenAddress",
    "OriginUrl",
    "Resolved",
    "Setting",
    "Settings",
    "describe",
    "effective",
    "markdown_table",
    "resolve",
    "table",
    "usage",
]
