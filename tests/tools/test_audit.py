"""tools/audit.py: what it takes for the lists to audit, and what it makes of the services' answers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "tools" / "audit.py"
# Says what pip-audit 2.10 says, of what a file beside it tells: of each service, which packages are unknown to it,
# what is wrong with which, and with what words it breaks down when it is asked for one.
PIP_AUDIT = """\
#!{python} -IS
import json, pathlib, sys

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

service = json.loads(pathlib.Path(__file__).with_name("knowledge.json").read_text())[option("-s")]
found = []
for line in pathlib.Path(option("-r")).read_text().split():
    name, _, version = line.partition("==")
    if line in service.get("breaks_at", ()) or "*" in service.get("breaks_at", ()):
        print("Traceback (most recent call last):", service["words"], sep="\\n", file=sys.stderr)
        sys.exit(service.get("status", 1))
    elif name in service.get("unknown", ()) or "*" in service.get("unknown", ()):
        found.append({{"name": name, "skip_reason": f"Dependency not found on PyPI: {{name}} ({{version}})"}})
    else:
        found.append({{"name": name, "version": version, "vulns": service.get("flaws", {{}}).get(line, [])}})
print(json.dumps({{"dependencies": found, "fixes": []}}))
sys.exit(any(one.get("vulns") for one in found))
"""
OLD_TWISTED = {"id": "PYSEC-2022-1", "fix_versions": ["22.10.0rc1"], "aliases": ["CVE-2022-39348"]}
KNOWS = {"flaws": {"twisted==22.4.0": [OLD_TWISTED]}}
DOWN = {"breaks_at": ["*"], "words": "requests.exceptions.ConnectionError: no such host"}
MIRROR = {"unknown": ["*"]}
FLAW = {"id": "GHSA-x", "fix_versions": ["2.1", "3.0"], "aliases": ["CVE-1", "CVE-2"]}
UNMENDED = {"id": "GHSA-y", "fix_versions": [], "aliases": []}


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def pip_audit(tmp_path: Path) -> Path:
    program = tmp_path / "pip-audit"
    program.write_text(PIP_AUDIT.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return program


def audit(module: ModuleType, program: Path, **services: object) -> int:
    program.with_name("knowledge.json").write_text(json.dumps(services), encoding="utf-8")
    subjects = [
        module.Subject("the first list", {"one": "1.0", "two": "2.0"}),
        module.Subject("the other", {"two": "3"}),
    ]
    status: int = module.audit(subjects, program)
    return status


def test_nothing_is_known(module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a service knows its canary and nothing of ours, all is well, and how much was audited is said."""
    assert audit(module, pip_audit, pypi=KNOWS) == 0
    assert capsys.readouterr().out.splitlines() == [
        "audited with pypi: the first list (2 packages); known vulnerabilities: 0",
        "audited with pypi: the other (1 packages); known vulnerabilities: 0",
    ]


def test_known_vulnerabilities(module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A vulnerability is status 1, with package, version, list, all names of the advisory and the fixed versions."""
    flaws = {**KNOWS["flaws"], "two==2.0": [FLAW], "two==3": [UNMENDED]}
    assert audit(module, pip_audit, pypi={"flaws": flaws}) == 1
    out = capsys.readouterr().out
    assert "two 2.0, of the first list: CVE-1, CVE-2, GHSA-x; fixed in 2.1 or 3.0\n" in out
    assert "two 3, of the other: GHSA-y; fixed in no version yet\n" in out


@pytest.mark.parametrize("pypi", [DOWN, MIRROR, {}], ids=["down", "mirror", "empty"])
def test_next_service(
    module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str], pypi: dict[str, Any]
) -> None:
    """Where one service is no use the next one is asked, whatever it is that the first one lacks."""
    assert audit(module, pip_audit, pypi=pypi, osv={"flaws": {**KNOWS["flaws"], "two==3": [FLAW]}}) == 1
    assert "audited with osv: the other (1 packages); known vulnerabilities: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pypi", "reason"),
    [
        (DOWN, "pypi is of no use here: requests.exceptions.ConnectionError: no such host"),
        (MIRROR, "pypi is of no use here: Dependency not found on PyPI: twisted (22.4.0)"),
        ({}, "pypi is of no use here: it finds nothing in twisted 22.4.0, which is known to be vulnerable"),
        ({**KNOWS, "breaks_at": ["two==2.0", "two==3"], "words": "Timeout"}, "pypi has failed: Timeout"),
    ],
    ids=["down", "mirror", "empty", "down-later"],
)
def test_no_service(
    module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str], pypi: dict[str, Any], reason: str
) -> None:
    """Where no service is of use nothing passes for audited: each list is said not to be, with the reasons."""
    assert audit(module, pip_audit, pypi=pypi, osv=DOWN) == 0
    lines = capsys.readouterr().out.splitlines()
    assert reason in lines
    assert [line.partition(")")[0] for line in lines if line.startswith("not audited: ")] == [
        "not audited: the first list (2 packages",
        "not audited: the other (1 packages",
    ]
    assert not any(line.startswith("audited") for line in lines)


def test_found_before_the_service_failed(
    module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was found in one list counts, though no service lives to see the other."""
    flaws = {**KNOWS["flaws"], "two==2.0": [FLAW]}
    assert audit(module, pip_audit, pypi={"flaws": flaws, "breaks_at": ["two==3"], "words": ""}, osv=DOWN) == 1
    assert "not audited: the other (1 packages)" in capsys.readouterr().out


def test_unknown_package(module: ModuleType, pip_audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A package that the service does not know is said not to be audited, and does not count."""
    assert audit(module, pip_audit, pypi={**KNOWS, "unknown": ["one"]}) == 0
    out = capsys.readouterr().out
    assert "not audited: one, of the first list: Dependency not found on PyPI: one (1.0)\n" in out
    assert "audited with pypi: the first list (1 packages)" in out


def test_broken_audit(module: ModuleType, pip_audit: Path) -> None:
    """A pip-audit that does not understand its options, or is not there, is no service that cannot be reached."""
    with pytest.raises(module.AuditError, match="ended with status 2: unknown option"):
        audit(module, pip_audit, pypi={"breaks_at": ["*"], "words": "unknown option", "status": 2})
    pip_audit.unlink()
    with pytest.raises(module.AuditError, match="cannot be run: No such file"):
        audit(module, pip_audit)


def pyproject(base: list[str], **extras: list[str]) -> dict[str, object]:
    project = {"dependencies": base, "optional-dependencies": extras}
    return {"build-system": {"requires": ["setuptools>=80"]}, "project": project}


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (pyproject([]), {}),
        (
            pyproject(["One>=1.2,<3", "zope.two~=2.1", "three==3.0"]),
            {"one": "1.2", "zope-two": "2.1", "three": "3.0"},
        ),
        (pyproject(["one>=1.2"], tls=["one[tls]"]), {"one": "1.2"}),
        (pyproject(["one>=1.2"], tls=["one>=1.10"]), {"one": "1.2"}),
        (pyproject(["one>=1.2"], tls=["one>=1.1"]), {"one": "1.2"}),
        (pyproject([], a=["one>=1.10"], b=["one>=1.9; python_version < '3.12'"]), {"one": "1.9"}),
        (pyproject([], a=["one>=1"], b=["aero-storage[a]"]), {"one": "1"}),
    ],
)
def test_lowest(module: ModuleType, document: dict[str, object], found: dict[str, str]) -> None:
    """The lowest version is what the bounds that hold together let through, whichever extras are installed."""
    assert module.lowest(document) == {"setuptools": "80", **found}


@pytest.mark.parametrize("requirement", ["one", "one<3", "one!=2", "one[tls]"])
def test_no_lower_bound(module: ModuleType, requirement: str) -> None:
    """A requirement without a lower bound lets everything through, and is an error."""
    with pytest.raises(module.AuditError, match="no lower bound for one"):
        module.lowest(pyproject([], extra=[requirement]))


def install(site: Path, name: str, version: str, *requires: str) -> None:
    directory = site / f"{name}-{version}.dist-info"
    directory.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    (directory / "METADATA").write_text(text, encoding="utf-8")


def test_running(module: ModuleType, tmp_path: Path) -> None:
    """What aero-storage needs is audited, with the needs of that and with TLS; tools and tests beside it are not."""
    install(tmp_path, "aero_storage", "0.1", "Twisted>=1", 'twisted[tls]; extra == "tls"', 'pytest; extra == "test"')
    install(tmp_path, "Twisted", "26.10.0", "zope.interface", 'idna; extra == "tls"', 'h2; extra == "http2"')
    install(tmp_path, "zope.interface", "8.0", "twisted", 'old; python_version < "3"')
    for name in ("idna", "pytest", "h2", "old", "pip"):
        install(tmp_path, name, "1.0")
    assert module.running(tmp_path) == {"idna": "1.0", "twisted": "26.10.0", "zope-interface": "8.0"}


def test_running_without_tls(module: ModuleType, tmp_path: Path) -> None:
    """What of TLS is not installed cannot be audited, and is not missed."""
    install(tmp_path, "aero_storage", "0.1", "twisted", 'twisted[tls]; extra == "tls"')
    install(tmp_path, "twisted", "26.10.0", 'idna; extra == "tls"')
    assert module.running(tmp_path) == {"twisted": "26.10.0"}


def test_command(tmp_path: Path) -> None:
    """An environment without aero-storage cannot be audited: status 2, and one line that says so."""
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("audit: aero-storage is not installed in ")
    assert done.stderr.count("\n") == 1
