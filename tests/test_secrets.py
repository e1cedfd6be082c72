"""A token, a cookie or an `Authorization` value never reaches the log: who may touch them, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aero_storage.delivery.desk import Desk
from aero_storage.delivery.facts import Facts
from aero_storage.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = Path(__file__).parents[1] / "src" / "aero_storage"
TOUCHED_BY = {
    ("delivery/facts.py", "authorization"),  # reads it from the head
    ("delivery/operations.py", "authorization"),  # compares it
    ("service/daemon.py", "metrics_auth_token"),  # hands it to what compares
    ("delivery/desk.py", "metrics_token"),  # keeps it for that
    ("delivery/operations.py", "token"),
    ("settings/table.py", "metrics_auth_token"),
}
"""All the places where a secret has a name. A new one is to be looked at before it is added."""
SPEAKERS = {"event", "info", "warn", "error", "debug", "critical", "failure", "complain", "_complain", "msg", "form"}
"""What methods that write log lines are called."""
NAMES = {"authorization", "metrics_auth_token", "metrics_token", "token", "cookie"}


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that is called like a secret."""
    for node in ast.walk(tree):
        name = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.keyword: "arg"}.get(type(node))
        if name and getattr(node, name) in NAMES:
            yield node.lineno, getattr(node, name)  # type: ignore[attr-defined]


def said(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every secret among the arguments of a call that logs."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SPEAKERS:
            for argument in (*call.args, *call.keywords):
                yield from uses(argument)


def parsed() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield path.relative_to(SOURCES).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_who_touches_secrets() -> None:
    """Secrets have names in few places, each of them known."""
    found = {(module, name) for module, tree in parsed() for _, name in uses(tree)}
    assert found == TOUCHED_BY


def test_no_secret_is_said() -> None:
    """No call that logs is given a secret."""
    assert [(module, *use) for module, tree in parsed() for use in said(tree)] == []


@pytest.mark.parametrize(
    "text",
    [
        "self.log.event('info', 'x', {'a': facts.authorization})",
        "log.warn(f'{settings.metrics_auth_token}')",
        "self._complain(exchange, 'x', token=token)",
        "complaints.complain('x', cookie=1)",
    ],
)
def test_the_rule_bites(text: str) -> None:
    """Each way to say a secret is found."""
    assert list(said(ast.parse(text)))


def test_repr() -> None:
    """What holds a secret does not show it, wherever its text may go."""
    facts = Facts("GET", "/metrics", authorization="Bearer zqsecret")
    assert "zqsecret" not in repr(facts)
    for holder, name in ((Settings, "metrics_auth_token"), (Facts, "authorization"), (Desk, "metrics_token")):
        field = next(field for field in holder.__attrs_attrs__ if field.name == name)
        assert not field.repr, f"{holder.__name__}.{name}"
