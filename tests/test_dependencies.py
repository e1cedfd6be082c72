"""What we depend on: all that is imported is required, in no version that has a vulnerability which is known."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# package: {first fixed version: advisories}, as the packages' release notes tell. Where the fix went into several
# branches the newest counts, as that is what our bounds are about.
ADVISORIES: dict[str, dict[str, tuple[str, ...]]] = {
    "cryptography": {
        "39.0.1": ("CVE-2023-23931",),
        "41.0.6": ("CVE-2023-49083",),
        "42.0.4": ("CVE-2024-26130",),
        "43.0.1": ("GHSA-h4gh-qq45-vh27",),  # the OpenSSL in the wheels
        "44.0.1": ("CVE-2024-12797",),  # the same
        "46.0.5": ("CVE-2026-26007",),
        "46.0.6": ("CVE-2026-34073",),
        "46.0.7": ("CVE-2026-39892",),
        "50.0.0": ("PKCS#7: an oracle for padding, without a number in the release notes",),
    },
    "h11": {"0.16.0": ("CVE-2025-43859",)},
    "idna": {"3.7": ("CVE-2024-3651",), "3.15": ("CVE-2026-45409",)},  # the fix in 3.14 was made whole in 3.15
    "pygments": {
        "2.7.4": ("CVE-2021-20270", "CVE-2021-27291"),
        "2.15.1": ("CVE-2022-40896",),
        "2.20.0": ("CVE-2026-4539",),
    },
    "pyopenssl": {"26.0.0": ("CVE-2026-27448", "CVE-2026-27459"), "26.1.0": ("CVE-2026-40475",)},
    "pytest": {"9.0.3": ("CVE-2025-71176",)},
    "setuptools": {
        "70.0.0": ("CVE-2024-6345",),
        "78.1.1": ("CVE-2025-47273",),
        "83.0.0": ("GHSA-h35f-9h28-mq5c",),
        "84.1.0": ("GHSA-xmj3-9gf7-h52w", "GHSA-grgh-hr87-3jpw"),
    },
    "treq": {"22.1.0": ("GHSA-fhpf-pp6p-55qc",)},
    "twisted": {
        "20.3.0": ("CVE-2020-10108", "CVE-2020-10109"),
        "22.2.0": ("CVE-2022-21716",),
        "22.4.0": ("CVE-2022-24801",),
        "22.10.0": ("CVE-2022-39348",),
        "23.10.0": ("CVE-2023-46137",),
        "24.7.0": ("CVE-2024-41671", "CVE-2024-41810"),
        "26.4.0": ("CVE-2026-42304",),
        "26.10.0": (
            "CVE-2023-44487",
            "CVE-2026-83813",
            "CVE-2026-115774",
            "CVE-2026-115775",
            "CVE-2026-115776",
            "CVE-2026-115778",
            "CVE-2026-115877",
        ),
    },
    "urllib3": {
        "2.0.6": ("CVE-2023-43804",),
        "2.0.7": ("CVE-2023-45803",),
        "2.2.2": ("CVE-2024-37891",),
        "2.5.0": ("CVE-2025-50181", "CVE-2025-50182"),
        "2.6.0": ("GHSA-2xpw-w6gg-jr37", "GHSA-gm62-xv2j-4w53"),
        "2.6.3": ("GHSA-38jv-5279-wg99",),
        "2.7.0": ("GHSA-mf9v-mfxr-j63j", "GHSA-qccp-gfcp-xxvc"),
        "2.8.0": ("GHSA-8988-9cw3-xx77", "GHSA-vxq7-64xx-v4gw", "GHSA-gh4c-6fx4-qh6g"),
    },
    "werkzeug": {
        "3.0.1": ("CVE-2023-46136",),
        "3.0.3": ("GHSA-2g68-c3qc-8985",),
        "3.0.6": ("GHSA-q34m-jh98-gwm2", "GHSA-f9vj-2wh5-fj8j"),
        "3.1.4": ("GHSA-hgf8-39gv-g3f2",),
        "3.1.5": ("GHSA-87hc-h4r5-73f7",),
        "3.1.6": ("GHSA-29vq-49wr-vm6x",),
        "3.1.9": ("GHSA-g6x2-hccm-hh4m",),
    },
}
NONE_KNOWN = {
    "attrs",
    "backports-zstd",
    "click",
    "klein",
    "lz4",
    "obstore",
    "prometheus-client",
    "rich",
    "segno",
    "typing-extensions",
    "xxhash",
    "zope-interface",
}
"""What was looked up, and nothing found."""
ROWS = [
    pytest.param(name, fixed, id=f"{name}-{fixed}-{'-'.join(advisories)}")
    for name, fixes in ADVISORIES.items()
    for fixed, advisories in fixes.items()
]
OPTIONAL = ("tls", "lease", "compressed", "object")
"""The extras that production may run with."""
FUTURE = {"compression"}
"""Of the standard library from Python 3.14 on."""


@pytest.fixture(scope="module")
def lowest() -> dict[str, str]:
    """The versions that `make audit` takes for the lowest that are allowed."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    found: dict[str, str] = audit.lowest(PYPROJECT)
    return found


def required() -> set[str]:
    """The packages that production may run with, by the words of pyproject.toml."""
    project = PYPROJECT["project"]
    texts = [
        *project["dependencies"],
        *(text for extra in OPTIONAL for text in project["optional-dependencies"][extra]),
    ]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def imported() -> Iterator[tuple[str, str]]:
    """Yield who imports what: our modules, and the first words of the names of others' modules."""
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "twisted" / "plugins").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.name, alias.name.partition(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield path.name, node.module.partition(".")[0]


@pytest.mark.parametrize(("name", "fixed"), ROWS)
def test_lower_bounds_exclude(lowest: dict[str, str], name: str, fixed: str) -> None:
    """No version is allowed in which an advisory's fault is not mended."""
    assert Version(lowest[name]) >= Version(fixed)


def test_what_is_tested_with_is_fit() -> None:
    """The versions that these tests run with meet the bounds, so that what was tested is what is allowed."""
    names = required() & ADVISORIES.keys()
    assert [
        name for name in sorted(names) for fixed in ADVISORIES[name] if Version(version(name)) < Version(fixed)
    ] == []


def test_every_requirement_was_looked_up() -> None:
    """What is added to the requirements is looked up: it gets rows in the table, or its name with the harmless."""
    assert required() - ADVISORIES.keys() - NONE_KNOWN == set()
    assert required() >= NONE_KNOWN


def test_what_is_imported_is_required() -> None:
    """What we import is required by us, not only by what we require: else nobody would bound its versions."""
    distributions = packages_distributions()
    stray = {
        (module, name)
        for module, name in imported()
        if name not in sys.stdlib_module_names | FUTURE
        and name != "aero_storage"
        and not required().intersection(map(canonicalize_name, distributions[name]))
    }
    assert stray == set()
