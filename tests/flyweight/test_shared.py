"""flyweight.engine.shared: memory shared through a file, without a descriptor that somebody else could close."""

import errno
import gc
import mmap
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest

from floodtest.flyweight.engine.shared import map_shared

PAGE = mmap.PAGESIZE


@pytest.fixture
def file() -> Iterator[int]:
    """A file of four pages, each byte of which is the number of its page."""
    with tempfile.TemporaryFile() as made:
        for page in range(4):
            made.write(bytes([page]) * PAGE)
        made.flush()
        yield made.fileno()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def mappings(file: int) -> int:
    """Return how often a file is mapped into this process."""
    inode = str(os.fstat(file).st_ino)
    with open("/proc/self/maps") as lines:
        return sum(line.split()[4] == inode for line in lines)


def test_what_one_writes_all_others_read(file: int) -> None:
    one, other = (np.frombuffer(map_shared(file, 8), np.uint32) for _ in range(2))
    one[1] = 77
    assert other[1] == 77
    assert os.pread(file, 8, 0)[4] == 77


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, 2 * PAGE + 5])
def test_it_begins_anywhere(offset: int, file: int) -> None:
    assert bytes(map_shared(file, PAGE, offset)) == os.pread(file, PAGE, offset)


def test_it_has_no_descriptor_and_goes_with_its_last_user(file: int) -> None:
    before = descriptors()
    array = np.frombuffer(map_shared(file, PAGE), np.uint8)[10:20]
    assert descriptors() == before
    gc.collect()
    assert (mappings(file), array.sum()) == (1, 0)
    del array
    assert mappings(file) == 0


def test_what_cannot_be_mapped_is_an_error_with_its_reason() -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(PermissionError, match="Permission denied") as caught:  # of a descriptor that only reads
            map_shared(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
    assert caught.value.errno == errno.EACCES
