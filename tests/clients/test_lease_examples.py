"""Leases that the examples of docs/how-to/private-images.md sign, in Python and Node.js, open what they name."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import attrs
import pytest
from tests.clients.lease_examples import write_examples

PYTHON = "from {0} import issue; print(*issue('{1}.json', 'win98', 'ada'))"
NODE = 'import {{ issue }} from "./{0}.mjs"; console.log(...issue("{1}.json", "win98", "ada"));'
ALGORITHMS = ("eddsa", "hs256")
ISSUERS = [
    ("python", "lease_eddsa", "eddsa"),
    ("python", "lease_hs256", "hs256"),
    ("node", "lease", "eddsa"),
    ("node", "lease", "hs256"),
]


@attrs.frozen
class Issued:
    """A lease that an example has signed, and the end that it tells."""

    token: str
    end: int


@pytest.fixture(scope="module")
def place(operate: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the examples, an issuer's file of keys for each algorithm, and `keys.json` with the keys of both."""
    made, keys = tmp_path_factory.mktemp("examples"), []
    write_examples(made)
    for algorithm in ALGORITHMS:
        issuer, public = made / f"{algorithm}.json", made / "public.json"
        operate(made, "lease", "keys", "new", "--alg", algorithm, "--keys", issuer)
        operate(made, "lease", "keys", "public", "--with-secrets", "--keys", issuer, "--out", public)
        keys += json.loads(public.read_text(encoding="ascii"))["keys"]
    (made / "keys.json").touch(0o600)
    (made / "keys.json").write_text(json.dumps({"keys": keys}), encoding="ascii")
    return made


@pytest.fixture(scope="module")
def daemon(
    place: Path, start_daemon: Callable[..., tuple[str, int, Path]], operate: Callable[..., str], demo_image: Path
) -> str:
    """Serve private images `win98` and `win95` to holders of leases by these keys; give the URL of the list."""
    for image in ("win98", "win95"):
        operate(place / "images", "import", demo_image, "--id", image, "--private")
    base, _, _ = start_daemon(place / "images", "--lease-keys-file", str(place / "keys.json"))
    return f"{base}/v1/images"


@pytest.fixture(params=ISSUERS, ids="-".join)
def issued(
    request: pytest.FixtureRequest,
    place: Path,
    require_tool: Callable[..., str],
    run_tool: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Issued:
    """Have an example sign a lease, as an application does."""
    language, *names = request.param
    monkeypatch.chdir(place)
    words = [sys.executable, "-c", PYTHON.format(*names)]
    if language == "node":
        words = [require_tool("node", package="nodejs"), "--input-type=module", "--eval", NODE.format(*names)]
    token, end = run_tool(*words).split()
    return Issued(token, int(end))


def damaged(token: str) -> str:
    return token[:-6] + "AAAAAA"


def test_check_accepts_them(issued: Issued, place: Path, operate: Callable[..., str], tmp_path: Path) -> None:
    """The command finds each good, for its image and user, until the end that is told."""
    lease, keys = tmp_path / "lease.txt", ("--keys", place / "keys.json")
    lease.write_text(issued.token, encoding="ascii")
    found = json.loads(operate(tmp_path, "lease", "check", f"@{lease}", *keys, "--json"))
    assert found["result"] == "ok"
    assert (found["claims"]["img"], found["claims"]["sub"]) == (["win98"], "ada")
    assert len(found["claims"]["jti"]) >= 32
    assert 0 <= time.time() + 900 - issued.end < 60
    lease.write_text(damaged(issued.token), encoding="ascii")
    assert operate(tmp_path, "lease", "check", f"@{lease}", *keys, status=1).startswith("bad_signature: ")


def test_the_daemon_accepts_them(issued: Issued, daemon: str) -> None:
    """Each opens its image and no other, for what is left of it; a damaged one opens nothing."""
    status, remaining = answer(f"{daemon}/win98/lease", issued.token)
    assert status == 204
    assert abs(issued.end - time.time() - int(remaining)) < 60
    assert answer(f"{daemon}/win98", issued.token)[0] == 200
    assert answer(f"{daemon}/win95", issued.token)[0] == 403
    assert answer(f"{daemon}/win98", damaged(issued.token))[0] == 401


def answer(url: str, token: str) -> tuple[int, str]:
    """Ask with a bearer; return the status and the seconds that the lease is good for."""
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"}, method="HEAD")
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, response.headers["Aero-Lease-Remaining"]
    except HTTPError as error:
        error.close()
        return error.code, ""
