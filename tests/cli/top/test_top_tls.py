"""`aero-storage top` over TLS, beside the real daemon with a certificate of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.blackbox.harness import running
from tests.blackbox.image_roots import small_root
from tests.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = str(Path(sys.executable).with_name("aero-storage"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls")
    write_certificate(place)
    small_root(place / "images")
    return place


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    """The port of the daemon, with TLS; the harness asks the first one, which is plain."""
    tls = "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"
    with running(home, "--endpoint", "tcp:0:interface=127.0.0.1", "--endpoint", tls) as daemon:
        addresses = [line["address"] for line in daemon.lines() if line["message"] == "listening"]
        yield int(addresses[-1].rpartition(":")[2])


def top(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "top", "--once", "--interval", "0.2", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("flags", [("--ca-file", "cert.pem"), ("--insecure",)])
def test_looks_over_tls(home: Path, port: int, flags: tuple[str, ...]) -> None:
    """The certificate of an own authority is trusted where it is named, and any one with --insecure."""
    done = top(f"https://localhost:{port}", *(home / flag if flag == "cert.pem" else flag for flag in flags))
    assert (done.returncode, done.stderr) == (0, "")
    assert "places       0 of 64 taken" in done.stdout


def test_certificates_that_are_not_trusted(home: Path, port: int) -> None:
    """An unknown authority, and another name, are told as such, with the option that helps."""
    done = top(f"https://localhost:{port}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"the certificate of https://localhost:{port} is not trusted: self-signed certificate" in done.stderr
    assert "--ca-file FILE" in done.stderr
    done = top(f"https://127.0.0.1:{port}", "--ca-file", home / "cert.pem")
    assert (done.returncode, "IP address mismatch" in done.stderr, done.stderr.count("\n")) == (1, True, 1)
    assert "use the host's name in the URL that it is for" in done.stderr


def test_plain_and_tls_mixed_up(port: int, home: Path) -> None:
    """A URL of the other scheme, and a file that has no certificates, are told in one line."""
    done = top(f"http://localhost:{port}")
    assert (done.returncode, "is it an https:// URL?" in done.stderr, done.stderr.count("\n")) == (1, True, 1), done
    done = top(f"https://localhost:{port}", "--ca-file", home / "key.pem")
    assert (done.returncode, "key.pem has no certificates in PEM" in done.stderr) == (1, True), done
