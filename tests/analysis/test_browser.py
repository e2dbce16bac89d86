"""The report and the comparison in a real browser: nothing is complained about, nothing is cut off, all is drawn."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from floodtest.analysis import load
from floodtest.analysis.figures.compare import compare
from floodtest.analysis.pages.compare import write_page
from floodtest.analysis.pages.report import write_report
from tests.analysis.test_report import EXAMPLE
from tests.rigs.browser import CHROMIUM, Browser, browser
from tests.rigs.figures import troubled

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium")

WINDOWS = (360, 400, 1400)
A4 = 688
"""CSS pixels between the margins of an A4 page."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a report and a comparison of the recorded run."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("page") / "example-run"))
    record = load(folder)
    record.run["summary"].update(msgspec.to_builtins(troubled()))
    commanded = replace(record, run={**record.run, "command": f"floodtest run --target http://{'a' * 300}/{{user}}"})
    groups = [[one, replace(one, folder=folder / "again")] for one in (record, commanded)]
    return {"report": write_report(record), "comparison": write_page(compare(groups), folder)}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("width", WINDOWS)
def test_a_page_fits_its_window_and_shows_every_picture(
    name: str, width: int, pages: dict[str, Path], window: Browser
) -> None:
    window.show(pages[name], width)
    assert window.complaints() == []
    assert window.value("document.documentElement.scrollWidth") <= width
    sizes = window.value("[...document.images].map(i => i.complete && i.naturalWidth > 100 && i.width > 200)")
    assert len(sizes) >= 4
    assert all(sizes)
    assert window.value("[...document.images].every(i => i.alt.length > 20)")


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_is_whole_without_scripts(name: str, pages: dict[str, Path], window: Browser) -> None:
    window.show(pages[name], 1400, scripts=False)
    assert window.complaints() == []
    assert window.value("document.querySelectorAll('table').length") >= 2


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_prints_without_cut_off(name: str, pages: dict[str, Path], window: Browser, tmp_path: Path) -> None:
    window.show(pages[name], A4)
    window.call("Emulation.setEmulatedMedia", media="print")
    try:
        wide = window.value(
            "Math.max(...[...document.querySelectorAll('table,img,p,li,h3,pre')].map(e => e.scrollWidth))"
        )
        assert wide <= A4
        assert window.value("document.documentElement.scrollWidth") <= A4
    finally:
        window.call("Emulation.setEmulatedMedia", media="")
    window.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("width", [width for width in WINDOWS if width < 600])
def test_labels_on_a_telephone_are_on_one_line(name: str, width: int, pages: dict[str, Path], window: Browser) -> None:
    window.show(pages[name], width)
    missing = window.value(
        """[...document.querySelectorAll('.cards td:not(:first-child)')].map(cell => {
          const whole = document.createElement('span');
          whole.textContent = cell.dataset.label;
          whole.style.cssText = 'position: absolute; white-space: nowrap';
          cell.append(whole);
          const missing = whole.getBoundingClientRect().width - parseFloat(getComputedStyle(cell, '::before').width);
          whole.remove();
          return missing;
        })"""
    )
    assert len(missing) > 4
    assert max(missing) < 1


@pytest.mark.parametrize("width", WINDOWS)
def test_no_two_texts_of_a_page_lie_over_each_other(width: int, pages: dict[str, Path], window: Browser) -> None:
    window.show(pages["report"], width)
    overlaps = window.value(
        """(() => {
          const boxes = [...document.querySelectorAll('td, th, p, h1, h2, h3, pre, li, figure, caption')]
            .filter(e => e.offsetWidth).map(e => e.getBoundingClientRect());
          let found = 0;
          for (let a = 0; a < boxes.length; a++) for (let b = a + 1; b < boxes.length; b++) {
            const [p, q] = [boxes[a], boxes[b]];
            const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
            const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
            if (across > 1.5 && down > 1.5) found++;
          }
          return found;
        })()"""
    )
    assert overlaps == 0
