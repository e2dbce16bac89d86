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

from floodtest.analysis.pages.html import Picture
from floodtest.analysis.pages.layout import FONT, SIZE, STAGE_SIZE, TITLE_SIZE, Chart, Shape, lay_out, new_chart
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

PACKING = {"compress_level": 1}
"""Of PNGs: two thirds of the time that the usual level takes, for a fifth more bytes."""

MIB = 1 << 20

_STYLE = {
    "font.size": SIZE,
    "font.family": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.titlesize": TITLE_SIZE,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # or it is looked for each time that the axes are drawn
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "floodtest",
    "svg.fonttype": "path",
}


def one_panel(height: float, columns: int, narrow_columns: int) -> Chart:
    """Return a chart of one panel, so many inches high, with a legend of so many columns in either width."""
    return new_chart(Shape(WIDE, height, columns), Shape(NARROW, height, narrow_columns))


def style() -> AbstractContextManager[None]:
    """Draw in the house's style as long as the block lasts."""
    return drawing(_STYLE)


def write_picture(chart: Chart, folder: Path, name: str, text: str) -> Picture:
    """Write a chart as a file .svg and one .png for a window; return it as a page has it, for both widths.

    Cost: the figure is laid out twice and drawn three times, some 150 ms in all.
    """
    wide = lay_out(chart, chart.wide)
    svg = as_svg(wide)
    write_file(folder / f"{name}.svg", svg)
    write_png(folder / f"{name}.png", wide)
    return Picture(svg, as_svg(lay_out(chart, chart.narrow)), text)


def as_svg(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def write_png(path: Path, figure: "Figure") -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, pil_kwargs=PACKING)
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


def mark_stages(chart: Chart, stages: list[tuple[str, float, float]]) -> None:
    """Shade every other stage in all panels, and name above the first those that are wide enough."""
    if not stages:
        return
    begin, end = stages[0][1], max(stages[-1][2], stages[0][1] + 1e-9)
    for axes in chart.panels:
        axes.set_xlim(begin, end)
        for _, start, stop in stages[1::2]:
            axes.axvspan(start, stop, color="#f2f2f2", linewidth=0, zorder=0)
    above = chart.panels[0]
    for name, start, stop in stages:
        text = above.text(
            *((start + stop) / 2, 1.01, name),
            parse_math=False,
            transform=above.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=STAGE_SIZE,
            color="#666666",
        )
        chart.stage_names.append((text, (stop - start) / (end - begin)))
