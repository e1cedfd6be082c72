"""What users install: the wheel, and the command that it gives to twistd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
DROPIN = "twisted/plugins/aero_storage_plugin.py"


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    # From a copy: an in-tree build leaves a build/ behind, from which removed modules would come back.
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    caches = shutil.ignore_patterns("__pycache__", "*.egg-info", "dropin.cache")
    for name in ("src", "twisted", "bench", "torture"):
        shutil.copytree(ROOT / name, source / name, ignore=caches)
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(target), str(source), cwd=source)
    (wheel,) = target.glob("aero_storage-*.whl")
    with ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


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
    """No tests, tools or images travel in the wheel."""
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aero_storage", "twisted"}


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
