"""Packets that the kernel has dropped within itself, as it tells of them."""

from pathlib import Path

import pytest

from floodtest.flyweight.machine.softnet import read_dropped

LINE = "0000000a {} 00000005 00000000 00000000"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        (LINE.format("00000000"), 0),
        (f"{LINE.format('000000ff')}\n{LINE.format('00000001')}\n", 256),
        ("", 0),
        ("none", None),
        ("0000000a none", None),
    ],
)
def test_drops_of_all_cores_are_added(text: str, dropped: int | None, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/softnet_stat").write_text(text)
    assert read_dropped(tmp_path) == dropped


def test_without_the_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_dropped(tmp_path) is None


def test_this_kernel_tells() -> None:
    assert read_dropped() is not None
