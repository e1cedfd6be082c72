"""Finds ways for a secret to get into a log line, in the sources: a rule over syntax trees, no proof.

What is secret is told by its name, wherever that stands: a token, a cookie, an `Authorization`. What a client has
sent and nobody has checked (a head, a request target with its query) may hold one, and is treated alike. Names that
such a value is given within a function count as well.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = frozenset(
    {"authorization", "proxy-authorization", "metrics_auth_token", "metrics_token", "token", "cookie"}
)
UNCHECKED = frozenset({
    *("data", "head", "line", "lines", "headers", "header", "requestHeaders", "uri", "args", "query", "content"),
    *("read_headers", "getAllHeaders", "getAllRawHeaders", "getRawHeaders", "getHeader", "getCookie", "getUser"),
    *("getPassword", "received_cookies", "private_bytes", "to_cryptography_key", "privateKey"),
})  # fmt: skip
"""What holds bytes from outside or a key, by Twisted's names and ours."""

CARRIERS = frozenset({"request", "facts", "settings", "self", "options", "material"})
"""Objects that hold such things: to say one attribute is fine, to say them whole is not."""

LOG_METHODS = frozenset({
    *("event", "info", "warn", "warning", "error", "debug", "critical", "failure", "exception", "emit", "msg", "err"),
    *("complain", "_complain", "happened", "form", "break_off", "_tell"),
})  # fmt: skip
"""What methods are called that write log lines, or keep what a line will say."""

LOG_FUNCTIONS = frozenset({"print", "make_form", "complain"})
"""What functions are called that do."""

STREAMS = frozenset({"stderr", "stdout"})
INTROSPECTION = frozenset({
    *("asdict", "astuple", "vars", "locals", "__dict__", "capture_locals", "getDetailedTraceback", "format_stack"),
    *("printDetailedTraceback", "cgitb", "logging"),
})  # fmt: skip
"""What shows all that an object or a frame holds, whatever its repr leaves out, and ways past our log."""

_PASS_THROUGH = frozenset({
    *("str", "repr", "ascii", "bytes", "dict", "list", "tuple", "sorted", "format", "next", "getattr"),
    *("header", "split_range"),
})  # fmt: skip
"""Functions that give back what they were given, or a part of it."""
_OUR_LOG_METHODS = LOG_METHODS - {"error", "failure", "info", "form", "msg"}
"""Those that nothing else is called like."""

_ATTRIBUTES = {ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg", ast.keyword: "arg"}


def name_of(node: ast.AST) -> str | None:
    """What a node is called, or the text that it is."""
    if isinstance(node, ast.Constant):
        value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        return value.lower() if isinstance(value, str) else None
    field = _ATTRIBUTES.get(type(node))
    return getattr(node, field) if field else None


def secret_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that is called like a secret."""
    for node in ast.walk(tree):
        name = name_of(node)
        if name in SECRETS and (not isinstance(node, ast.Constant) or "authorization" in name or name == "cookie"):
            yield node.lineno, name  # type: ignore[attr-defined]


def introspections(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of what shows objects from inside."""
    for node in ast.walk(tree):
        name = name_of(node)
        if isinstance(node, ast.alias | ast.ImportFrom):
            path = node.name if isinstance(node, ast.alias) else node.module
            name = (path or "").partition(".")[0]
        if name in INTROSPECTION and not isinstance(node, ast.Constant):
            yield node.lineno, name  # type: ignore[attr-defined]


def logged_secrets(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of what may be secret among the arguments of what logs, and in texts of exceptions."""
    for scope in _scopes(tree):
        given = _aliases(scope)
        for node in _nodes_of(scope):
            for argument in _arguments(node):
                yield from ((node.lineno, name) for name in _suspects(argument, given))  # type: ignore[attr-defined]


def logging_calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every call that logs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _arguments(node):
            yield node.lineno, name_of(node.func) or ""


def uncalled_loggers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of methods that log and are not called, but given a name that no rule knows."""
    called = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _OUR_LOG_METHODS and id(node) not in called:
            yield node.lineno, node.attr


def _scopes(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """What a scope holds, but for functions within it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _nodes_of(child)


def _arguments(node: ast.AST) -> list[ast.AST]:
    """What a node says, if it says anything."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return [*node.exc.args, *node.exc.keywords]
    if not isinstance(node, ast.Call):
        return []
    name = name_of(node.func)
    if isinstance(node.func, ast.Attribute):
        logging_calls = name in LOG_METHODS or (name == "write" and name_of(node.func.value) in STREAMS)
    else:
        logging_calls = name in LOG_FUNCTIONS
    return [*node.args, *node.keywords] if logging_calls else []


def _suspects(tree: ast.AST, given: frozenset[str]) -> Iterator[str]:
    """Yield names in an expression that may be secret; one attribute taken of an object is not the whole object."""
    if isinstance(tree, ast.Call) and name_of(tree.func) == "len":
        return
    name, is_name = name_of(tree), isinstance(tree, ast.Name)
    is_raw = name in UNCHECKED | given and not isinstance(tree, ast.Constant)
    if name is not None and (name in SECRETS or is_raw or (is_name and name in CARRIERS)):
        yield name
    for child in ast.iter_child_nodes(tree):
        is_base = isinstance(tree, ast.Attribute) and isinstance(child, ast.Name) and child.id in CARRIERS - given
        if not is_base:
            yield from _suspects(child, given)


def _aliases(scope: ast.AST) -> frozenset[str]:
    """Names that are given to what may be secret, or to parts of it."""
    pairs = list(_assignments(scope))
    found: frozenset[str] = frozenset()
    while True:
        new = {name for names, value in pairs if _may_hold(value, found) for name in names}
        if new <= found:
            return found
        found |= new


def _assignments(scope: ast.AST) -> Iterator[tuple[list[str], ast.AST]]:
    for node in _nodes_of(scope):
        value = getattr(node, "value", None)
        if isinstance(node, ast.Assign):
            targets: list[ast.AST] = [*node.targets]
        elif isinstance(node, ast.NamedExpr | ast.AnnAssign | ast.AugAssign):
            targets = [node.target]
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            targets, value = [node.target], node.iter
        else:
            continue
        if value is not None:
            yield [name for target in targets for name in _assigned_names(target)], value


def _assigned_names(target: ast.AST) -> Iterator[str]:
    """The names that an assignment gives: of variables, of attributes, of what an item is put into."""
    for node in ast.walk(target):
        if isinstance(getattr(node, "ctx", None), ast.Store):
            name = name_of(node.value) if isinstance(node, ast.Subscript) else name_of(node)
            if name is not None:
                yield name


def _may_hold(value: ast.AST, given: frozenset[str]) -> bool:
    """Whether a value shows what may be secret: what another function makes of it is that function's business."""
    if isinstance(value, ast.Compare):
        return False
    if isinstance(value, ast.Call):
        keeps = name_of(value.func) in _PASS_THROUGH
        parts = [value.func, *value.args, *value.keywords] if keeps else [value.func]
    else:
        parts = [*ast.iter_child_nodes(value)]
        name = name_of(value)
        if name in UNCHECKED | SECRETS or (isinstance(value, ast.Name | ast.Attribute) and name in given):
            return True
    return any(_may_hold(part, given) for part in parts)
