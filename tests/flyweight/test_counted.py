"""flyweight.command.counted: numbers of things as a person reads them."""

import pytest

from floodtest.flyweight.command.counted import counted, was


@pytest.mark.parametrize(
    ("count", "things", "text"),
    [
        (0, "connections", "0 connections"),
        (1, "connections", "1 connection"),
        (1, "planned connections", "1 planned connection"),
        (1, "deliveries", "1 delivery"),
        (1000, "deliveries", "1,000 deliveries"),
    ],
)
def test_one_of_a_thing_is_no_plural(count: int, things: str, text: str) -> None:
    assert counted(count, things) == text
    assert was(count) == ("was" if count == 1 else "were")
