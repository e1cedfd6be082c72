"""The key and the self-signed certificate of a server that is measured over TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY, CERTIFICATE = "key.pem", "cert.pem"


def write(directory: Path) -> None:
    """Write both into a directory. A key for P-256 is what public authorities sign most."""
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1")
    named = ("-subj", "/CN=localhost", "-keyout", KEY, "-out", CERTIFICATE)
    subprocess.run(["openssl", *made, *named], cwd=directory, capture_output=True, check=True)
