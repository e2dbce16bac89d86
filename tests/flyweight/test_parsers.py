"""flyweight.command.parsers: what is read, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.parsers import Parser

MODELS = parsers.one_of(("columns", "tasks"))

READ: list[tuple[Parser[object], str, object]] = [
    (parsers.duration, "10", 10.0),
    (parsers.duration, "10s", 10.0),
    (parsers.duration, "2m", 120.0),
    (parsers.duration, "1h", 3600.0),
    (parsers.duration, "500ms", 0.5),
    (parsers.duration, "0", 0.0),
    (parsers.duration, "1.5", 1.5),
    (parsers.duration, "0.25m", 15.0),
    (parsers.duration, " 10s ", 10.0),
    (parsers.positive_duration, "10s", 10.0),
    (parsers.positive_duration, "0.1", 0.1),
    (parsers.count, "1", 1),
    (parsers.count, "62000", 62_000),
    (parsers.count, "1,054,000", 1_054_000),
    (parsers.count, "1_054_000", 1_054_000),
    (parsers.rate, "5000", 5000.0),
    (parsers.rate, "5000/s", 5000.0),
    (parsers.rate, "0.5", 0.5),
    (parsers.rate, "1e4", 10_000.0),
    (parsers.rate, "5,000/s", 5000.0),
    (parsers.rate, "1,234,567.5/s", 1_234_567.5),
    (parsers.rate, "1_000", 1000.0),
    (MODELS, "tasks", "tasks"),
    (parsers.columns, "source,target", ("source", "target")),
    (parsers.columns, " 2, 1 ", ("2", "1")),
    (parsers.natural, "0", 0),
    (parsers.whole, "-5", -5),
    (parsers.port, "0", 0),
    (parsers.port, "8000", 8000),
    (parsers.port, "65535", 65_535),
]
NOT_READ: list[tuple[Parser[object], str]] = [
    (parsers.duration, ""),
    (parsers.duration, "s"),
    (parsers.duration, "-1"),
    (parsers.duration, "10 s"),
    (parsers.duration, "10x"),
    (parsers.duration, "1m30s"),
    (parsers.duration, "inf"),
    (parsers.duration, "nan"),
    (parsers.duration, "1e3"),
    (parsers.duration, ".5"),
    (parsers.positive_duration, "0"),
    (parsers.positive_duration, "0ms"),
    (parsers.positive_duration, "-1"),
    (parsers.columns, ""),
    (parsers.columns, "source"),
    (parsers.columns, "a,"),
    (parsers.columns, "a,b,c"),
    (parsers.columns, "1,1"),
    (parsers.count, ""),
    (parsers.count, "0"),
    (parsers.count, "1,5"),
    (parsers.count, "10,00"),
    (parsers.count, ",100"),
    (parsers.count, "-5"),
    (parsers.count, "1.5"),
    (parsers.count, "1e6"),
    (parsers.count, "many"),
    (parsers.count, "9" * 5000),
    (MODELS, ""),
    (MODELS, "Tasks"),
    (parsers.rate, ""),
    (parsers.rate, "0"),
    (parsers.rate, "-1"),
    (parsers.rate, "inf"),
    (parsers.rate, "nan"),
    (parsers.rate, "5/m"),
    (parsers.rate, "1,5"),
    (parsers.rate, "/s"),
    (parsers.natural, "-1"),
    (parsers.natural, "x"),
    (parsers.whole, "1.5"),
    (parsers.port, ""),
    (parsers.port, "-1"),
    (parsers.port, "65536"),
    (parsers.port, "http"),
]


@pytest.mark.parametrize(("parser", "text", "value"), READ)
def test_read(parser: Parser[object], text: str, value: object) -> None:
    assert parser.parse(text) == pytest.approx(value)
    assert type(parser.parse(text)) is type(value)


@pytest.mark.parametrize(("parser", "text"), NOT_READ)
def test_not_read(parser: Parser[object], text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (a parser raises no other error, and its text is for nobody)
        parser.parse(text)


NUMBERS: list[Parser[float]] = [
    parsers.duration, parsers.positive_duration, parsers.count, parsers.natural, parsers.rate, parsers.port,
]  # fmt: skip


@given(st.text())
def test_any_text_is_a_value_or_invalid(text: str) -> None:
    for parser in NUMBERS:
        try:
            assert parser.parse(text) >= 0
        except ValueError:
            assert parser.complaint("--it", text) == f"--it takes {parser.expected}, not {text!r}."


@given(st.integers(1, 10**12))
def test_a_count_reads_as_people_write_it(number: int) -> None:
    parse = parsers.count.parse
    assert parse(f"{number:,}") == parse(f"{number:_}") == parse(str(number)) == number


def test_a_complaint_names_option_value_and_remedy_but_no_secret() -> None:
    assert parsers.port.complaint("--first-port", "http") == "--first-port takes a port from 0 to 65535, not 'http'."
    secret = Parser(str, "printable ASCII", is_secret=True)
    assert secret.complaint("--token", "é") == "--token takes printable ASCII."


def test_names_are_told_as_a_sentence_has_them() -> None:
    assert MODELS.expected == "columns or tasks"
    assert parsers.one_of(("auto", "host", "isolated")).expected == "auto, host or isolated"
