"""flyweight.command.drawing: pictures look alike whatever a user's settings of matplotlib are, and the settings
stay.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from floodtest.analysis import load, read_findings
from floodtest.analysis.pages import pictures
from floodtest.analysis.pages.plots import memory_by_time
from floodtest.flyweight.command.drawing import drawing
from tests.analysis.test_report import EXAMPLE, written
from tests.rigs.figures import start
from tests.rigs.support import run, run_here

ODD = {
    "text.usetex": "True",
    "font.family": "No Such Font",
    "font.size": "30",
    "savefig.dpi": "20",
    "savefig.bbox": "tight",
    "savefig.facecolor": "black",
    "axes.facecolor": "black",
    "lines.linewidth": "9",
    "svg.fonttype": "none",
    "path.sketch": "1, 100, 2",
}
"""Settings that a person might have, each of which changes a picture, or ends it."""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.txt"
    path.write_text("".join(f"{user % int(user**0.5) + 1} {user}\n" for user in range(2, 3000)))
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Write a file of odd settings; give its folder."""
    folder = tmp_path / "settings"
    folder.mkdir()
    lines = [f"{name}: {value}" for name, value in {**ODD, "backend": "nonsense", "nonsense": "1"}.items()]
    (folder / "matplotlibrc").write_text("\n".join(lines))
    return folder


def plotted(graph: Path, name: str, **environment: str) -> bytes:
    """Plot a graph under a name, with these variables set; return the picture."""
    out = graph.with_name(name)
    done = run("fakefriends", "plot", str(graph), "-o", str(out), env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


def plotted_here(graph: Path, name: str) -> bytes:
    """Plot a graph with this process's settings, which are those of the library."""
    done = run_here("fakefriends", "plot", str(graph), "-o", str(graph.with_name(name)))
    assert done.returncode == 0, done.stderr
    return graph.with_name(name).read_bytes()


def test_a_plot_looks_alike_whatever_the_settings(graph: Path, settings: Path) -> None:
    plain = plotted_here(graph, "plain.png")
    assert plotted(graph, "backend.png", MPLBACKEND="nonsense", MATPLOTLIBRC=str(settings)) == plain
    jupyter = {"MPLBACKEND": "module://a_backend_that_is_missing"}
    assert plotted(graph, "jupyter.png", MPLCONFIGDIR="/dev/null/nowhere", HOME="/nonexistent", **jupyter) == plain


def drawn(folder: Path) -> list[bytes]:
    """Draw a plot of a report; return it as SVG and as PNG."""
    with pictures.style():
        chart = memory_by_time(read_findings(load(EXAMPLE)))
        assert chart is not None
        picture = pictures.write_picture(chart, folder, "plot", "")
        return [picture.wide, picture.narrow, (folder / "plot.png").read_bytes()]


def test_a_report_looks_alike_whatever_a_program_has_set(tmp_path: Path) -> None:
    plain = drawn(tmp_path)
    odd: Any = {name: value for name, value in ODD.items() if name != "path.sketch"}  # which is a tuple here
    with matplotlib.rc_context(odd):
        before = dict(matplotlib.rcParams)
        assert drawn(tmp_path) == plain
        assert dict(matplotlib.rcParams) == before


def test_a_report_is_written_whatever_the_backend(tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "nonsense"}
    done = run("floodtest", "report", str(written(tmp_path, [start()])), env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_style_is_what_is_drawn_with() -> None:
    with drawing({"lines.linewidth": 7.0}):
        assert matplotlib.rcParams["lines.linewidth"] == 7.0
        assert matplotlib.rcParams["font.size"] == 10.0


@pytest.mark.parametrize(("backend", "kept"), [("svg", "svg"), ("nonsense", "agg"), ("", "agg")])
def test_a_program_has_the_backend_that_it_was_started_with(backend: str, kept: str) -> None:
    """Such as a notebook, which is drawn in after a report was written from it."""
    code = (
        "import os, flyweight.command.drawing\n"
        "with flyweight.command.drawing.drawing({}): pass\n"
        "import matplotlib\n"
        "print(matplotlib.get_backend().lower(), repr(os.environ['MPLBACKEND']))\n"
    )
    environment = {**os.environ, "MPLBACKEND": backend, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == f"{kept} {backend!r}\n", done.stderr


def test_settings_that_cannot_be_read_are_told_in_a_line(graph: Path, settings: Path) -> None:
    (settings / "matplotlibrc").write_bytes(b"\xff\xfe")
    environment: dict[str, Any] = {"env": {**os.environ, "MATPLOTLIBRC": str(settings)}}
    done = run("fakefriends", "plot", str(graph), **environment)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("fakefriends: matplotlib can't be imported: 'utf-8' codec")
    made = run("fakefriends", "gen", "-n", "100", "-o", str(graph), "--force", **environment)
    assert made.returncode == 0, made.stderr
