"""Look for known vulnerabilities in what we run with: `audit.py VENV`, in an environment that has pip-audit.

Two lists are audited: what aero-storage runs with in VENV, and the lowest versions that pyproject.toml allows. Where
no service can be reached, or none knows anything, as mirrors of package indexes may not, there is no audit: lines say
`not audited:`, and the status is 0. A known vulnerability is status 1, an audit that breaks is 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PROJECT = canonicalize_name("aero-storage")
EXTRAS = ("tls", "compressed")
"""The extras that production may run with; the others are for tests and benchmarks."""

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PIP_AUDIT = Path(sys.executable).with_name("pip-audit")
SERVICES = ("pypi", "osv")
CANARY = {"twisted": "22.4.0"}
"""Known to be vulnerable: a service that finds nothing in it would find nothing in anything."""

_LOWER = frozenset({">=", "==", "~="})
_PATIENCE_SECONDS = 300
_OK, _VULNERABLE, _BROKEN = 0, 1, 2


class AuditError(Exception):
    """The audit cannot be made, and no service is to blame; the message is one line for the user."""


class UnreachableError(Exception):
    """A service does not answer; the message says how that showed."""


class Subject(NamedTuple):
    """A list of packages, each with its version, and what it is a list of."""

    what: str
    versions: Mapping[str, str]


def lowest(document: Mapping[str, Any]) -> dict[str, str]:
    """The lowest version of each package that a pyproject.toml allows, in its extras and for building too.

    With an extra, the bounds of the dependencies proper hold as well. Raises AuditError if a package has no bound.
    """
    project = document["project"]
    base, extras = project.get("dependencies", []), project.get("optional-dependencies", {}).values()
    found: dict[str, Version] = {}
    for group in (document["build-system"]["requires"], base, *([*base, *extra] for extra in extras)):
        for name, bound in _bounds(group).items():
            found[name] = min(bound, found.get(name, bound))
    return {name: str(bound) for name, bound in sorted(found.items())}


def _bounds(requirements: Iterable[str]) -> dict[str, Version]:
    """The lowest version of each package that meets all of the requirements."""
    bounds: dict[str, list[Version]] = {}
    for one in map(Requirement, requirements):
        if canonicalize_name(one.name) == PROJECT:  # an extra that names another
            continue
        lower = [Version(part.version) for part in one.specifier if part.operator in _LOWER]
        bounds.setdefault(canonicalize_name(one.name), []).extend(lower)
    if unbound := sorted(name for name, lower in bounds.items() if not lower):
        raise AuditError(f"pyproject.toml has no lower bound for {', '.join(unbound)}: write NAME>=VERSION")
    return {name: max(lower) for name, lower in bounds.items()}


def running(site: Path) -> dict[str, str]:
    """What aero-storage runs with, of all that is installed in the directory `site`: versions by name.

    Raises AuditError if it is not installed there itself.
    """
    installed = {canonicalize_name(one.metadata["Name"]): one for one in distributions(path=[str(site)])}
    if PROJECT not in installed:
        raise AuditError(f"{PROJECT} is not installed in {site}: run `make audit`, which sees to it")
    seen: set[tuple[NormalizedName, str]] = set()
    todo = [(PROJECT, extra) for extra in ("", *EXTRAS)]
    while todo:
        name, extra = todo.pop()
        if name not in installed or (name, extra) in seen:
            continue
        seen.add((name, extra))
        for one in map(Requirement, installed[name].requires or ()):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                todo.extend((canonicalize_name(one.name), also) for also in ("", *one.extras))
    return {name: installed[name].version for name, _ in sorted(seen) if name != PROJECT}


def ask(service: str, versions: Mapping[str, str], program: Path) -> list[dict[str, Any]]:
    """What pip-audit has learnt from a service of each package. Raises AuditError, UnreachableError."""
    with tempfile.TemporaryDirectory(prefix="aero-storage-audit-") as scratch:
        listed = Path(scratch, "requirements.txt")
        listed.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="ascii")
        how = ["--no-deps", "--disable-pip", "--format", "json", "--desc", "off", "--aliases", "on"]
        command = [str(program), "-r", str(listed), "-s", service, "--progress-spinner", "off", *how]
        try:
            done = subprocess.run(  # noqa: S603 - no outside input
                command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"no answer within {_PATIENCE_SECONDS} seconds") from None
        except OSError as error:
            raise AuditError(f"{program} cannot be run: {error.strerror}; `make audit` installs it") from None
    said = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
    if done.returncode not in {_OK, _VULNERABLE}:
        raise AuditError(f"pip-audit ended with status {done.returncode}: {said}")
    try:
        learnt: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # pip-audit ends in a traceback where it cannot connect
        raise UnreachableError(said) from None
    return learnt


def probe(service: str, program: Path) -> None:
    """Raise UnreachableError unless the service knows what is wrong with the canary."""
    ((name, version),) = CANARY.items()
    for one in ask(service, CANARY, program):
        if one.get("vulns"):
            return
        if reason := one.get("skip_reason"):
            raise UnreachableError(reason)
    raise UnreachableError(f"it finds nothing in {name} {version}, which is known to be vulnerable")


def findings(learnt: Iterable[Mapping[str, Any]], what: str) -> Iterator[tuple[int, str]]:
    """Yield what there is to say about packages that were asked for: the status that it means, and a line."""
    for one in learnt:
        if reason := one.get("skip_reason"):
            yield _OK, f"not audited: {one['name']}, of {what}: {reason}"
        for flaw in one.get("vulns", ()):
            known_as = ", ".join(sorted({flaw["id"], *flaw.get("aliases", ())}))
            fixed = " or ".join(flaw["fix_versions"]) or "no version yet"
            yield _VULNERABLE, f"{one['name']} {one['version']}, of {what}: {known_as}; fixed in {fixed}"


def audit(subjects: Iterable[Subject], program: Path) -> int:
    """Audit each list with the first service that answers, print what is found, and return the status."""
    service = next((one for one in SERVICES if is_of_use(one, program)), None)
    return max(audit_one(subject, service, program) for subject in subjects)


def is_of_use(service: str, program: Path) -> bool:
    """Whether the service can be reached and knows something; if not, print why."""
    try:
        probe(service, program)
    except UnreachableError as error:
        print(f"{service} is of no use here: {error}")
        return False
    return True


def audit_one(subject: Subject, service: str | None, program: Path) -> int:
    """Audit one list, print what is found, or that nobody can be asked, and return the status."""
    if service is not None:
        try:
            return report(service, subject, ask(service, subject.versions, program))
        except UnreachableError as error:
            print(f"{service} has failed: {error}")
    print(f"not audited: {subject.what} ({len(subject.versions)} packages): nobody here knows of vulnerabilities")
    return _OK


def report(service: str, subject: Subject, learnt: Sequence[Mapping[str, Any]]) -> int:
    """Print what a service knows of a list of packages, and return the status."""
    found = list(findings(learnt, subject.what))
    for _, line in found:
        print(line)
    flaws, known = sum(status == _VULNERABLE for status, _ in found), sum("vulns" in one for one in learnt)
    print(f"audited with {service}: {subject.what} ({known} packages); known vulnerabilities: {flaws}")
    return _VULNERABLE if flaws else _OK


def main(arguments: list[str]) -> int:
    """Run the command."""
    if len(arguments) != 1:
        print(f"usage: {Path(__file__).name} VENV", file=sys.stderr)
        return _BROKEN
    venv = Path(arguments[0])
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)}))
    try:
        subjects = [
            Subject(f"what {PROJECT} runs with in {venv}", running(site)),
            Subject("what pyproject.toml allows at the lowest", lowest(tomllib.loads(PYPROJECT.read_text("utf-8")))),
        ]
        return audit(subjects, PIP_AUDIT)
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return _BROKEN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
