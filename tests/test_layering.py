"""The floor plan, kept true: the imports between our modules, read from the sources with `ast`.

A room is a package or module directly under `aero_storage`. It imports from itself and from the lines of `PLAN` above
its own. Imports under `TYPE_CHECKING` and in functions count, and so does a string that is the name of a module. No
imports between files form a cycle.
"""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

ROOT = Path(__file__).parents[1]
PACKAGE = "aero_storage"

# (floor, its rooms), from the ground upwards; a floor of several lines has rooms that build on others of its own
PLAN: tuple[tuple[int, frozenset[str]], ...] = (
    (1, frozenset({""})),  # aero_storage itself: a docstring, perhaps a version
    (1, frozenset({"errors"})),
    (1, frozenset({"sizes"})),
    (1, frozenset({"values"})),
    (1, frozenset({"strict_json"})),
    (1, frozenset({"http"})),
    (2, frozenset({"atomic_files", "disk", "image_formats", "lease_documents", "logs", "metrics"})),
    (2, frozenset({"emulator", "profiles", "settings"})),
    (2, frozenset({"catalog", "linux", "open_file"})),
    (3, frozenset({"chunks", "storage", "streaming", "workers"})),
    (4, frozenset({"delivery", "doctor"})),
    (5, frozenset({"web"})),
    (6, frozenset({"service"})),
    (6, frozenset({"cli"})),
    (6, frozenset({"__main__"})),
    (7, frozenset({"dropin"})),
)
FLOORS = {room: floor for floor, rooms in PLAN for room in rooms}
LINES = {room: line for line, (_, rooms) in enumerate(PLAN) for room in rooms}
PURE_ROOMS = {
    "http",
    "catalog",
    "settings",
    "errors",
    "sizes",
    "values",
    "strict_json",
    "atomic_files",
    "chunks",
    "cli",
    "doctor",
    "image_formats",
    "lease_documents",
    "profiles",
}
# library -> the modules (or packages) that may import it
LIBRARIES = {
    "klein": {"web.router"},
    "prometheus_client": {"metrics"},
    "click": {"cli"},
    "cryptography": {"http.leases.signatures", "service.listening.tls_material", "service.listening.tls_files"},
    "h11": {"http.general_head"},
    "rich": {"cli"},
    "segno": {"cli.qr_code"},
    "urllib3": {
        "chunks.verify.bounded_connections",
        "chunks.verify.remote",
        "cli.sources.http_requests",
        "doctor.http_client",
    },
    "backports": {"cli.sources.decoders"},
    "lz4": {"cli.sources.decoders"},
    "xxhash": {"storage.objects.block_cache"},
    "obstore": {"storage.objects.store_client"},
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
    if room != other and LINES[other] >= LINES[room]:
        yield f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


def module_of(path: str) -> str:
    """Return the dotted name of a module; `path` is relative to the directory of the package or of the dropin."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def module_at(name: str, modules: Collection[str]) -> str | None:
    """Return the module that a dotted name leads to: itself, or the one that defines its last part."""
    return next((one for one in (name, name.rpartition(".")[0]) if one in modules), None)


def launched(tree: ast.AST, modules: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string that is the name of one of `modules`, to be run or imported by it."""
    yield from ((line, name) for line, name in named(tree) if name != PACKAGE and name in modules)


def cycles_in(sources: Mapping[str, str]) -> Iterator[str]:
    """Yield each set of modules that import each other, directly or by way of others, as one line."""
    graph = {module_of(path): frozenset[str]() for path in sources}
    for path, source in sources.items():
        imports = imported(ast.parse(source), module_of(path), is_package=path.endswith("__init__.py"))
        targets = {module_at(name, graph) for _, name in imports}
        graph[module_of(path)] = frozenset(one for one in targets if one is not None)
    reach = {module: reachable(graph, module) for module in graph}
    circles = {frozenset(one for one in reach[module] if module in reach[one]) for module in graph}
    yield from sorted(f"import each other: {', '.join(sorted(circle))}" for circle in circles if circle)


def reachable(graph: Mapping[str, Collection[str]], start: str) -> set[str]:
    """Return the modules that `start` imports, directly or by way of others."""
    found: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph[module]
    return found


def library_faults(module: str, target: str) -> Iterator[str]:
    room, library = room_of(module), target.partition(".")[0]
    if room in PURE_ROOMS and library in FRAMEWORKS:
        yield f"{room} imports {library}"
    may = LIBRARIES.get(library)
    if may is not None and not any(within(module, f"{PACKAGE}.{one}") for one in may):
        yield f"only {', '.join(sorted(may))} may import {library}"


def faults_of(path: str, source: str, modules: Collection[str]) -> Iterator[str]:
    """Yield the faults of one module of `modules`; `path` is relative to the directory of the package or dropin."""
    is_package, module, tree = path.endswith("__init__.py"), module_of(path), ast.parse(source)
    if len(source.splitlines()) > MOST_LINES:
        yield f"{path}: {len(source.splitlines())} lines are two ideas; {MOST_LINES} are the most"
    if within(module, PACKAGE) and room_of(module + ".x") not in FLOORS:
        yield f"{path}: {room_of(module + '.x')} has no floor"
    imports = list(imported(tree, module, is_package=is_package))
    for line, target in chain(imports, launched(tree, modules)):
        faults = floor_faults(module, target) if within(target, PACKAGE) else library_faults(module, target)
        yield from (f"{path}:{line}: {fault}" for fault in faults)
    if room_of(module) != REACTOR_ROOM:
        lines = {line for line, name in chain(imports, named(tree)) if within(name, REACTOR)}
        yield from (f"{path}:{line}: only {REACTOR_ROOM} names the reactor" for line in sorted(lines))


def faults_in(sources: Mapping[str, str]) -> list[str]:
    """Return the faults of the modules `{path: source}`, one line each."""
    modules = {module_of(path) for path in sources}
    faults = [fault for path, source in sorted(sources.items()) for fault in faults_of(path, source, modules)]
    return [*faults, *cycles_in(sources)]


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
    """An import that the plan permits is no fault."""
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
        ("errors.py", "from aero_storage.http import ranges", "1: errors (floor 1) imports http (floor 1)"),
        ("catalog/model.py", "from aero_storage.linux import malloc", "1: catalog (floor 2) imports linux (floor 2)"),
        (
            "storage/local.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aero_storage.web.site import Site",
            "3: storage (floor 3) imports web (floor 5)",
        ),
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
    """An import that the plan forbids is reported with its place, so a clean report of our code means something."""
    found = faults_in({f"aero_storage/{path}": source})
    assert [one for one in found if one.startswith(f"aero_storage/{path}:") and fault in one]


@pytest.mark.parametrize(
    "sources",
    [
        {"a": "from aero_storage.http import b", "b": "from aero_storage.http.a import X"},
        {"a": "import aero_storage.http.b", "b": "from .c import X", "c": "from . import a"},
        {"a": "if TYPE_CHECKING:\n    from aero_storage.http.b import X", "b": "def f():\n    from .a import Y"},
        {"__init__": "from .a import X", "a": "from aero_storage.http import Y"},
    ],
)
def test_cycles_of_files(sources: Mapping[str, str]) -> None:
    """Files of one room that import each other are a fault, also by way of others, for types, and in functions."""
    (fault,) = faults_in({f"aero_storage/http/{name}.py": source for name, source in sources.items()})
    assert fault.startswith("import each other: aero_storage.http")
    assert len(fault.split(", ")) == len(sources)


def test_no_cycle_without_a_way_back() -> None:
    """Files that share an import, and a name that is defined by a package itself, make no cycle."""
    sources = {
        "aero_storage/http/__init__.py": "X = 1",
        "aero_storage/http/a.py": "from aero_storage.http import b, c, X",
        "aero_storage/http/b.py": "from aero_storage.http.c import Y",
        "aero_storage/http/c.py": "from aero_storage.http import X",
    }
    assert faults_in(sources) == []


def test_module_in_a_string() -> None:
    """A string that names a module counts as its import: a process may be started by it, in a room or downwards."""
    sources = {
        "aero_storage/service/parent.py": "LAUNCH = 'aero_storage.service.child'",
        "aero_storage/service/child.py": "from aero_storage.service import parent",
        "aero_storage/workers/starter.py": "LAUNCH = 'aero_storage.service.child'",
    }
    assert faults_in(sources) == ["aero_storage/workers/starter.py:1: workers (floor 3) imports service (floor 6)"]


def test_dropin_leaves_the_reactor_alone() -> None:
    """The dropin, which every twistd command imports, does not import a reactor."""
    source = "from twisted.internet import reactor"
    (found,) = faults_in({"twisted/plugins/aero_storage_plugin.py": source})
    assert "only service names the reactor" in found
