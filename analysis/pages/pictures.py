"""Pictures: figures of matplotlib in the house's style, written as SVG and PNG. matplotlib is an extra.

Colours are those of Okabe and Ito (jfly.uni-koeln.de/color), which colour-blind readers tell apart; lines differ in
dash or place as well. Text in an SVG is drawn as paths, so that it looks alike everywhere.
"""

import io
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from floodtest.analysis.pages.page_files import write_file
from floodtest.flyweight.command.drawing import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
INK, FAINT = "#333333", "#dddddd"
COLOURS = {"server": BLUE, "client": VERMILION, "kernel": GREEN, "router": PURPLE}
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
"""Of runs that are compared."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (3, 1)), "-", "--")

WIDE, NARROW = 8.4, 4.2
"""Inches: for a window and for a telephone."""

MIB = 1 << 20

_STYLE = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "floodtest",
    "svg.fonttype": "path",
}


def style() -> AbstractContextManager[None]:
    """Draw in the house's style as long as the block lasts."""
    return drawing(_STYLE)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure; when everything is drawn in it, `lay_out` gives its parts their places."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def lay_out(figure: "Figure") -> "Figure":
    """Give axes and legends their places, without overlaps.

    Once a figure: where a figure has a layout engine of its own, each format that it is saved in draws it twice, the
    first time to find the places that it had before.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    ConstrainedLayoutEngine().execute(figure)
    return figure


def as_svg(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def write_png(path: Path, figure: "Figure") -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    write_file(path, file.getvalue())


def thousands(axes: "Axes", which: str = "both", most: int = 5) -> None:
    """Separate thousands, and have few ticks, so that none run into each other; `most` of them across."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if which in (name, "both"):
            axis.set_major_locator(MaxNLocator(most if name == "x" else 5, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def logarithmic(axes: "Axes") -> None:
    """Make the scale across logarithmic, its ticks at 1, 2 and 5 and their tenfolds, or at powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    subs = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def mark_stages(axes: "Axes", stages: list[tuple[str, float, float]], names: bool = True) -> None:
    """Shade every other stage, and name those that are wide enough above the axes."""
    if not stages:
        return
    begin, end = stages[0][1], max(stages[-1][2], stages[0][1] + 1e-9)
    axes.set_xlim(begin, end)
    per_letter = 0.08 / axes.get_window_extent().width * axes.figure.dpi
    for at, (name, start, stop) in enumerate(stages):
        if at % 2:
            axes.axvspan(start, stop, color="#f2f2f2", linewidth=0, zorder=0)
        if names and (stop - start) / (end - begin) > per_letter * len(name):
            axes.text(
                *((start + stop) / 2, 1.01, name),
                parse_math=False,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8.5,
                color="#666666",
            )


def legend_below(figure: "Figure", axes: "Axes", columns: int) -> None:
    """Put the legend under the axes, where it is over no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=9)
