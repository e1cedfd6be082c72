"""The client of browser/, by Node.js: against a server that lies, against the daemon, as a package, and its types."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.browser.served import COMMAND, Served
from tests.lease_tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIENT = ROOT / "browser"
TSC = Path(sys.executable).parents[1] / "typescript" / "node_modules" / ".bin" / "tsc"
APART = {"daemon.test.mjs", "readers.test.mjs"}
SUITES = sorted({path.name for path in HERE.glob("*.test.mjs")} - APART)
SECONDS = 120
PROGRAM = """
import { AeroDisk } from "aero-disk";
const disk = await AeroDisk.open(process.argv[2]);
const bytes = await disk.read(1000, 100_000);
await disk.close();
process.stdout.write(bytes);
"""


def run(*words: str | Path, cwd: Path = ROOT, **variables: str) -> bytes:
    """Run a program; the test fails with what it printed."""
    environment = {**os.environ, "NODE_OPTIONS": "", **variables}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        pytest.fail(
            f"{words[0]} ended with {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}", pytrace=False
        )
    return done.stdout


@pytest.mark.parametrize(
    "suite", sorted(path.name for path in HERE.glob("*.test.mjs") if path.name != "daemon.test.mjs")
)
def test_suite(suite: str, node: str) -> None:
    """Every test of the suite holds."""
    printed = run(node, "--test", HERE / suite).decode()
    assert "# fail 0" in printed
    assert "# pass 0" not in printed


def test_daemon(node: str, served: Served) -> None:
    """The client reads images of the daemon to the byte: raw, in chunks, replaced meanwhile, private."""
    facts = {
        "base": served.base,
        "command": str(COMMAND),
        "root": str(served.root),
        "image": str(served.image),
        "other": str(served.other),
        "secret": b64encode(SECRET).decode(),
    }
    printed = run(node, "--test", HERE / "daemon.test.mjs", DAEMON=json.dumps(facts)).decode()
    assert "# fail 0" in printed
    assert "# skipped 0" in printed


def test_package(node: str, served: Served, lacking: Callable[[str], NoReturn], tmp_path: Path) -> None:
    """`npm pack` makes a package of the same files, which a program imports by its name."""
    npm = shutil.which("npm")
    if npm is None:
        lacking("npm is not installed (Debian: apt-get install npm)")
    (packed,) = json.loads(run(npm, "pack", "--json", "--pack-destination", tmp_path, cwd=CLIENT))
    assert {file["path"] for file in packed["files"]} == {path.name for path in CLIENT.iterdir()}
    flags = ("--offline", "--no-audit", "--no-fund", "--prefix", tmp_path)
    run(npm, "install", *flags, tmp_path / packed["filename"], cwd=tmp_path)
    program = tmp_path / "program.mjs"
    program.write_text(PROGRAM, encoding="utf-8")
    bytes_read = run(node, program, f"{served.base}/v1/images/disk", cwd=tmp_path)
    assert bytes_read == served.image.read_bytes()[1000:101_000]


def test_license_of_the_package() -> None:
    """The package has the licence of the project."""
    assert (CLIENT / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_types(node: str, lacking: Callable[[str], NoReturn]) -> None:
    """Right uses of the client compile under the strict rules of TypeScript; wrong ones do not."""
    if not TSC.exists():
        lacking("TypeScript is not installed (make typescript)")
    run(node, TSC, "--project", HERE / "tsconfig.json")
