"""The client of browser/, by Node.js: against a server that lies, against the daemon, as a package, and its types."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from tests.browser.served import CLIENT, COMMAND, Served
from tests.lease_tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
APART = {"daemon.test.mjs", "readers.test.mjs", "v86.test.mjs"}
SUITES = sorted({path.name for path in HERE.glob("*.test.mjs")} - APART)
SECONDS = 120
LINE_LENGTH = 118
CLAUSE = re.compile(r"(?:/\*\*|//|\*.*[.:;!?]) (?:who|whoever|whose|what|whatever)\b", re.IGNORECASE)
PROGRAM = """
import { createHash } from "node:crypto";
import { AeroDisk } from "aero-disk";
const disk = await AeroDisk.open(process.argv[2]);
const bytes = await disk.read(1000, 100_000);
await disk.close();
process.stdout.write(createHash("sha256").update(bytes).digest("hex"));
"""


def npm(program: str, *words: str | Path, cwd: Path) -> str:
    done = subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str, run_node: Callable[..., str]) -> None:
    """Every test of the suite holds."""
    printed = run_node("--test", HERE / suite)
    assert "# fail 0" in printed
    assert "# pass 0" not in printed


def test_daemon(run_node: Callable[..., str], served: Served) -> None:
    """The client reads images of the daemon to the byte: raw, in chunks, replaced meanwhile, private."""
    facts = {
        "base": served.base,
        "command": str(COMMAND),
        "root": str(served.root),
        "image": str(served.image),
        "other": str(served.other),
        "secret": b64encode(SECRET).decode(),
    }
    printed = run_node("--test", HERE / "daemon.test.mjs", DAEMON=json.dumps(facts))
    assert "# fail 0" in printed
    assert "# skipped 0" in printed


def test_package(
    run_node: Callable[..., str], served: Served, lacking: Callable[[str], NoReturn], tmp_path: Path
) -> None:
    """`npm pack` makes a package of the same files, which a program imports by its name."""
    program = shutil.which("npm")
    if program is None:
        lacking("npm is not installed (Debian: apt-get install npm)")
    (packed,) = json.loads(npm(program, "pack", "--json", "--pack-destination", tmp_path, cwd=CLIENT))
    assert {file["path"] for file in packed["files"]} == {path.name for path in CLIENT.iterdir() if path.is_file()}
    flags = ("--offline", "--no-audit", "--no-fund", "--prefix", tmp_path)
    npm(program, "install", *flags, tmp_path / packed["filename"], cwd=tmp_path)
    script = tmp_path / "program.mjs"
    script.write_text(PROGRAM, encoding="utf-8")
    found = run_node(script, f"{served.base}/v1/images/disk")
    assert found == hashlib.sha256(served.image.read_bytes()[1000:101_000]).hexdigest()


def test_license_of_the_package() -> None:
    """The package has the licence of the project."""
    assert (CLIENT / "LICENSE").read_bytes() == (CLIENT.parent / "LICENSE").read_bytes()


def test_types(run_node: Callable[..., str], tools: Path) -> None:
    """Right uses of the client compile under the strict rules of TypeScript; wrong ones do not."""
    run_node(tools / "node_modules" / ".bin" / "tsc", "--project", HERE / "tsconfig.json")


def test_format(run_node: Callable[..., str], tools: Path) -> None:
    """Prettier would change nothing."""
    files = [*CLIENT.glob("*.js"), *CLIENT.glob("*.ts"), *HERE.glob("*.mjs"), *HERE.glob("*.ts")]
    run_node(tools / "node_modules" / "prettier" / "bin" / "prettier.cjs", "--no-editorconfig", "--check", *files)


@pytest.mark.parametrize("module", sorted(path.name for path in CLIENT.iterdir() if path.is_file()))
def test_prose(module: str) -> None:
    """No line is too long, and no sentence of a comment has a clause for a subject."""
    lines = (CLIENT / module).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > LINE_LENGTH] == []
    assert [line for line in lines if CLAUSE.search(line)] == []
