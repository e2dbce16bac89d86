"""flyweight.command.options and command_line: a class is a command line, and all that is wrong is told at once."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
import typer

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.command_line import CommandLine, takes
from floodtest.flyweight.command.options import argument, arguments, choice, flag, option, part, repeatable, required
from floodtest.flyweight.command.parsers import Parser
from floodtest.flyweight.command.run import run_command
from floodtest.flyweight.errors import UsageError

Colour = Literal["red", "green"]
SECRET = Parser(parsers.port.parse, "a number that nobody sees", is_secret=True)


@dataclass(frozen=True)
class Bounds:
    least: int = option(1, parsers.count, "N", "The least.", "--bound-least")
    most: int = option(9, parsers.count, "N", "The most.", "--bound-most")


@dataclass(frozen=True)
class Extra:
    rate: float = field(metadata=required(parsers.rate, "N/s", "How often.", "--extra"))
    size: int = option(100, parsers.count, "BYTES", "How much.", "--extra-size")


@dataclass(frozen=True)
class Settings:
    place: Path = field(metadata=argument(parsers.path, "PLACE", "Where."))
    name: str = field(metadata=required(parsers.text, "TEXT", "What it is called.", "-n", "--name"))
    hold: float = option(10.0, parsers.duration, "SECONDS", "How long.")
    pause: float = option(0.06, parsers.duration, "SECONDS", "Between them.  [default: 60ms]")
    colour: Colour = choice("red", ("red", "green"), "Of what.")
    many: tuple[int, ...] = repeatable(parsers.count, "N", "Several.")
    is_loud: bool = flag("Say more.", "--loud")
    token: int | None = option(None, SECRET, "TEXT", "Nobody sees it.", variable="FLOODTEST_TEST_TOKEN")
    bounds: Bounds = field(default_factory=Bounds, metadata=part(Bounds))
    extra: Extra | None = field(default=None, metadata=part(Extra))


PLAIN = Settings(Path("here"), "x")


def read(line: CommandLine) -> Settings:
    settings = line.read(Settings)
    line.check(at_odds(settings.bounds), "bound_most")
    line.make("sum", lambda: impossible(settings), "hold")
    return settings


def at_odds(bounds: Bounds) -> Iterator[str]:
    if bounds.least > bounds.most:
        yield f"{bounds.least} is more than {bounds.most}."


def impossible(settings: Settings) -> None:
    if settings.hold > 99:
        raise UsageError("Nobody holds so long.", "Nobody at all.")


class Told:
    """A command that takes settings, and what it was told."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: Settings | None = None
        self.loudly = False
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self._app = typer.Typer(add_completion=False, rich_markup_mode=None)

        @self._app.command()
        @takes(Settings, read)
        def command(settings: Settings, loudly: bool = False) -> None:
            """Do it."""
            self.settings, self.loudly = settings, loudly

    def __call__(self, *words: str) -> tuple[object, str]:
        """Run it; return the exit code, and what was printed."""
        self._monkeypatch.setattr(sys, "argv", ["it", *words])
        with pytest.raises(SystemExit) as caught:
            run_command("it", self._app)
        printed = self._capsys.readouterr()
        return caught.value.code, printed.out + printed.err


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(capsys, monkeypatch)


def test_what_is_not_given_is_as_the_class_has_it(told: Told) -> None:
    assert told("here", "-n", "x") == (0, "")
    assert (told.settings, told.loudly) == (PLAIN, False)


def test_what_is_given_is_read_into_its_type(told: Told) -> None:
    words = "--hold 1m --pause 1s --colour green --many 1 --many 2,000 --loud --token 7 --bound-most 5 --loudly"
    assert told("here", "--name", "x", *words.split()) == (0, "")
    expected = replace(
        PLAIN, hold=60.0, pause=1.0, colour="green", many=(1, 2000), is_loud=True, token=7, bounds=Bounds(most=5)
    )
    assert (told.settings, told.loudly) == (expected, True)


def test_a_part_that_may_be_left_out_is_there_with_what_it_cannot_do_without(told: Told) -> None:
    told("here", "-n", "x")
    assert told.settings == PLAIN
    told("here", "-n", "x", "--extra-size", "5", "--extra", "2/s")
    assert told.settings == replace(PLAIN, extra=Extra(2.0, 5))


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_options(told: Told) -> None:
    wrong = ["--bound-least", "10", "--extra", "-1", "--many", "0", "--colour", "blue", "--token", "é", "--hold", "100"]
    code, printed = told("here", "-n", "x", *wrong)
    assert (code, told.settings) == (2, None)
    assert printed.splitlines() == [
        "it: --colour takes red or green, not 'blue'.",
        "it: --many takes a whole number from 1 on, not '0'.",
        "it: --token takes a number that nobody sees.",
        "it: --extra takes a number a second such as 5000, up to 10,000,000, not '-1'.",
        "it: 10 is more than 9.",
        "it: Nobody holds so long.",
        "it: Nobody at all.",
    ]


def test_a_check_is_not_made_where_what_it_looks_at_was_not_read(told: Told) -> None:
    code, printed = told("here", "-n", "x", "--bound-least", "10", "--bound-most", "many", "--hold", "soon")
    assert (code, told.settings) == (2, None)
    assert [line.split()[1] for line in printed.splitlines()] == ["--hold", "--bound-most"]


def test_what_was_not_made_counts_as_not_read() -> None:
    line = CommandLine({})
    assert line.make("number", lambda: 5) == 5
    assert line.make("whole", lambda: impossible(replace(PLAIN, hold=100.0))) is None
    assert line.make("further", lambda: 5, "whole") is None
    line.check(["never told"], "further")
    line.check(["told"], "number")
    with pytest.raises(UsageError) as caught:
        line.end()
    assert caught.value.problems == ("Nobody holds so long.", "Nobody at all.", "told")


def test_an_empty_text_is_not_one_that_is_left_out(told: Told) -> None:
    code, printed = told("here", "-n", "x", "--hold", "")
    assert (code, printed) == (2, "it: --hold takes a duration such as 10, 10s, 500ms or 2m, not ''.\n")


@pytest.mark.parametrize(("words", "missing"), [(("here",), "--name"), (("-n", "x"), "PLACE")])
def test_what_is_required_is_asked_for(words: tuple[str, ...], missing: str, told: Told) -> None:
    code, printed = told(*words)
    assert (code, told.settings) == (2, None)
    assert missing in printed


def test_the_environment_is_read_where_an_option_says_so(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOODTEST_TEST_TOKEN", "8")
    told("here", "-n", "x")
    assert told.settings == replace(PLAIN, token=8)


def test_help_has_each_option_once_in_the_order_of_the_fields_with_its_default(told: Told) -> None:
    code, printed = told("--help")
    assert code == 0
    texts = [
        *("PLACE", "Where.", "-n, --name TEXT", "--hold SECONDS", "[default: 10.0]", "--pause SECONDS"),
        *("[default: 60ms]", "--colour red|green", "[default: red]", "--many N", "--loud ", "--token TEXT"),
        *("--bound-least N", "[default: 1]", "--bound-most N", "[default: 9]", "--extra N/s", "--extra-size BYTES"),
        "--loudly",
    ]
    places = [printed.index(text) for text in texts]
    assert places == sorted(places)
    assert printed.count("[default: ") == 6 + 1  # with that of --extra-size
    assert "0.06" not in printed


def test_a_class_is_made_without_a_command_line() -> None:
    assert (PLAIN.hold, PLAIN.many, PLAIN.bounds, PLAIN.extra) == (10.0, (), Bounds(1, 9), None)
    with pytest.raises(TypeError):
        Extra()  # type: ignore[call-arg]


@dataclass(frozen=True)
class Few:
    first: str = field(metadata=argument(parsers.text, "FIRST", "One."))
    others: tuple[int, ...] = arguments(parsers.count, "N", "Any others.")


@pytest.mark.parametrize(("words", "others"), [(["a"], ()), (["a", "2", "30"], (2, 30)), (["a", "x"], None)])
def test_all_that_has_no_name_can_be_taken(words: list[str], others: tuple[int, ...] | None) -> None:
    app, told = typer.Typer(add_completion=False, rich_markup_mode=None), list[Few]()

    @app.command()
    @takes(Few)
    def command(few: Few) -> None:
        told.append(few)

    if others is None:
        with pytest.raises(UsageError, match=r"^N takes a whole number from 1 on, not 'x'\.$"):
            app(words, standalone_mode=False)
    else:
        app(words, standalone_mode=False)
        assert told == [Few("a", others)]
