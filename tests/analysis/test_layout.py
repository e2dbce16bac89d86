"""analysis.pages.layout: parts of pictures have the places that matplotlib's own measures bear out, in any width."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine, TightLayoutEngine
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from floodtest.analysis import LatencyCounts, Sample, load
from floodtest.analysis.figures.compare import compare
from floodtest.analysis.pages.compare import PLOTS as OVERLAID
from floodtest.analysis.pages.compare import overlaid, scattered
from floodtest.analysis.pages.layout import Chart, Shape, lay_out
from floodtest.analysis.pages.pictures import as_svg, style
from floodtest.analysis.pages.plots import PLOTS
from floodtest.analysis.pages.report import write_report
from tests.analysis.test_compare import group
from tests.analysis.test_report import EXAMPLE, ramp
from tests.rigs.figures import findings_of, sample

MILLION = 1_000_000


def wide_numbers() -> list[Sample]:
    """Samples of a million connections, and of messages until an hour is over."""
    rows = ramp(stop=MILLION)
    last = sample(time=21, stage="messages", open=MILLION, server_private=3 << 30)
    return [*rows, last, msgspec.structs.replace(last, time=3600, messages=MILLION * 3600)]


LATENCY = LatencyCounts(np.array([[3.0, 10, 0, 0, 9], [1234.5, 500_000, 9, 9, 0]]))


def charts() -> Iterator[tuple[str, Chart]]:
    """Yield the charts of a report with their names, and two of a comparison of groups."""
    findings = replace(findings_of(wide_numbers()), latency=LATENCY)
    for plot in PLOTS:
        chart = plot.draw(findings)
        assert chart is not None
        yield plot.name, chart
    comparison = compare([group("a", 900, 1100), group("a\nlonger name", 5000, 5100)])
    name, _, draw, finish = OVERLAID[0]
    for of_all, chart in (("scatter", scattered(comparison)), (name, overlaid(comparison, draw, finish))):
        assert chart is not None
        yield of_all, chart


def texts_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """Draw a figure, and return the texts that are drawn with the boxes that matplotlib measures."""
    found = []
    original = Text.draw

    def draw(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text():
            found.append((text.get_text(), text.get_window_extent(renderer)))
        original(text, renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw)
        figure.draw_without_rendering()
    return found


def overlap(one: Bbox, other: Bbox) -> bool:
    """Say whether two boxes have more in common than the edge of a pixel."""
    shared = Bbox.intersection(one, other)
    return shared is not None and min(shared.width, shared.height) > 1


def test_no_text_is_cut_off_or_lies_on_another_or_on_a_panel() -> None:
    with style():
        for name, chart in charts():
            for shape in (chart.wide, chart.narrow):
                figure = lay_out(chart, shape)
                texts = texts_of(figure)
                assert len(texts) >= 6, name
                for text, box in texts:
                    inside = figure.bbox.padded(1)
                    assert inside.contains(box.x0, box.y0), (name, shape, text)
                    assert inside.contains(box.x1, box.y1), (name, shape, text)
                over = [(a, b) for (a, one), (b, two) in combinations(texts, 2) if overlap(one, two)]
                assert not over, (name, shape)
                if name != "scatter":  # which has the names of its rows in it
                    boxes = [axes.bbox for axes in chart.panels]
                    assert not [text for text, box in texts if any(overlap(box, panel) for panel in boxes)], name


def test_a_panel_has_most_of_its_picture() -> None:
    with style():
        for name, chart in charts():
            for shape in (chart.wide, chart.narrow):
                whole = lay_out(chart, shape).bbox
                shares = [axes.bbox.width * axes.bbox.height / whole.width / whole.height for axes in chart.panels]
                assert sum(shares) > 0.45, (name, shape)


def test_a_chart_that_is_laid_out_again_is_as_it_was() -> None:
    """Of panels in a row or a column, whose axes change their names, and with a legend."""
    with style():
        for _, chart in islice(charts(), 2):
            first = as_svg(lay_out(chart, chart.wide))
            assert as_svg(lay_out(chart, chart.narrow)) != first
            assert as_svg(lay_out(chart, chart.wide)) == first


def counted(monkeypatch: pytest.MonkeyPatch, counts: Counter[str], owner: type, name: str) -> None:
    """Count the calls of a method."""
    original: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        counts[f"{owner.__name__}.{name}"] += 1
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, call)


def test_a_report_makes_each_chart_once_and_measures_no_text_for_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making is a third of a report's time, and measuring was another."""
    counts: Counter[str] = Counter()
    for owner, name in (
        (Figure, "__init__"),
        (Figure, "draw"),
        (Text, "get_window_extent"),
        (TightLayoutEngine, "execute"),
        (ConstrainedLayoutEngine, "execute"),
    ):
        counted(monkeypatch, counts, owner, name)
    write_report(load(shutil.copytree(EXAMPLE, tmp_path / "run")))
    assert counts == {"Figure.__init__": len(PLOTS), "Figure.draw": 3 * len(PLOTS)}


def test_stages_are_named_where_their_names_have_room() -> None:
    rows = [msgspec.structs.replace(one, stage="a stage of a long name") for one in wide_numbers()]
    (plot,) = [plot for plot in PLOTS if plot.name == "connections-by-time"]
    with style():
        chart = plot.draw(findings_of(rows))
        assert chart is not None
        shown = []
        for width in (8.0, 2.0):
            lay_out(chart, Shape(width, 4))
            shown.append([text.get_visible() for text, _ in chart.stage_names])
    assert shown == [[True], [False]]
