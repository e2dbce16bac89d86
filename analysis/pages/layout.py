"""Charts: panels with all that is drawn in them, and the places these parts have in a picture of a given width.

In: a `Chart`, a `Shape`. Out: its figure, ready to be saved; it can be laid out again for another width, with nothing
drawn anew. Sizes are points (72 an inch) but where inches are said.

matplotlib's layout engines measure each text of a figure two or three times, and each time it is saved it measures them
again for the places of titles and labels. Here the style says how high texts are, only the labels of ticks are
measured, and those of a legend, once for all widths; what has its place keeps it. A legend of matplotlib's looks for
the places of its parts each time that it is drawn, for a fifth of all the time, so ours is made of lines and texts.
tests/analysis/test_layout.py holds the places against what matplotlib measures: no text lies on another, and none is
cut off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.text import Text

FONT = "DejaVu Sans"
SIZE, TITLE_SIZE, STAGE_SIZE, LEGEND_SIZE = 9.5, 10.0, 8.5, 9.0
LINE, LAST_LINE = 1.2, 1.0
"""Heights of lines of text, by its size: of a line above another, and of the last one."""

TICK = 7.0
"""From the edge of a panel to the labels of its ticks: as long as a tick is, and a gap as wide."""
LABEL_GAP, TITLE_GAP, LEGEND_GAP, EDGE = 4.0, 6.0, 4.0, 4.0
"""Between the labels of ticks and the name of an axis; a panel and its title; the name of an axis and the legend; all
that belongs to a panel and whatever is beside it.
"""

KEY, KEY_GAP, COLUMN_GAP = 18.0, 7.0, 18.0
"""Of a legend: the width of a piece of a line, and what is between it and its label, and between columns."""

LEAST = 1.0
"""The height or width of a panel of which a legend of very many groups leaves nothing."""

LETTER = 5.8
"""The width that a letter of a stage's name is taken to have, with a share of the gap to the next name."""


@dataclass(frozen=True)
class Shape:
    """How a chart becomes a picture: inches, columns of the legend, and whether panels are side by side."""

    width: float
    height: float
    columns: int = 1
    is_row: bool = False


@dataclass(frozen=True)
class Chart:
    """Panels with all that is drawn in them, and the shapes of its pictures, for a window and for a telephone.

    Of panels in a row the first shows the name of its axis up, of panels in a column the last that of its axis across.
    """

    figure: "Figure"
    panels: "list[Axes]"
    wide: Shape
    narrow: Shape
    shares: Sequence[float]
    """Of the height, of each panel, where they are in a column."""
    stage_names: "list[tuple[Text, float]]" = field(default_factory=list)
    """Above the first panel, each with the share of its width that the stage has."""
    legend: "list[Artist]" = field(default_factory=list)
    """As it was laid out last."""


def new_chart(wide: Shape, narrow: Shape, shares: Sequence[float] = (1.0,), share_x: bool = False) -> Chart:
    """Return a chart in which nothing is drawn yet; its panels share the axis across if told so."""
    from matplotlib.figure import Figure

    figure = Figure()
    panels = figure.subplots(len(shares), 1, sharex=share_x, squeeze=False)[:, 0]
    return Chart(figure, list(panels), wide, narrow, shares)


@dataclass
class _Margins:
    """Around a panel, what its labels and titles take; `name_x` and `name_y` are how far off its axes' names are."""

    left: float
    right: float
    top: float
    bottom: float
    name_x: float
    name_y: float


def lay_out(chart: Chart, shape: Shape) -> "Figure":
    """Give panels, names of axes and stages, and the legend their places in a picture of that shape."""
    chart.figure.set_size_inches(shape.width, shape.height)
    legend = _place_legend(chart, shape)
    margins = []
    for at, axes in enumerate(chart.panels):
        axes.yaxis.label.set_visible(at == 0 or not shape.is_row)
        axes.xaxis.label.set_visible(axes is chart.panels[-1] or shape.is_row)
        margins.append(_margins(axes, 72 * shape.width / (len(chart.panels) if shape.is_row else 1)))
    if chart.stage_names:
        margins[0].top = EDGE + LAST_LINE * STAGE_SIZE
    places = _in_a_row(shape, margins, legend) if shape.is_row else _in_a_column(chart, shape, margins, legend)
    for axes, margin, (x, y, width, height) in zip(chart.panels, margins, places, strict=True):
        across, up = 72 * shape.width, 72 * shape.height
        axes.set_position((x / across, y / up, width / across, height / up))
        # A name that has its coordinates is not moved, for which matplotlib would measure all labels of ticks.
        axes.xaxis.set_label_coords(0.5, -margin.name_x / height)
        axes.yaxis.set_label_coords(-margin.name_y / width, 0.5)
    for text, share in chart.stage_names:
        text.set_visible(LETTER * len(text.get_text()) < share * places[0][2])
    return chart.figure


_Place = tuple[float, float, float, float]
"""Left, bottom, width and height of a panel."""


def _in_a_row(shape: Shape, margins: list[_Margins], below: float) -> list[_Place]:
    """Place panels of equal widths side by side."""
    free = 72 * shape.width - sum(margin.left + margin.right for margin in margins)
    bottom = below + max(margin.bottom for margin in margins)
    height = max(LEAST, 72 * shape.height - bottom - max(margin.top for margin in margins))
    width, x, places = max(LEAST, free / len(margins)), 0.0, []
    for margin in margins:
        places.append((x + margin.left, bottom, width, height))
        x += margin.left + width + margin.right
    return places


def _in_a_column(chart: Chart, shape: Shape, margins: list[_Margins], below: float) -> list[_Place]:
    """Place panels of one width below each other, each with its share of the height."""
    left, right = max(margin.left for margin in margins), max(margin.right for margin in margins)
    width = max(LEAST, 72 * shape.width - left - right)
    free = 72 * shape.height - below - sum(margin.top + margin.bottom for margin in margins)
    y, places = 72 * shape.height, []
    for margin, share in zip(margins, chart.shares, strict=True):
        height = max(LEAST, free * share / sum(chart.shares))
        y -= margin.top + height
        places.append((left, y, width, height))
        y -= margin.bottom
    return places


def _margins(axes: "Axes", width: float) -> _Margins:
    """Compute what is to be left free around a panel that has so much width, its labels included."""
    across, up = _labels(axes.xaxis, "labelbottom"), _labels(axes.yaxis, "labelleft")
    name_x = TICK + (LAST_LINE * SIZE if across else 0.0) + LABEL_GAP
    name_y = (TICK + max(label.width for label in up) if up else 0.0) + LABEL_GAP
    bottom = name_x + LAST_LINE * SIZE if _is_named(axes.xaxis) else name_x - LABEL_GAP
    left = name_y + LAST_LINE * SIZE if _is_named(axes.yaxis) else name_y - LABEL_GAP
    inside = width - left
    _thin_out(across, inside)
    before = max((label.width / 2 - label.share * inside for label in across), default=0.0)
    beyond = max((label.width / 2 - (1 - label.share) * inside for label in across), default=0.0)
    title = axes.get_title(loc="left")
    top = TITLE_GAP + TITLE_SIZE * (LINE * title.count("\n") + LAST_LINE) if title else SIZE / 2
    left, right = max(left, before), max(0.0, beyond)
    return _Margins(EDGE + left, EDGE + right, EDGE + top, EDGE + bottom, name_x, name_y)


def _is_named(axis: "Axis") -> bool:
    return bool(axis.get_label_text()) and axis.label.get_visible()


@dataclass(frozen=True)
class _Label:
    """The label of a tick: how far along the axis it is, 0 to 1, and how wide."""

    text: "Text"
    share: float
    width: float


def _labels(axis: "Axis", shown_by: str) -> list[_Label]:
    """Return the labels of an axis's ticks, as far as they are in the picture, if the parameter of that name is set."""
    places = [*axis.get_majorticklocs()]
    ticks = axis.get_major_ticks(len(places))
    for tick in ticks:
        tick.label1.set_in_layout(False)  # or an axis measures all of them each time that it is drawn
    if not axis.get_tick_params()[shown_by]:
        return []
    low, high = axis.get_transform().transform(axis.get_view_interval())
    shares = (axis.get_transform().transform(places) - low) / (high - low)
    words = axis.get_major_formatter().format_ticks(places)
    return [
        _Label(tick.label1, share, _width(text))
        for tick, share, text in zip(ticks, shares.tolist(), words, strict=True)
        if text and -1e-6 <= share <= 1 + 1e-6
    ]


def _thin_out(labels: list[_Label], length: float) -> None:
    """Hide labels across that would lie on the next one; the last stays, for it says how far the axis goes."""
    free = math.inf
    for label in sorted(labels, key=lambda label: -label.share):
        middle = label.share * length
        is_shown = middle + label.width / 2 + LABEL_GAP <= free
        label.text.set_visible(is_shown)
        if is_shown:
            free = middle - label.width / 2


def _place_legend(chart: Chart, shape: Shape) -> float:
    """Put the legend under the panels, where it is over no data; return its height with the gap, 0 without one."""
    for artist in chart.legend:
        artist.remove()  # it has its places in another shape
    chart.legend.clear()
    entries: list[tuple[Any, str]] = list(zip(*chart.panels[0].get_legend_handles_labels(), strict=True))
    if not entries:
        return 0.0
    rows = math.ceil(len(entries) / shape.columns)
    row = LEGEND_SIZE * (LINE * (1 + max(label.count("\n") for _, label in entries)) + 0.3)
    columns = [entries[at : at + rows] for at in range(0, len(entries), rows)]
    widths = [KEY + KEY_GAP + max(_width(label, LEGEND_SIZE) for _, label in column) for column in columns]
    x = (72 * shape.width - sum(widths) - COLUMN_GAP * (len(columns) - 1)) / 2
    for column, width in zip(columns, widths, strict=True):
        for at, (handle, label) in enumerate(column):
            chart.legend.extend(_entry(chart.figure, handle, label, x, row * (rows - at)))
        x += width + COLUMN_GAP
    return row * rows + LEGEND_GAP


def _entry(figure: "Figure", handle: Any, label: str, x: float, top: float) -> "list[Artist]":
    """Draw a key that looks like what it stands for, a line or an area, and its label."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import Affine2D

    points = Affine2D().scale(1 / 72) + figure.dpi_scale_trans
    middle = top - LEGEND_SIZE / 2
    key: Line2D | Rectangle
    if isinstance(handle, Line2D):
        key = Line2D([], [])
        key.update_from(handle)
        key.set_data([x, x + KEY / 2, x + KEY], [middle] * 3)
        key.set(markevery=[1], transform=points, clip_box=None, clip_path=None)
    else:
        key = Rectangle((x, middle - KEY / 6), KEY, KEY / 3, facecolor=handle.get_facecolor()[0], transform=points)
    words = figure.text(
        *(x + KEY + KEY_GAP, top, label), fontsize=LEGEND_SIZE, parse_math=False, va="top", transform=points
    )
    return [figure.add_artist(key), words]


@cache
def _font(size: float) -> "FontProperties":
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FONT, size=size)


@lru_cache(maxsize=1000)
def _width(text: str, size: float = SIZE) -> float:
    """Measure a text, of the size of a tick's label if none is said."""
    from matplotlib.textpath import text_to_path

    lines = text.split("\n")
    return max(float(text_to_path.get_text_width_height_descent(line, _font(size), False)[0]) for line in lines)
