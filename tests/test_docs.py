"""What the documents promise is what the code has: fields, options, and the direction of imports."""

import ast
import re
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest

import analysis
from floodtest.analysis import Sample, Summary
from floodtest.loadgen.preflight.checks import CHECKS
from floodtest.loadgen.preflight.verdicts import Check
from tests.attacks.suite import ATTACKS
from tests.rigs.support import COMMANDS, run_here
from tests.test_walls import ROOMS

ROOT = Path(__file__).parent.parent
RECORD = (ROOT / "docs/run-record.md").read_text()


def test_every_field_of_a_sample_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", RECORD.split("## samples.csv")[1].split("## The summary")[0]))
    assert set(Sample.__struct_fields__) <= described


def test_every_key_of_the_summary_is_described() -> None:
    section = RECORD.split("## The summary")[1]
    for field in msgspec.structs.fields(Summary):
        assert f"`{field.name}" in section, field.name


@pytest.mark.parametrize(
    ("name", "subcommand", "page"),
    [
        ("floodtest", "run", "docs/floodtest.md"),
        ("floodtest", "plan", "docs/floodtest.md"),
        ("floodtest", "doctor", "docs/floodtest.md"),
        ("floodtest", "report", "docs/analysis.md"),
        ("floodtest", "compare", "docs/analysis.md"),
        ("floodtest", "merge", "docs/analysis.md"),
        ("comet", "serve", "docs/comet.md"),
        ("comet", "router", "docs/cluster.md"),
        ("comet", "front", "docs/cluster.md"),
        ("comet", "load", "docs/comet.md"),
        ("comet", "ring", "docs/comet.md"),
        ("fakefriends", "gen", "docs/fakefriends.md"),
        ("fakefriends", "stats", "docs/fakefriends.md"),
        ("fakefriends", "plot", "docs/fakefriends.md"),
        ("fakefriends", "convert", "docs/fakefriends.md"),
    ],
)
def test_every_option_is_described(name: str, subcommand: str, page: str) -> None:
    options = set(re.findall(r"(--[a-z][a-z-]+)", run_here(name, subcommand, "--help").stdout))
    assert len(options) > (10 if subcommand in ("run", "serve") else 1)
    text = (ROOT / page).read_text()
    assert not {option for option in options - {"--help"} if f"`{option}" not in text}


def paths_of(name: str) -> list[tuple[str, ...]]:
    """Return a command and all of its subcommands, as words of a command line."""
    paths: list[tuple[str, ...]] = [(name,)]
    for path in paths:  # which grows meanwhile
        _, _, listed = run_here(*path, "--help").stdout.partition("\nCommands:\n")
        paths += [(*path, line.split()[0]) for line in listed.splitlines() if re.match(r"  \w", line)]
    return paths


PATHS = [path for name in COMMANDS for path in paths_of(name)]


def test_the_commands_are_found() -> None:
    assert {("floodtest", "net", "up"), ("comet", "subs", "add"), ("fakefriends", "gen")} < set(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_each_command_has_its_help_and_version(path: tuple[str, ...]) -> None:
    shown = run_here(*path, "--help")
    assert shown.stdout.startswith("Usage: ")
    assert run_here(*path, "-h").stdout == shown.stdout
    told = run_here(*path, "--version")
    assert (told.returncode, told.stdout) == (0, f"{path[0]} {version('floodtest')}\n")


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_a_default_is_told_once_and_as_it_is_written(path: tuple[str, ...]) -> None:
    """Each option's default stands in its help once, and is what the option takes, not what Python calls it."""
    words = " ".join(run_here(*path, "--help").stdout.partition("Options:")[2].split())
    for option in re.split(r" (?=--[a-z])", words):
        defaults = re.findall(r"\[default: ([^\]]*)\]", option)
        assert len(defaults) <= 1, option
        assert not re.search(r"\w\(|=|<", " ".join(defaults)), option


def test_every_name_of_the_library_is_described() -> None:
    text = (ROOT / "docs/analysis.md").read_text()
    functions = [name for name in analysis.__all__ if name.islower()]
    assert not [name for name in functions if f"`{name}(" not in text]
    for name in ("column", "columns", "frame", "summary", "read_latency", "read_states", "read_ports"):
        assert f"`.{name}" in text


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_sysctl_of_the_doctor_is_explained(check: Check) -> None:
    text = (ROOT / "docs/host.md").read_text()
    if check.setting is not None:
        assert f"`{check.setting.name}`" in text or f"`{check.setting.name.rpartition('.')[2]}`" in text


RELIABILITY = (ROOT / "docs/reliability.md").read_text()


def test_every_test_that_a_promise_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]*test_\w+\.py)::(\w+)`", RELIABILITY)
    assert len(named) > 50
    functions = {
        path: {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in {path for path, _ in named}
    }
    assert not [f"{path}::{name}" for path, name in named if name not in functions[path]]


def test_every_attack_holds_a_promise_and_is_there() -> None:
    named = {
        name for found in re.findall(r"`make attack`: ([a-z]+(?:, [a-z]+)*)", RELIABILITY) for name in found.split(", ")
    }
    assert named == set(ATTACKS)


def test_every_promise_names_what_holds_it() -> None:
    for promise in re.findall(r"^- \*\*.*?(?=\n(?:- |\n|$))", RELIABILITY, re.MULTILINE | re.DOTALL):
        assert "`tests/" in promise or "`make attack`: " in promise, promise


def test_every_row_of_a_table_of_promises_has_what_holds_it() -> None:
    """The list below a table has an entry for each row, in their order, and one for all of them or what is between."""
    tables = re.findall(r"^\|---.*\n((?:\|.*\n)+)((?:.*\n)*?)((?:- .*\n(?:  .*\n)*)+)", RELIABILITY, re.MULTILINE)
    assert len(tables) == 2
    for rows, between, entries in tables:
        assert "In the order of the table" in between
        assert len(re.findall(r"^- ", entries, re.MULTILINE)) == rows.count("\n") + 1


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def test_each_file_of_the_architecture_is_there() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", ARCHITECTURE))
    have = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py") if ".venv" not in path.parts}
    lost = {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in have)}
    assert len(named) > 30
    assert not lost
    for room in re.findall(r"`([\w/]+/)`", ARCHITECTURE):
        assert (ROOT / room).is_dir(), room


def test_each_name_of_the_architecture_is_there() -> None:
    """Whatever stands in it as code is a function, a class, a constant or a field of the package, or a room's name."""
    named = set(re.findall(r"`(?:\w+\.)?(?!py`)(\w+)`", ARCHITECTURE))
    code = "\n".join(path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    defined = set(re.findall(r"^\s*(?:async def|def|class)\s+(\w+)|^\s*(\w+)(?::|\s=)", code, re.MULTILINE))
    assert len(named) > 30
    assert named - {name for pair in defined for name in pair} <= {*ROOMS, *COMMANDS}


def test_no_line_of_the_architecture_is_long() -> None:
    assert not [line for line in ARCHITECTURE.splitlines() if len(line) > 120]
