"""What users install: the wheel, and the command that it gives to twistd."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import attrs
import pytest
import yaml

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DROPIN = "twisted/plugins/aero_storage_plugin.py"


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@attrs.frozen
class Built:
    """The source distribution, and the wheel that was made from it."""

    sdist: Path
    wheel: Path

    @property
    def sdist_names(self) -> frozenset[str]:
        with tarfile.open(self.sdist) as archive:
            return frozenset(one.name.partition("/")[2] for one in archive.getmembers() if one.isfile())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    # From a copy: an in-tree build leaves a build/ behind, from which removed modules would come back.
    source = tmp_path_factory.mktemp("source")
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0") if (ROOT / ".git").exists() else []
    for name in tracked or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if ".venv" not in path.parts]:
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        elif (ROOT / name).is_symlink():
            (source / name).symlink_to((ROOT / name).readlink())
    target = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", str(target), str(source), cwd=source)
    (sdist,), (wheel,) = target.glob("aero_storage-*.tar.gz"), target.glob("aero_storage-*.whl")
    return Built(sdist, wheel)


@pytest.fixture(scope="session")
def wheel_names(built: Built) -> frozenset[str]:
    with ZipFile(built.wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="session")
def metadata(built: Built) -> Message:
    with ZipFile(built.wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(name))


def test_wheel_holds_the_dropin(wheel_names: frozenset[str]) -> None:
    """The file by which twistd finds us is in the wheel."""
    assert DROPIN in wheel_names


def test_wheel_leaves_twisted_itself_alone(wheel_names: frozenset[str]) -> None:
    """The dropin is all that the wheel puts under twisted/: an __init__.py there would shadow Twisted's own."""
    assert {name for name in wheel_names if name.startswith("twisted/")} == {DROPIN}


def test_wheel_holds_every_module(wheel_names: frozenset[str]) -> None:
    """Every package and module in src is in the wheel, so none was forgotten in pyproject.toml."""
    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").glob("aero_storage/**/*.py")}
    assert "aero_storage/__init__.py" in sources
    assert sources - wheel_names == set()
    assert {name for name in wheel_names if name.endswith(".py")} == sources | {DROPIN}


def test_wheel_holds_the_client(wheel_names: frozenset[str]) -> None:
    """Every script of the client is in the wheel, from where the daemon serves it."""
    scripts = {f"aero_storage/client/{path.name}" for path in (ROOT / "browser").glob("*.js")}
    assert "aero_storage/client/aero-disk.js" in scripts
    assert {name for name in wheel_names if name.startswith("aero_storage/client/")} - scripts == {
        "aero_storage/client/LICENSE"
    }


def test_wheel_holds_the_page(wheel_names: frozenset[str]) -> None:
    """Every file of the page is in the wheel, from where the daemon serves it."""
    files = {f"aero_storage/page/{path.name}" for path in (ROOT / "browser" / "page").iterdir()}
    assert "aero_storage/page/index.html" in files
    assert {name for name in wheel_names if name.startswith("aero_storage/page/")} == files


def test_every_directory_is_a_package() -> None:
    """A directory with modules has an __init__.py: without one, setuptools leaves it out silently."""
    modules = (ROOT / "src").glob("aero_storage/**/*.py")
    assert [str(path) for path in modules if not (path.parent / "__init__.py").is_file()] == []


def test_wheel_is_typed(wheel_names: frozenset[str]) -> None:
    """The marker that lets type checkers use our annotations is in the wheel."""
    assert "aero_storage/py.typed" in wheel_names


def test_wheel_holds_nothing_else(wheel_names: frozenset[str]) -> None:
    """No tests, tools or images travel in the wheel; beside the package there are manual pages and completions."""
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"aero_storage", "twisted"}
    data = {name.partition(".data/data/")[2] for name in wheel_names if ".data/" in name}
    assert data == {path.relative_to(ROOT).as_posix() for path in (ROOT / "share").rglob("*") if path.is_file()}


def test_wheel_is_small(built: Built) -> None:
    """The wheel has at most 2 MB."""
    assert built.wheel.stat().st_size <= 2_000_000


def test_metadata(metadata: Message) -> None:
    """The metadata say what it is, what it needs, and the extras that the pages explain."""
    assert (metadata["Name"], metadata["Version"]) == ("aero-storage", PROJECT["version"])
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.strip() == (ROOT / "README.md").read_bytes().strip()
    needed = [text for text in metadata.get_all("Requires-Dist") or () if "extra ==" not in text]
    assert len(needed) == len(PROJECT["dependencies"])


def test_extras_are_explained() -> None:
    """The page of installation tells of each extra that users may want."""
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    assert [extra for extra in PROJECT["optional-dependencies"] if f"`[{extra}]`" not in page] == []


def test_entry_points(built: Built) -> None:
    """The wheel gives one command; the daemon comes by the dropin."""
    with ZipFile(built.wheel) as archive:
        (name,) = [one for one in archive.namelist() if one.endswith("entry_points.txt")]
        assert archive.read(name).decode().split() == [
            "[console_scripts]",
            "aero-storage",
            "=",
            "aero_storage.cli.main:main",
        ]


def test_sdist_holds_all(built: Built) -> None:
    """The source distribution has what a packager builds and tests with: sources, client, tests, pages, etc/."""
    wanted = {
        *("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "Makefile", "MANIFEST.in"),
        *("src/aero_storage/py.typed", "src/aero_storage/client/aero-disk.js", "src/aero_storage/client/LICENSE"),
        *(DROPIN, "tests/test_packaging.py", "docs/how-to/install.md", "etc/aero-storage.toml"),
        *("share/man/man1/aero-storage.1", "browser/package.json", "tools/reference_pages.py"),
    }
    assert wanted - built.sdist_names == set()
    assert [name for name in built.sdist_names if "__pycache__" in name or name.endswith("dropin.cache")] == []


def test_one_version() -> None:
    """The npm package has the version of the Python package, the changelog begins with it, no module repeats it."""
    npm = json.loads((ROOT / "browser" / "package.json").read_text(encoding="utf-8"))
    version = PROJECT["version"]
    assert npm["version"] == version
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading[1] == version
    sources = (ROOT / "src").rglob("*.py")
    assert [path for path in sources if f'"{version}"' in path.read_text(encoding="utf-8")] == []


def test_fresh_environment(built: Built, tmp_path: Path) -> None:
    """In an environment of its own, as pipx makes one, the wheel gives command, module, plugin and manual pages."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", "--no-deps", str(built.wheel), cwd=tmp_path)
    # What it requires is here already: the requirements themselves are looked at by test_dependencies.py.
    (purelib,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (purelib / "requirements.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    expected = f"aero-storage, version {PROJECT['version']}\n"
    assert run(str(python.with_name("aero-storage")), "--version", cwd=tmp_path) == expected
    assert run(str(python), "-m", "aero_storage", "--version", cwd=tmp_path) == expected
    code = "import aero_storage, twisted.scripts.twistd as t; print(aero_storage.__file__); t.run()"
    said = run(str(python), "-c", code, "aero-storage", "--version", cwd=tmp_path).splitlines()
    assert said == [str(purelib / "aero_storage" / "__init__.py"), f"aero-storage {PROJECT['version']}"]
    assert (tmp_path / "venv" / "share" / "man" / "man1" / "aero-storage.1").is_file()


def test_twistd_knows_the_command(tmp_path: Path) -> None:
    """The twistd of this environment lists aero-storage among its commands."""
    twistd = Path(sys.executable).parent / "twistd"
    assert "aero-storage" in run(str(twistd), "--help", cwd=tmp_path).split()


def test_dropin_imports_no_reactor(tmp_path: Path) -> None:
    """Importing the dropin leaves the choice of the reactor open, so that `twistd -r` works."""
    code = (
        "import sys, twisted.plugins.aero_storage_plugin as dropin; "
        "print(dropin.aero_storage.tapname, 'twisted.internet.reactor' in sys.modules)"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path).split() == ["aero-storage", "False"]


def test_release_workflow() -> None:
    """The workflow of releases makes all by one script, and lets no job write but where it publishes."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow[True]["push"] == {"tags": ["v*"]}  # YAML 1.1: `on` is a boolean
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs.keys() == {"build", "release", "pypi", "npm", "container"}
    assert all(jobs[name]["needs"] == "build" for name in ("pypi", "npm", "container"))
    assert jobs["release"]["needs"] == ["build", "pypi", "npm", "container"]  # nobody hears of half a release
    assert "permissions" not in jobs["build"]
    (script,) = [step["run"].split()[0] for step in jobs["build"]["steps"] if "run" in step]
    assert os.access(ROOT / script, os.X_OK)
    # npm reads a/b as a repository of GitHub, also where it is a file.
    (published,) = [step["run"].split()[-1] for step in jobs["npm"]["steps"] if "run" in step]
    assert published.startswith("./dist/")
    uses = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert [one for one in uses if "@" not in one] == []


@pytest.mark.parametrize("tag", ["v9.9.9", "0.2.0"])
def test_release_of_another_version(tag: str) -> None:
    """A tag that is not the version's makes no release."""
    done = subprocess.run([ROOT / ".ci" / "release", tag], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"The tag is {tag}, pyproject.toml has {PROJECT['version']}" in done.stderr
    assert done.stdout == ""
