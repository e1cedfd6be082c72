"""Leases that the examples of docs/how-to/private-images.md sign, in Python and Node.js, are good."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from tests.clients.lease_examples import write_examples

PYTHON = "from {0} import issue; print(*issue('issuer.json', 'win98', 'ada'))"
NODE = 'import {{ issue }} from "./{0}.mjs"; console.log(...issue("issuer.json", "win98", "ada"));'
ISSUERS = [
    ("python", "lease_eddsa", "eddsa"),
    ("python", "lease_hs256", "hs256"),
    ("node", "lease", "eddsa"),
    ("node", "lease", "hs256"),
]


@attrs.frozen
class Issued:
    """A lease of an example, the end that it tells, and the daemon's file of keys."""

    token: str
    end: int
    keys: Path


@pytest.fixture(params=ISSUERS, ids="-".join)
def issued(
    request: pytest.FixtureRequest,
    operate: Callable[..., str],
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Issued:
    """Have an example sign a lease with a fresh key, as an application does."""
    language, module, algorithm = request.param
    monkeypatch.chdir(tmp_path)
    write_examples(tmp_path)
    issuer, keys = tmp_path / "issuer.json", tmp_path / "keys.json"
    operate(tmp_path, "lease", "keys", "new", "--alg", algorithm, "--keys", issuer)
    operate(tmp_path, "lease", "keys", "public", "--with-secrets", "--keys", issuer, "--out", keys)
    words = [sys.executable, "-c", PYTHON.format(module)]
    if language == "node":
        node = require_tool("node", package="nodejs")
        words = [node, "--input-type=module", "--eval", NODE.format(module)]
    token, end = run_tool(*words).split()
    return Issued(token, int(end), keys)


def test_check_accepts_them(issued: Issued, operate: Callable[..., str], tmp_path: Path) -> None:
    """The command that judges as the daemon does finds each good, for its image and user, to the end that is told."""
    lease = tmp_path / "lease.txt"
    lease.write_text(issued.token, encoding="ascii")
    found = json.loads(operate(tmp_path, "lease", "check", f"@{lease}", "--keys", issued.keys, "--json"))
    assert found["result"] == "ok"
    assert (found["claims"]["img"], found["claims"]["sub"]) == (["win98"], "ada")
    assert len(found["claims"]["jti"]) >= 32
    assert 0 <= time.time() + 900 - issued.end < 60
    lease.write_text(issued.token[:-6] + "AAAAAA", encoding="ascii")
    refused = operate(tmp_path, "lease", "check", f"@{lease}", "--keys", issued.keys, status=1)
    assert refused.startswith("bad_signature: ")
