"""flyweight.command.options: what is read, what is not, and that a person is told of all mistakes at once."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.command import options
from floodtest.flyweight.command.options import Invalid
from floodtest.flyweight.errors import ExitCode, UsageError

READ: list[tuple[Callable[[Any], Any], str, object]] = [
    (options.duration, "10", 10.0),
    (options.duration, "10s", 10.0),
    (options.duration, "2m", 120.0),
    (options.duration, "1h", 3600.0),
    (options.duration, "500ms", 0.5),
    (options.duration, "0", 0.0),
    (options.duration, "1.5", 1.5),
    (options.duration, "0.25m", 15.0),
    (options.duration, " 10s ", 10.0),
    (options.positive_duration, "10s", 10.0),
    (options.positive_duration, "0.1", 0.1),
    (options.count, "1", 1),
    (options.count, "62000", 62_000),
    (options.count, "1,054,000", 1_054_000),
    (options.count, "1_054_000", 1_054_000),
    (options.rate, "5000", 5000.0),
    (options.rate, "5000/s", 5000.0),
    (options.rate, "0.5", 0.5),
    (options.rate, "1e4", 10_000.0),
    (options.rate, "5,000/s", 5000.0),
    (options.rate, "1,234,567.5/s", 1_234_567.5),
    (options.rate, "1_000", 1000.0),
    (options.one_of("columns", "tasks"), "tasks", "tasks"),
    (options.columns, "source,target", ("source", "target")),
    (options.columns, " 2, 1 ", ("2", "1")),
    (options.port, "0", 0),
    (options.port, "8000", 8000),
    (options.port, "65535", 65_535),
]
NOT_READ: list[tuple[Callable[[Any], Any], str]] = [
    (options.duration, ""),
    (options.duration, "s"),
    (options.duration, "-1"),
    (options.duration, "10 s"),
    (options.duration, "10x"),
    (options.duration, "1m30s"),
    (options.duration, "inf"),
    (options.duration, "nan"),
    (options.duration, "1e3"),
    (options.duration, ".5"),
    (options.positive_duration, "0"),
    (options.positive_duration, "0ms"),
    (options.positive_duration, "-1"),
    (options.columns, ""),
    (options.columns, "source"),
    (options.columns, "a,"),
    (options.columns, "a,b,c"),
    (options.columns, "1,1"),
    (options.count, ""),
    (options.count, "0"),
    (options.count, "1,5"),
    (options.count, "10,00"),
    (options.count, ",100"),
    (options.count, "-5"),
    (options.count, "1.5"),
    (options.count, "1e6"),
    (options.count, "many"),
    (options.count, "9" * 5000),
    (options.one_of("columns", "tasks"), ""),
    (options.one_of("columns", "tasks"), "Tasks"),
    (options.rate, ""),
    (options.rate, "0"),
    (options.rate, "-1"),
    (options.rate, "inf"),
    (options.rate, "nan"),
    (options.rate, "5/m"),
    (options.rate, "1,5"),
    (options.rate, "/s"),
    (options.port, ""),
    (options.port, "-1"),
    (options.port, "65536"),
    (options.port, "http"),
]


@pytest.mark.parametrize(("parse", "text", "value"), READ)
def test_read(parse: Callable[[Any], Any], text: str, value: object) -> None:
    assert parse(text) == pytest.approx(value)
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(("parse", "text"), NOT_READ)
def test_not_read(parse: Callable[[Any], Any], text: str) -> None:
    value = parse(text)
    assert isinstance(value, Invalid)
    assert value.text == text


PARSERS = [options.duration, options.positive_duration, options.count, options.rate, options.port]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("default", [None, 10.0, 17])
def test_a_default_passes_as_it_is(parse: Callable[[Any], Any], default: float | None) -> None:
    assert parse(default) == default


@given(st.text())
def test_any_text_is_a_value_or_invalid(text: str) -> None:
    for parse in PARSERS:
        value = parse(text)
        assert isinstance(value, Invalid) or value >= 0


@given(st.integers(1, 10**12))
def test_a_count_reads_as_people_write_it(number: int) -> None:
    assert options.count(f"{number:,}") == options.count(f"{number:_}") == options.count(str(number)) == number


def test_each_problem_is_a_sentence_that_names_option_value_and_remedy() -> None:
    given = {"first_port": options.port("http"), "ips": 17, "connect_timeout": options.duration("soon"), "out": "runs"}
    assert options.problems(given) == [
        "--first-port takes a port from 0 to 65535, not 'http'.",
        "--connect-timeout takes a duration such as 10, 10s, 500ms or 2m, not 'soon'.",
    ]


def test_check_names_all_of_them_and_exits_2() -> None:
    with pytest.raises(UsageError) as caught:
        options.check({"ips": options.count("none"), "rate": options.rate("fast"), "each": 5})
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_check_has_nothing_to_say_of_sound_options() -> None:
    options.check({"ips": options.count("17"), "rate": None, "hold": options.duration("10s")})
