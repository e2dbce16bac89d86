"""The floors of analysis: pages -> figures -> record, and what importing the library takes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ("record", "figures", "pages")


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_from_those_below_it_only(floor: str) -> None:
    below = tuple(f"analysis.{name}." for name in FLOORS[: FLOORS.index(floor) + 1])
    files = list((ROOT / "analysis" / floor).rglob("*.py"))
    assert len(files) > 3
    for path in files:
        names = {f"{name}." for name in imported(path) if name.partition(".")[0] == "analysis"}
        above = {name for name in names if not name.startswith(below)}
        assert not above, f"{path} imports {above}"


def test_the_library_is_imported_without_what_draws_and_writes_pages() -> None:
    code = "import sys, analysis; print({'matplotlib', 'jinja2', 'floodtest.analysis.pages'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
