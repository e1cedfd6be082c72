"""Private names of Twisted: the installed version has them all, and no module uses one that is not in the table."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from aero_storage.errors import SettingsError
from aero_storage.service.twisted_internals import INTERNALS, Internal, check_internals

SOURCES = Path(__file__).parents[2] / "src" / "aero_storage"
OTHERS = {"_replace", "_lib", "_ffi", "_ssl", "_from_ssl", "_raise_ssl_error"}
"""The first is private by its name only: documented in the standard library. The others are pyOpenSSL's: where they
are missing, its public names have to do (`streaming/encryption.py`)."""


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: f"{internal.owner}.{internal.name}")
def test_installed_twisted_has_it(internal: Internal) -> None:
    """What the table names is there."""
    assert internal.is_there


def test_a_missing_name_is_one_line() -> None:
    """A Twisted without a name is refused, and the line says which name and which versions are good."""
    internals = [*INTERNALS, Internal("twisted.internet.tcp.Port", "_gone", "nothing", object)]
    with pytest.raises(SettingsError, match=r"^this version of Twisted has no .*tcp\.Port\._gone, "):
        check_internals(internals)


def test_an_example_that_cannot_be_made_is_missing() -> None:
    """A class that takes other arguments now counts as changed."""

    def fail() -> object:
        raise TypeError

    assert not Internal("twisted.internet.tcp.Port", "_gone", "nothing", fail).is_there


def private_names(tree: ast.AST) -> set[str]:
    """Return the private attributes that are read, set or called."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def own_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that a module defines: functions, classes, fields, attributes of `self`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign):
            yield from assigned(node.target)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from assigned(target)


def assigned(target: ast.expr) -> Iterator[str]:
    """Yield the variables and attributes of `self` in the target of an assignment."""
    for part in ast.walk(target):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
            yield part.attr


def test_no_other_private_name_is_used() -> None:
    """A private attribute that nothing of ours defines is in the table; `web` uses none of it."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py")}
    known = {internal.name for internal in INTERNALS}
    ours = {name for tree in trees.values() for name in own_names(tree)}
    foreign = {
        (path.parent.name, name) for path, tree in trees.items() for name in private_names(tree) - ours - OTHERS
    }
    assert {name for _, name in foreign} <= known
    assert [name for room, name in foreign if room == "web"] == []


def classes_of_ours() -> Iterator[type]:
    """Yield every class of ours that has a base of Twisted's."""
    for path in SOURCES.rglob("*.py"):
        if path.stem != "__main__":
            name = ".".join(("aero_storage", *path.relative_to(SOURCES).with_suffix("").parts)).removesuffix(
                ".__init__"
            )
            module = importlib.import_module(name)
            yield from (
                value
                for value in vars(module).values()
                if isinstance(value, type) and value.__module__ == name and bases_of_twisted(value)
            )


def bases_of_twisted(ours: type) -> list[type]:
    return [base for base in ours.__mro__ if base.__module__.startswith("twisted.")]


def test_no_private_name_is_overridden_unseen() -> None:
    """A private name that a class of ours shares with a base of Twisted's is in the table, whoever defines it."""
    known = {internal.name for internal in INTERNALS}
    for ours in classes_of_ours():
        tree = ast.parse(textwrap.dedent(inspect.getsource(ours)))
        names = private_names(tree) | {name for name in own_names(tree) if name.startswith("_")}
        theirs = "".join(inspect.getsource(base) for base in bases_of_twisted(ours))
        shared = {name for name in names if not name.startswith("__") and re.search(rf"\b{name}\b", theirs)}
        assert shared - known == set(), ours
