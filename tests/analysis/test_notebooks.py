"""The notebooks run from the first cell to the last against the recorded run that ships with the project."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "analysis/notebooks"

EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=120, resources={"metadata": {"path": sys.argv[2]}}).execute()
"""
"""In a process of its own: nbclient brings an event loop that is not trio."""


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path) -> None:
    arguments = [sys.executable, "-c", EXECUTE, str(notebook), str(NOTEBOOKS)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_its_outputs_are_kept(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in cells)
    assert "display_data" in kinds
    assert "error" not in kinds
    assert "/tmp/" not in notebook.read_text()


def test_there_are_two() -> None:
    assert len(list(NOTEBOOKS.glob("*.ipynb"))) == 2
