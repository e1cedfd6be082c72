"""`catalog check` and leases: private images without keys, broken files, and keys whose time is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command_output import CommandResult
from tests.lease_tokens import OCT, OKP, SECRET, b64, key_document

Command = Callable[..., CommandResult]

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of a public image and two private ones."""
    root = tmp_path / "images"
    root.mkdir()
    entries = []
    for name in ("a", "b", "c"):
        (root / f"{name}.img").write_bytes(bytes(512))
        entries.append({"id": name, "file": f"{name}.img", "name": name, "public": name == "a", "etag": '"1"'})
    path = root / "manifest.json"
    path.write_text(json.dumps({"images": entries}))
    return path


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_private_without_keys(command: Command, catalog: Path, tmp_path: Path) -> None:
    """Private images are warned of while leases are off, in one line; with keys, and in a listing, they are not."""
    said = command("catalog", "check")
    (line,) = (line for line in said.out.splitlines() if line.startswith("warning"))
    assert (said.status, line.startswith("warning: b, c: it is private, and without --lease-keys-file")) == (0, True)
    assert set(command("catalog", "check", "--json").json["warnings"]) == {"b", "c"}
    keys = written(tmp_path / "keys", key_document(OKP))
    said = command("catalog", "check", "--lease-keys-file", keys, "--json")
    assert (said.status, said.json["warnings"], said.json["problems"]) == (0, {}, {})
    catalog.unlink()
    assert "it is private" not in command("catalog", "check").out


def test_retired_keys(command: Command, catalog: Path, tmp_path: Path) -> None:
    """A key that was replaced is warned of once lifetime and leeway have passed, by the daemon's settings."""
    assert catalog.exists()
    retired = {**OCT, "retired_at": int(time.time()) - 1000}
    keys = written(tmp_path / "keys", key_document(OKP, retired))
    words = "catalog", "check", "--lease-keys-file", keys, "--json"
    assert command(*words).json["warnings"] == {}
    said = command(*words, "--lease-max-lifetime-secs", "900")
    ((name, (warning,)),) = said.json["warnings"].items()
    assert (said.status, name) == (0, str(keys))
    assert warning.startswith('the key "hs" was replaced at 2')
    assert command(*words, "--lease-max-lifetime-secs", "900", "--lease-leeway-secs", "200").json["warnings"] == {}


def test_skipped_keys(command: Command, catalog: Path, tmp_path: Path) -> None:
    """Keys that are of no use are warned of, as the daemon does, without a byte of a secret."""
    assert catalog.exists()
    keys = written(tmp_path / "keys", key_document(OKP, {**OCT, "alg": "HS512"}))
    said = command("catalog", "check", "--lease-keys-file", keys)
    assert "warning:" in said.out
    assert "keys[1] is skipped" in said.out
    assert b64(SECRET)[:12] not in said.out + said.err


@pytest.mark.parametrize("name", ["keys", "revocations"])
def test_broken_files(command: Command, catalog: Path, tmp_path: Path, name: str) -> None:
    """A file that would end the start of the daemon is a problem."""
    assert catalog.exists()
    paths = {"keys": written(tmp_path / "keys", key_document(OCT)), "revocations": tmp_path / "revocations"}
    written(paths["revocations"], b'{"jti": "a"}\n')
    words = [word for key, path in paths.items() for word in (f"--lease-{key}-file", str(path))]
    assert command("catalog", "check", *words).status == 0
    written(paths[name], b"{")
    said = command("catalog", "check", *words, "--json")
    assert (said.status, set(said.json["problems"])) == (1, {str(paths[name])})
    assert f"{paths[name]}: " in command("catalog", "check", *words).out
    assert command("catalog", "check", *words).out.endswith("manifest.json: nothing wrong\n")


def test_the_variable_counts(
    command: Command, catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of the daemon's environment are looked at."""
    assert catalog.exists()
    monkeypatch.setenv("AERO_STORAGE_LEASE_KEYS_FILE", str(tmp_path / "none"))
    said = command("catalog", "check", "--json")
    assert (said.status, said.json["problems"]) == (1, {str(tmp_path / "none"): ["No such file or directory"]})
