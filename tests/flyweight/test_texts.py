"""flyweight.engine.texts: what is written in shared memory is read, by whoever has its descriptor."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.flyweight.engine.texts import Texts, write_texts
from floodtest.flyweight.errors import Refused


@given(rows=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=20), data=st.data())
def test_what_is_written_is_read(rows: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    descriptor, shape = write_texts("test", 2, rows)
    texts = Texts(descriptor, shape)
    os.close(descriptor)
    assert shape.rows == len(rows)
    asked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10)) if rows else []
    for column in (0, 1):
        assert texts.column(column, asked) == [rows[row][column] for row in asked]


def test_it_is_on_no_disk() -> None:
    descriptor, _ = write_texts("test", 1, [(b"secret",)])
    assert os.readlink(f"/proc/self/fd/{descriptor}") == "/memfd:test (deleted)"
    os.close(descriptor)


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("error", [Refused("there is no second one"), OSError("the second one can't be read")])
def test_rows_that_fail_leave_nothing_behind(error: Exception) -> None:
    def rows() -> Iterator[tuple[bytes]]:
        yield (b"one",)
        raise error

    before = open_files()
    with pytest.raises(type(error), match="second"):
        write_texts("test", 1, rows())
    assert open_files() == before


def test_more_than_a_process_may_write_is_refused(tmp_path: Path) -> None:
    before, limits = open_files(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(Refused, match=r"Shared memory for the test can't be had: .*File too large"):
            write_texts("test", 1, [(b"x" * 1000,)] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_files() == before
