"""tools/reference_pages.py: the pages that it writes are those in the repository."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from aero_storage.cli.main import command
from aero_storage.metrics import Metrics, Registry
from aero_storage.settings import table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "tools" / "reference_pages.py"
GENERATED = (
    *(f"docs/reference/{name}.md" for name in ("settings", "metrics", "cli")),
    "browser/package.json",
    "share/man/man1/aero-storage.1",
    "share/man/man8/twistd-aero-storage.8",
    "share/bash-completion/completions/aero-storage",
    "share/zsh/site-functions/_aero-storage",
    "share/fish/vendor_completions.d/aero-storage.fish",
)


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def written(module: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reference")
    module.main(place)
    return place


def test_all_is_known(module: ModuleType) -> None:
    """The list of the test below has all that the program writes."""
    assert {*module.FILES} == {*GENERATED}


@pytest.mark.parametrize("name", GENERATED)
def test_files_are_current(written: Path, name: str) -> None:
    """What `make docs` would write is what is there."""
    there = (PROJECT / name).read_text(encoding="utf-8")
    assert (written / name).read_text(encoding="utf-8") == there, "run: make docs"


def test_every_setting_is_shown(written: Path) -> None:
    """The page of settings has a row for each flag, variable and key."""
    page = (written / "docs/reference/settings.md").read_text(encoding="utf-8")
    assert all(f"| `{row.variable}` | `{row.key}` |" in page and f"| `{row.flag}`" in page for row in table())


def test_every_metric_is_shown(written: Path) -> None:
    """The page of metrics has a row for each, with all its labels and nothing left to be guessed."""
    registry = Registry()
    Metrics(registry, "1", 0)
    page = (written / "docs/reference/metrics.md").read_text(encoding="utf-8")
    for family in registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"| `{name}` | {family.type} | " in page or name.startswith("process_"), name
    assert "| `http_requests_total` | counter | `route`; `method`; `status` | " in page
    assert "| `store_errors_total` | counter | `kind`: `meta`, `open_range`, `manifest` | " in page


def test_every_command_is_shown(written: Path) -> None:
    """The page of commands has a section for each, and a row for each of its options."""
    page = (written / "docs/reference/cli.md").read_text(encoding="utf-8")
    shown = {name for name, _ in commands_of("aero-storage", command)}
    assert {"aero-storage catalog check", "aero-storage lease keys new", "aero-storage import"} <= shown
    for name, one in commands_of("aero-storage", command):
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        options = [each for each in one.params if isinstance(each, click.Option) and not each.hidden]
        flags = [option.opts[0] for option in options]
        assert section, name
        assert all(f"\n| `{flag}" in section for flag in flags), name


def commands_of(name: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with its whole name."""
    for word, one in group.commands.items():
        if isinstance(one, click.Group):
            yield from commands_of(f"{name} {word}", one)
        else:
            yield f"{name} {word}", one
