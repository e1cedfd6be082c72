"""The floor plan, kept true: who may import whom, read from the sources with `ast`.

A room is a package or module directly under `aero_storage`. It imports from lower floors and from itself. Two rooms
of one floor know each other only where `NEIGHBOURS` says so.
"""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
PACKAGE = "aero_storage"

FLOORS = {
    "": 0,  # aero_storage itself: a docstring, perhaps a version
    "errors": 0,
    "http": 0,
    "strict_json": 1,
    "logs": 1,
    "atomic_files": 1,  # locks, renames and syncs, which the catalog's writer and the rooms above it need
    "catalog": 2,
    "disk": 2,  # threads for blocking work, which both storage and streaming are given
    "linux": 2,
    "metrics": 2,
    "settings": 2,
    "chunks": 3,
    "storage": 3,
    "streaming": 3,
    "workers": 3,
    "delivery": 4,
    "doctor": 4,
    "web": 5,
    "cli": 6,
    "service": 6,
    "dropin": 7,
}
# (who, whom) on one floor
NEIGHBOURS = {
    ("http", "errors"),  # the rules raise our own errors
}
PURE_ROOMS = {"http", "catalog", "settings", "errors", "strict_json", "atomic_files", "chunks", "cli", "doctor"}
# library -> the modules (or packages) that may import it
LIBRARIES = {
    "klein": {"web.router"},
    "prometheus_client": {"metrics"},
    "click": {"cli"},
    "h11": {"http.general_head"},
    "rich": {"cli"},
    "urllib3": {"chunks.verify.remote", "doctor.http_client"},
}
FRAMEWORKS = {"twisted", "klein", "prometheus_client"}
REACTOR = "twisted.internet.reactor"
REACTOR_ROOM = "service"
MOST_LINES = 300


def within(name: str, whole: str) -> bool:
    """Whether the dotted `name` is `whole` or lies in it."""
    return name == whole or name.startswith(f"{whole}.")


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything that `module` imports, at any depth of its code."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            for alias in node.names:
                yield node.lineno, ".".join([*base, alias.name])


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and text of every dotted expression and every string, ways to a module without importing it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def room_of(name: str) -> str:
    """Return the room of a full dotted name of ours; a mere name in `aero_storage` belongs to the ground."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return "dropin"
    room = parts[1] if len(parts) > 1 else ""
    return room if room in FLOORS or len(parts) > 2 else ""


def floor_faults(module: str, target: str) -> Iterator[str]:
    room, other = room_of(module), room_of(target)
    for one in (room, other):
        if one not in FLOORS:
            yield f"{one} has no floor"
            return
    if room == other or (room, other) in NEIGHBOURS or FLOORS[other] < FLOORS[room]:
        return
    yield f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


def library_faults(module: str, target: str) -> Iterator[str]:
    room, library = room_of(module), target.partition(".")[0]
    if room in PURE_ROOMS and library in FRAMEWORKS:
        yield f"{room} imports {library}"
    may = LIBRARIES.get(library)
    if may is not None and not any(within(module, f"{PACKAGE}.{one}") for one in may):
        yield f"only {', '.join(sorted(may))} may import {library}"


def faults_of(path: str, source: str) -> Iterator[str]:
    """Yield what is wrong with one module; `path` is relative to the directory of the package or of the dropin."""
    is_package = path.endswith("__init__.py")
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    tree = ast.parse(source)
    if len(source.splitlines()) > MOST_LINES:
        yield f"{path}: {len(source.splitlines())} lines are two ideas; {MOST_LINES} are the most"
    if within(module, PACKAGE) and room_of(module + ".x") not in FLOORS:
        yield f"{path}: {room_of(module + '.x')} has no floor"
    imports = list(imported(tree, module, is_package=is_package))
    for line, target in imports:
        faults = floor_faults(module, target) if within(target, PACKAGE) else library_faults(module, target)
        yield from (f"{path}:{line}: {fault}" for fault in faults)
    if room_of(module) != REACTOR_ROOM:
        lines = {line for line, name in chain(imports, named(tree)) if within(name, REACTOR)}
        yield from (f"{path}:{line}: only {REACTOR_ROOM} names the reactor" for line in sorted(lines))


def faults_in(sources: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the modules `{path: source}`, one line each."""
    return [fault for path, source in sorted(sources.items()) for fault in faults_of(path, source)]


def our_sources() -> dict[str, str]:
    """Read our modules: those of the package, and the dropin."""
    return {
        str(path.relative_to(base)): path.read_text(encoding="utf-8")
        for base, pattern in ((ROOT / "src", f"{PACKAGE}/**/*.py"), (ROOT, "twisted/plugins/*.py"))
        for path in base.glob(pattern)
    }


def test_house_stands() -> None:
    """Every module of ours keeps to the floor plan."""
    sources = our_sources()
    assert f"{PACKAGE}/errors.py" in sources
    assert "twisted/plugins/aero_storage_plugin.py" in sources
    assert faults_in(sources) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("aero_storage/http/ranges.py", "from aero_storage.http import identifiers"),
        ("aero_storage/http/ranges.py", "from aero_storage.errors import ClientError"),
        ("aero_storage/http/ranges.py", "from .identifiers import image_id"),
        ("aero_storage/storage/local.py", "from aero_storage.catalog.model import Image"),
        ("aero_storage/storage/local.py", "import aero_storage.catalog"),
        ("aero_storage/storage/local.py", "from ..catalog import Image"),
        ("aero_storage/storage/__init__.py", "from .local import LocalStore"),
        ("aero_storage/storage/local.py", "from twisted.internet.threads import deferToThreadPool"),
        ("aero_storage/delivery/facts.py", "from aero_storage import __version__"),
        ("aero_storage/web/router.py", "import klein\nfrom klein.app import Klein"),
        ("aero_storage/metrics.py", "from prometheus_client import Counter"),
        ("aero_storage/service.py", "def run():\n    from twisted.internet import reactor"),
        ("aero_storage/streaming/producer.py", "from twisted.internet.interfaces import IReactorTime"),
        ("aero_storage/streaming/producer.py", "reactor = make()\nreactor.callLater(1, print)"),
        ("aero_storage/errors.py", "\n" * MOST_LINES),
        ("twisted/plugins/aero_storage_plugin.py", "from twisted.application.service import ServiceMaker"),
    ],
)
def test_rules_allow(path: str, source: str) -> None:
    """What the plan permits is no fault."""
    assert faults_in({path: source}) == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        (
            "storage/local.py",
            "from aero_storage.delivery.routes import TABLE",
            "1: storage (floor 3) imports delivery",
        ),
        ("storage/local.py", "from aero_storage import web", "1: storage (floor 3) imports web (floor 5)"),
        ("storage/local.py", "from ..web import router", "1: storage (floor 3) imports web (floor 5)"),
        ("storage/local.py", "from .. import web", "1: storage (floor 3) imports web (floor 5)"),
        ("storage/__init__.py", "from ..web import router", "1: storage (floor 3) imports web (floor 5)"),
        ("storage/local.py", "import os, aero_storage.web.router", "1: storage (floor 3) imports web (floor 5)"),
        ("storage/local.py", "def f():\n    import aero_storage.web", "2: storage (floor 3) imports web (floor 5)"),
        (
            "storage/local.py",
            "from aero_storage.streaming import x",
            "1: storage (floor 3) imports streaming (floor 3)",
        ),
        ("errors.py", "from aero_storage.http import ranges", "1: errors (floor 0) imports http (floor 0)"),
        ("storage/local.py", "from aero_storage.attic.box import x", "1: attic has no floor"),
        ("attic/box.py", "x = 1", "attic has no floor"),
        ("attic.py", "x = 1", "attic has no floor"),
        ("http/dates.py", "from twisted.web.http import datetimeToString", "1: http imports twisted"),
        ("catalog/reader.py", "import twisted", "1: catalog imports twisted"),
        ("settings.py", "if x:\n    from twisted.python import usage", "2: settings imports twisted"),
        ("errors.py", "import prometheus_client", "1: errors imports prometheus_client"),
        ("web/channel.py", "from klein import Klein", "1: only web.router may import klein"),
        ("service.py", "from klein.resource import KleinResource", "1: only web.router may import klein"),
        ("web/application.py", "import klein", "1: only web.router may import klein"),
        ("logs.py", "import prometheus_client.core", "1: only metrics may import prometheus_client"),
        ("web/router.py", "from twisted.internet import reactor", "1: only service names the reactor"),
        ("web/router.py", "import twisted.internet.reactor as r", "1: only service names the reactor"),
        ("web/router.py", "from twisted.internet.reactor import callLater", "1: only service names the reactor"),
        ("web/router.py", "x = 1\ntwisted.internet.reactor.run()", "2: only service names the reactor"),
        ("web/router.py", "namedAny('twisted.internet.reactor')", "1: only service names the reactor"),
        ("errors.py", "x = 1\n" * (MOST_LINES + 1), "301 lines are two ideas; 300 are the most"),
    ],
)
def test_rules_forbid(path: str, source: str, fault: str) -> None:
    """What the plan rules out is told with its place; that nothing is found in our code means something."""
    found = faults_in({f"aero_storage/{path}": source})
    assert [one for one in found if one.startswith(f"aero_storage/{path}:") and fault in one]


def test_dropin_leaves_the_reactor_alone() -> None:
    """The dropin, which every twistd command imports, may not bring in a reactor."""
    source = "from twisted.internet import reactor"
    (found,) = faults_in({"twisted/plugins/aero_storage_plugin.py": source})
    assert "only service names the reactor" in found
