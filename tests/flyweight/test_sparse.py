"""flyweight.engine.sparse: columns that are longer than memory, of which what is written exists."""

from pathlib import Path

import numpy as np
import pytest

from floodtest.flyweight.engine.sparse import sparse_column
from floodtest.flyweight.errors import Refused


def resident() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def test_only_pages_that_are_written_exist() -> None:
    column = sparse_column("test", 1 << 34, np.uint32)
    before = resident()
    assert not column[:: 1 << 20].any()
    column[:: 1 << 27] = 7
    assert np.count_nonzero(column[:: 1 << 27]) == 128
    assert resident() - before < 16 << 20  # with huge pages it would be 256 MiB


def test_addresses_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(Refused, match="for the test can't be had: "):
        sparse_column("test", 1 << 60, np.uint32)
