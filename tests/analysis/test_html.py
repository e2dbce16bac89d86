"""analysis.pages.html: whatever is filled into a page is text, and a page has all of its styles in itself."""

import re

import pytest
from jinja2 import UndefinedError

from floodtest.analysis.pages.html import TEMPLATES, Picture, Table, fill_in
from tests.analysis.test_report import HOSTILE, Reader

VALUES = {
    "title": "t",
    "groups": Table(("a", "b"), []),
    "differences": [],
    "remarks": [],
    "figures": Table(("", "A"), []),
    "sections": [],
}


def compare_page(**changes: object) -> str:
    return fill_in("compare.html", **{**VALUES, **changes}).decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"title": HOSTILE},
        {"differences": [HOSTILE]},
        {"remarks": [HOSTILE]},
        {"figures": Table(("", HOSTILE), [("a", "b")])},
        {"figures": Table(("", "A"), [("a", HOSTILE)])},
        {"figures": Table(("", "A"), [("a", "b")], HOSTILE)},
        {"figures": Table(("", "A"), [("a", "b")], kind=HOSTILE)},
        {"sections": [{"title": HOSTILE, "picture": Picture(b"<svg/>", b"<svg/>", HOSTILE)}]},
    ],
)
def test_whatever_is_filled_in_is_text(changes: dict[str, object]) -> None:
    text = compare_page(**changes)
    page = Reader(text)
    assert "script" not in page.elements
    assert page.elements.count("img") == ("sections" in changes)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)
    assert "\ufffd" in text


def test_a_picture_is_in_the_page_itself() -> None:
    page = Reader(compare_page(sections=[{"title": "p", "picture": Picture(b"<svg>wide</svg>", b"<svg/>", "words")}]))
    assert page.addresses == [
        "data:,",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "data:image/svg+xml;base64,PHN2Zz53aWRlPC9zdmc+",
    ]


def test_the_styles_are_in_the_page_as_they_are_in_their_file() -> None:
    style = (TEMPLATES / "page.css").read_text()
    assert f"<style>\n{style}</style>" in compare_page()


def test_a_value_that_is_forgotten_is_a_fault_and_not_a_gap() -> None:
    with pytest.raises(UndefinedError, match="'figures' is undefined"):
        fill_in("compare.html", **{name: value for name, value in VALUES.items() if name != "figures"})


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_page(figures=Table(("", "A", "B"), [("a", "b")]))
