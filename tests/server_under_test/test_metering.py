"""server_under_test.fronts.metering: what was read of a socket is its text and what is counted besides."""

from collections.abc import Iterable

from floodtest.flyweight.engine.layer import Over, Sweep
from floodtest.server_under_test.fronts.metering import Meter


class FakeLayer:
    """Says of what it is given what a test has told it."""

    def __init__(self) -> None:
        self.texts: list[Sweep] = []
        self.forgotten: list[int] = []

    def open(self, sweeps: list[Sweep], over: Over) -> tuple[list[Sweep], Over]:
        return self.texts, over

    def seal(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        return data

    def seal_last(self, fds: list[int], data: list[bytes]) -> list[bytes]:
        return data

    def forget(self, fds: Iterable[int]) -> None:
        self.forgotten += fds


def test_what_is_no_text_is_counted_by_descriptor() -> None:
    layer = FakeLayer()
    meter = Meter(layer)
    layer.texts = [([3], [b"x" * 60], 0, 0)]
    read: list[Sweep] = [([3, 4], [b"y" * 82, b"z" * 30], 0, 0), ([4], [b"z"], 0, 0)]
    assert meter.open(read, [(4, 0)]) == (layer.texts, [(4, 0)])
    assert meter.take() == {3: 22, 4: 31}
    assert meter.take() == {}


def test_a_record_that_comes_in_two_reads_is_counted_once() -> None:
    layer = FakeLayer()
    meter = Meter(layer)
    meter.open([([3], [b"y" * 50], 0, 0)], [])
    first = meter.take()
    layer.texts = [([3], [b"x" * 60], 0, 0)]
    meter.open([([3], [b"y" * 32], 0, 0)], [])
    assert (first, meter.take()) == ({3: 50}, {3: -28})


def test_what_is_forgotten_is_forgotten_below() -> None:
    layer = FakeLayer()
    Meter(layer).forget([5, 6])
    assert layer.forgotten == [5, 6]
