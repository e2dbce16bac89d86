"""The answer: what one more user costs, how many this machine would hold, and where that can't be said."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from floodtest.analysis import Estimate, load
from floodtest.analysis.figures.cost_in_words import Room, answer_of, room_of
from floodtest.analysis.figures.fits import MemoryFit
from floodtest.analysis.figures.memory import MemoryFinding, memory_of
from floodtest.analysis.figures.summary_figures import one_more_of, summarize_memory
from floodtest.analysis.record.summary import Server
from tests.rigs.figures import sample, start

RECORDS = Path(__file__).parent / "records"

GB = 10**9


def finding(value: float, low: float, high: float) -> MemoryFinding:
    """An end whose connections cost so much, of which 6,000 were open."""
    cost = Estimate(value, low, high)
    fit = MemoryFit(cost, Estimate(0, 0, 0), (), Estimate(0, 0, 0), 0.0, 30)
    return MemoryFinding(np.array([0.0, 6000.0]), np.array([0.0, 6000 * value]), fit, None)


STARLETTE = {"server": finding(42_413, 41_500, 43_300), "client": finding(100, 90, 110)}
STARLETTE["kernel"] = finding(8_400, 8_200, 8_600)

FIRST = "One more user costs 41.4 KiB of the server's memory (40.5 to 42.3) and 4.10 KiB of the kernel's."


@pytest.mark.parametrize(
    ("room", "held"),
    [
        (Room(25 * GB, None), "about 530,000 of them, with clients elsewhere; memory ends first."),
        (Room(25 * GB, 10**7), "about 530,000 of them, with clients elsewhere; memory ends first."),
        (
            Room(25 * GB, 1024),
            "1,024 of them at the most; the open files that the server's processes may have end first.",
        ),
    ],
)
def test_the_answer_has_the_cost_and_what_ends_first(room: Room, held: str) -> None:
    assert answer_of(STARLETTE, room) == f"{FIRST} This machine would hold {held}"


def test_without_a_sample_from_before_the_ramp_there_is_no_word_of_how_many() -> None:
    assert answer_of(STARLETTE, Room(None, None)) == FIRST


def test_what_may_be_nothing_is_said_to_be_less_than_the_upper_end() -> None:
    found = {**STARLETTE, "server": finding(455, -500, 1400)}
    said = answer_of(found, Room(25 * GB, None))
    assert said.startswith(
        "One more user costs less than 1.37 KiB of the server's memory and 4.10 KiB of the kernel's."
    )
    assert "about 5,300,000 of them" in said


def test_of_an_uncertain_cost_it_is_said_how_many_fit_at_least() -> None:
    found = {**STARLETTE, "server": finding(4000, 1000, 60_000)}
    assert "at least 380,000 of them" in answer_of(found, Room(25 * GB, None))


def test_of_a_kernel_that_has_less_than_before_nothing_is_said() -> None:
    said = answer_of({**STARLETTE, "kernel": finding(-3500, -4000, -3000)}, Room(25 * GB, None))
    assert said == "One more user costs 41.4 KiB of the server's memory (40.5 to 42.3)."


def test_a_cost_without_an_interval_is_no_ground_for_how_many() -> None:
    growth = MemoryFinding(np.array([0.0, 6000.0]), np.array([0.0, 6e6]), None, None, 0.0, Estimate(1000, 1000, 1000))
    said = answer_of({**STARLETTE, "server": growth}, Room(25 * GB, None))
    assert said == "One more user costs 1,000 B of the server's memory and 4.10 KiB of the kernel's."


def test_a_server_that_was_not_measured_has_no_answer() -> None:
    empty = MemoryFinding(np.zeros(0), np.zeros(0), None, None)
    assert "its memory was not measured" in answer_of({**STARLETTE, "server": empty}, Room(GB, None))


def test_too_few_samples_have_no_answer_and_say_what_to_do() -> None:
    few = MemoryFinding(np.array([0.0, 100.0]), np.array([10e6, 13e6]), None, Estimate(130e3, 130e3, 130e3))
    said = answer_of({**STARLETTE, "server": few}, Room(GB, None))
    assert "can't be said" in said
    assert "--rate" in said
    assert "KiB" not in said  # it would be nearly all fixed cost


def test_a_run_in_which_nothing_opened_says_so() -> None:
    nothing = {end: MemoryFinding(np.zeros(2), np.zeros(2), None, None) for end in STARLETTE}
    assert answer_of(nothing, Room(GB, None)).startswith("No connection was open")


def test_the_room_is_that_before_the_ramp() -> None:
    samples = [start(time=0.1, mem_available=5), start(mem_available=7), sample(mem_available=3)]
    server = Server(addresses=[], processes=[], found="", files=1024)
    assert room_of(samples, server) == Room(7, 1024)
    told = [start(time=0.1, mem_available=5), start(mem_available=7, mem_obtainable=4)]
    assert room_of(told, server) == Room(4, 1024)
    assert room_of(samples[2:], None) == room_of([], None) == Room(None, None)


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDS.iterdir()))
def test_terminal_json_report_and_comparison_have_each_figure_of_one_function(name: str) -> None:
    """A summary has what `memory_of` finds in the record; all the others take it from there."""
    record = load(RECORDS / name)
    found = memory_of(record)
    memory = summarize_memory(record.samples, found, "")
    for end, cost in (("server", memory.server), ("client", memory.client), ("kernel", memory.kernel)):
        assert cost is not None
        assert isinstance(found[end].one_more, Estimate)
        assert one_more_of(cost) == found[end].one_more
    measured = found["kernel"].measured
    assert measured is not None
    assert memory.kernel_bytes_per_connection == pytest.approx(measured.value, abs=0.051)
    assert msgspec.json.decode(msgspec.json.encode(memory), type=type(memory)) == memory
