"""The walls of the house: which folder may import which, and that no modules import each other in a circle.

A folder of a room is a floor. `ROOMS` says which rooms a room may import, `FLOORS` in which order its floors lie: a
module imports from its own floor and from those before it, never from one behind it. Modules that lie in the room
itself and not on a floor are named with their place.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS: dict[str, set[str]] = {
    "flyweight": set(),
    "wire": {"flyweight"},
    "datagen": {"flyweight"},
    "analysis": {"flyweight"},
    "server_under_test": {"flyweight", "wire", "datagen"},
    "loadgen": {"flyweight", "wire", "analysis"},
}

FLOORS: dict[str, list[str]] = {
    "flyweight": ["errors", "machine", "engine", "command", "processes"],
    "wire": [
        "poll_options",
        "causes",
        "ring",
        "ring_servers",
        "tls",
        "http",
        "template",
        "poll_requests",
        "stamp",
        "matrix",
        "framing",
        "mark",
        "times",
        "messages",
        "grammar",
        "open_when",
        "incoming",
        "answers",
        "handshake",
        "raw",
        "poll_opening",
        "protocols",
        "requests",
    ],
    "analysis": ["record", "figures", "pages"],
    "server_under_test": [
        "limits",
        "models",
        "bus_options",
        "options",
        "routing",
        "fronts",
        "cluster",
        "control",
        "generator",
        "serve",
        "serve_cluster",
        "commands",
        "__main__",
    ],
    "loadgen": ["plan", "network", "preflight", "client", "publisher", "run", "cluster", "commands", "__main__"],
}


COUNTERPARTS = {
    "accounts": "what an end counts of its connections",
    "causes": "why connections end: codes, and their words",
    "columns": "the model that keeps connections in columns, at either end",
    "compare": "a comparison: its figures, and its page",
    "messages": "what is delivered: its grammar, its options, the API and the command that publish it",
    "models": "the ways in which an end keeps connections",
    "options": "what a command line takes",
    "orders": "what a worker and its parent say to each other",
    "stages": "what a run goes through: its names, and what is done in each",
    "streams": "the open connections of an end",
    "tasks": "the model with a task for each connection, at either end",
    "worker": "what a worker is given at its start",
}
"""Names of modules that several rooms or floors have, and what each of these modules is about."""


def modules() -> Iterator[tuple[str, Path]]:
    """Yield each module of the rooms by its name without the package's."""
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


MODULES = dict(modules())

FOLDERS = {path.parent.name for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a module imports anywhere in its text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("floodtest."):
            module = node.module.removeprefix("floodtest.")
            for alias in node.names:
                yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (a.name.removeprefix("floodtest.") for a in node.names if a.name.startswith("floodtest."))


Imports = dict[str, set[str]]


@pytest.fixture(scope="module")
def imports() -> Imports:
    """Read what each module imports: once, and not where another test has a name of this module."""
    return {name: set(imports_of(path)) for name, path in MODULES.items()}


def test_each_import_within_the_package_is_found(imports: Imports) -> None:
    assert "wire.stamp" in imports["wire.messages"]
    assert not any(name.partition(".")[0] not in ROOMS for names in imports.values() for name in names)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_rooms_below(room: str, imports: Imports) -> None:
    for module, imported in imports.items():
        if module.partition(".")[0] == room:
            strangers = {name for name in imported if name.partition(".")[0] not in ROOMS[room] | {room}}
            assert not strangers, f"{module} imports {strangers}"


@pytest.mark.parametrize("room", FLOORS)
def test_floors_import_only_floors_before_them(room: str, imports: Imports) -> None:
    floors = FLOORS[room]

    def place(module: str) -> int:
        floor = module.split(".")[1]
        return floors.index(floor) if floor in floors else len(floors)

    for module, imported in imports.items():
        if module.startswith(f"{room}."):
            above = [name for name in imported if name.startswith(f"{room}.") and place(name) > place(module)]
            assert not above, f"{module} imports {above}"


def test_a_name_is_of_one_module_or_means_one_thing_wherever_it_is() -> None:
    """A newcomer who looks for a name finds it once, or the counterpart of another room or floor."""
    named: dict[str, list[str]] = {}
    for module in MODULES:
        named.setdefault(module.rpartition(".")[2], []).append(module)
    several = {name for name, found in named.items() if len(found) > 1} - {"__main__", *ROOMS, *FOLDERS}
    assert several == set(COUNTERPARTS)


def test_each_floor_is_there() -> None:
    for room, floors in FLOORS.items():
        folders = {path.parent.name for path in (ROOT / room).glob("*/__init__.py")}
        assert folders <= set(floors), f"floors of {room} that have no place: {folders - set(floors)}"
        for floor in floors:
            assert (ROOT / room / floor).is_dir() or (ROOT / room / f"{floor}.py").exists(), f"{room}/{floor}"


def test_only_the_command_imports_what_composes_the_server(imports: Imports) -> None:
    benchmarks = {f"benchmarks.{path.stem}": set(imports_of(path)) for path in (ROOT / "benchmarks").glob("*.py")}
    everything = imports | benchmarks
    for composed, command in (("serve", "serving"), ("serve_cluster", "clustering")):
        importers = [name for name, imported in everything.items() if f"server_under_test.{composed}" in imported]
        assert importers == [f"server_under_test.commands.{command}"]


def test_which_bus_it_is_is_known_only_where_a_server_is_put_together(imports: Imports) -> None:
    """A router and the models of fronts have a bus and whereabouts as their interfaces say, so that others fit."""
    shared = {"server_under_test.routing.shared_bus", "server_under_test.routing.shared_whereabouts"}
    importers = {name for name, imported in imports.items() if imported & shared}
    assert importers == {
        "server_under_test.fronts.director",
        "server_under_test.fronts.hosting",
        "server_under_test.fronts.worker",
        "server_under_test.cluster.front_machine",
        "server_under_test.cluster.head",
        "server_under_test.cluster.machines",
        "server_under_test.cluster.reporter",
    }


def test_no_modules_import_each_other_in_a_circle(imports: Imports) -> None:
    within = {name: {one for one in imported if one in MODULES and one != name} for name, imported in imports.items()}
    try:
        list(TopologicalSorter(within).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
