"""Lines of code of the server that a run was against, by pygount, an extra. Pure but for reading the source.

Counted are the module its fronts run and every module of the server's package that it imports, in turn; blank lines,
comments and docstrings are not. None where pygount is missing, or the server is not ours.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from floodtest.analysis.record import Record

PACKAGE = "floodtest.server_under_test"


def lines_of_code(record: Record) -> float | None:
    """Count the bundled server's code for the model of a run."""
    model, folder = _model(record), _folder()
    module = None if model is None or folder is None else front_of(folder, model)
    return None if module is None or folder is None else _counted(folder, module)


@cache
def _counted(folder: Path, module: str) -> float | None:
    """Count once a process what takes half a second: a comparison has ten runs and more of one server."""
    return count(sources(folder, module))


def front_of(folder: Path, model: str) -> str | None:
    """Return the module that fronts of a model run, which has its name; None if the package has no such model."""
    # Listed, not looked for: the model is a text of a record, which may be anything.
    return f"fronts.{model}" if model in {path.stem for path in (folder / "fronts").glob("*.py")} else None


def _model(record: Record) -> str | None:
    """Name the bundled server's model: by the options, which a run that was killed has as well, or by the summary."""
    options = record.run.get("options")
    if not isinstance(options, dict) or options.get("target") is not None:
        return None
    if "server_model" in options:
        return str(options["server_model"])
    return "columns" if record.summary is None else record.summary.models.server


def _folder() -> Path | None:
    found = importlib.util.find_spec(PACKAGE)
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def sources(folder: Path, module: str, package: str = PACKAGE) -> list[Path]:
    """Return the file of a module of a package in a folder, and those of all that it imports of it, in turn."""
    found: set[Path] = set()
    left = [module]
    while left:
        path = _path_of(folder, left.pop())
        if path.exists() and path not in found:
            found.add(path)
            left += _imported(path, package)
    return sorted(found)


def _path_of(folder: Path, module: str) -> Path:
    return folder / f"{module.replace('.', '/')}.py"


def _imported(path: Path, package: str) -> list[str]:
    """Return what a module imports of a package: modules, by their names within it, and names that are none."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}."):
            home = (node.module or "").removeprefix(package).removeprefix(".")
            names += [home, *(f"{home}.{alias.name}".removeprefix(".") for alias in node.names)]
    return names


def count(paths: list[Path]) -> float | None:
    """Count lines of code, or None without pygount."""
    try:
        from pygount import SourceAnalysis
    except ImportError:
        return None
    return float(sum(SourceAnalysis.from_file(str(path), "server").code_count for path in paths))
