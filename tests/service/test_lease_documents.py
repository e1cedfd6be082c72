"""Lease documents at the start: what is read, which faults end the start, and what the gauges show of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lease_tokens import NOW, OCT, OKP, SECRET, b64, key_document, token_of

from aero_storage.errors import SettingsError
from aero_storage.http.leases.results import LeaseRefusedError
from aero_storage.metrics import Gauge
from aero_storage.service.lease_documents import LeaseDocuments, gauges_of_leases, read_lease_documents
from aero_storage.settings import resolve

PRIVATE = {**OKP, "d": b64(bytes(range(100, 132)))}
Read = Callable[..., LeaseDocuments | None]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A good file of keys: a secret and a public key."""
    return written(tmp_path / "keys.json", key_document(OCT, OKP))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read the documents that these flags name."""

    def of(**flags: object) -> LeaseDocuments | None:
        resolved = resolve({name: [str(value)] for name, value in flags.items()}, {}, tmp_path)
        return read_lease_documents(resolved.settings, resolved.origins)

    return of


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def refusal(read: Read, **flags: object) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**flags)
    text = str(caught.value)
    assert "\n" not in text
    assert b64(SECRET) not in text
    return text


def test_off(read: Read, tmp_path: Path) -> None:
    """Without a file of keys leases are off, and no file of revocations is looked for."""
    assert read() is None
    assert read(lease_revocations_file=tmp_path / "missing") is None


def test_on(read: Read, keys: Path, tmp_path: Path) -> None:
    """Keys, revocations and rules come from the settings."""
    revoked = written(tmp_path / "revoked", b'{"jti": "lease-1"}\n')
    rules = {"lease_audience": "here", "lease_max_lifetime_secs": 900, "lease_leeway_secs": 7}
    documents = read(lease_keys_file=keys, lease_revocations_file=revoked, **rules)
    assert documents is not None
    in_force = documents.in_force
    assert (in_force.rules.audience, in_force.rules.max_lifetime, in_force.rules.leeway) == ("here", 900, 7)
    assert len(in_force.verifier.keys) == 2
    assert len(in_force.verifier.revocations) == 1


def test_revoked_from_the_start(read: Read, keys: Path, tmp_path: Path) -> None:
    """A lease that the file revokes is refused from the first request on."""
    documents = read(lease_keys_file=keys)
    assert documents is not None
    assert documents.in_force.verifier.verify(token_of()).name == "lease-1"
    revoked = written(tmp_path / "revoked", b'{"jti": "lease-1"}\n')
    documents = read(lease_keys_file=keys, lease_revocations_file=revoked)
    assert documents is not None
    with pytest.raises(LeaseRefusedError, match="revoked"):
        documents.in_force.verifier.verify(token_of())


BROKEN = {
    "no JSON": (b"{", 0o600, "keys public"),
    "no key": (key_document(), 0o600, "no usable key"),
    "a private key": (key_document(PRIVATE), 0o600, "is a private one; the daemon takes what"),
    "a secret for everybody": (key_document(OCT), 0o644, "chmod o-r"),
    "a kid of two keys": (key_document(OCT, OCT), 0o600, "given to two keys"),
    "no kid": (key_document({"kty": "oct", "k": b64(SECRET)}), 0o600, "has no `kid`"),
}


@pytest.mark.parametrize(("data", "mode", "told"), BROKEN.values(), ids=BROKEN)
def test_broken_keys(read: Read, tmp_path: Path, data: bytes, mode: int, told: str) -> None:
    """A broken file of keys is an error of one line: where it is named, the file, the fault, how to mend it."""
    keys = written(tmp_path / "keys.json", data, mode)
    text = refusal(read, lease_keys_file=keys)
    assert text.startswith(f"flag --lease-keys-file: {keys}: ")
    assert told in text
    assert text.count("aero-storage lease keys public") == 1


def test_missing_keys(read: Read, tmp_path: Path) -> None:
    """A file that is not there is an error, which says how to make one."""
    text = refusal(read, lease_keys_file=tmp_path / "none")
    assert "none: No such file or directory; name the right one, or write it: aero-storage lease keys public" in text


def test_a_directory(read: Read, tmp_path: Path) -> None:
    """A directory is no file of keys."""
    assert refusal(read, lease_keys_file=tmp_path).endswith(f"{tmp_path}: Is a directory")


def test_broken_revocations(read: Read, keys: Path, tmp_path: Path) -> None:
    """One bad line is an error that names it; a missing file is one, too."""
    bad = written(tmp_path / "revoked", b'{"jti": "a"}\n{"jti": 1}\n')
    text = refusal(read, lease_keys_file=keys, lease_revocations_file=bad)
    assert text.startswith(f"flag --lease-revocations-file: {bad}: line 2: ")
    assert text.endswith("as `aero-storage lease revoke` writes it")
    text = refusal(read, lease_keys_file=keys, lease_revocations_file=tmp_path / "none")
    assert text.endswith("No such file or directory; name the right one, or create it: it may be empty")


def test_without_the_extra(read: Read, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is missing, a public key is an error that says what to install, and nothing else."""
    for module in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, module, None)
    text = refusal(read, lease_keys_file=keys)
    assert text.endswith("needs the package cryptography: pip install 'aero-storage[lease]' (HS256 keys do not)")


def test_gauges(read: Read, tmp_path: Path) -> None:
    """The gauges show the numbers, what is broken, and keys whose time is over: lifetime and leeway have passed."""
    retired = {**OKP, "retired_at": NOW}
    keys = written(tmp_path / "keys.json", key_document(OCT, retired))
    revoked = written(tmp_path / "revoked", b'{"jti": "a"}\n')
    now = NOW + 900 + 30
    documents = read(lease_keys_file=keys, lease_revocations_file=revoked, lease_max_lifetime_secs=900)
    gauges = gauges_of_leases(documents, lambda: now)
    assert {gauge: read() for gauge, read in gauges.items()} == {
        Gauge.LEASE_KEYS: 2,
        Gauge.LEASE_KEYS_OVERDUE: 0,
        Gauge.LEASE_KEYS_INVALID: 0,
        Gauge.LEASE_KEYS_READ_AT: 0,
        Gauge.LEASE_REVOCATIONS: 1,
        Gauge.LEASE_REVOCATIONS_INVALID: 0,
        Gauge.LEASE_REVOCATIONS_READ_AT: 0,
    }
    now += 1
    assert gauges[Gauge.LEASE_KEYS_OVERDUE]() == 1
    assert gauges_of_leases(None, lambda: now) == {}
    without = gauges_of_leases(read(lease_keys_file=keys), lambda: now)
    assert Gauge.LEASE_REVOCATIONS not in without


def test_names_of_settings_without_origins(tmp_path: Path) -> None:
    """A worker, which knows no origins, names the setting."""
    settings = resolve({"lease_keys_file": [str(tmp_path / "none")]}, {}, tmp_path).settings
    with pytest.raises(SettingsError, match=r"^setting lease_keys_file: .*none: No such file"):
        read_lease_documents(settings)


def test_revocations_of_responses_under_way(read: Read, keys: Path, tmp_path: Path) -> None:
    """A revocation stays as long as a response can be under way that a lease opened which it hits, and no longer."""
    now, ages = time.time(), (3000, 4000)
    lines = [json.dumps({"sub": f"user-{age}", "before": now - age}) for age in ages]
    revocations = written(tmp_path / "revoked", "\n".join(lines).encode())
    files = {"lease_keys_file": keys, "lease_revocations_file": revocations}
    documents = read(**files, lease_max_lifetime_secs=900, lease_leeway_secs=30, lease_stream_grace_secs=2500)
    assert documents is not None
    assert len(documents.in_force.verifier.revocations) == 1
