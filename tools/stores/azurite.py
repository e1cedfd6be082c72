"""Azurite, the emulator of Azure Blob: one process of Node.js that keeps everything in memory.

`make stores` installs it (npm); Node.js comes from Debian (`nodejs`).
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.stores.access import AzureAccess
from tools.stores.processes import LOOPBACK, StoreError, answers, free_ports, processes
from tools.stores.signing import AzureKey

PROGRAM = Path(__file__).parents[2] / ".venv/azurite/node_modules/.bin/azurite-blob"
ACCOUNT = "aero"


def missing() -> str | None:
    """Say what is not installed."""
    if shutil.which("node") is None:
        return "node is not installed (Debian: apt-get install nodejs npm)"
    return None if PROGRAM.exists() else "Azurite is not installed (make stores)"


@contextlib.contextmanager
def azurite(home: Path) -> Iterator[AzureAccess]:
    """Run Azurite below a directory that does not exist yet."""
    if reason := missing():
        raise StoreError(reason)
    (port,) = free_ports(1)
    key = AzureKey(ACCOUNT, base64.b64encode(secrets.token_bytes(32)).decode())
    place = ["--blobHost", LOOPBACK, "--blobPort", str(port), "--inMemoryPersistence"]
    with processes(home) as started:
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "AZURITE_ACCOUNTS": f"{key.account}:{key.secret}"}
        started.start("azurite", [PROGRAM, *place, "--disableTelemetry", "--silent"], environment)
        started.until(lambda: answers(port), "Azurite")
        yield AzureAccess(f"http://{LOOPBACK}:{port}/{ACCOUNT}", key)
