"""Columns of this process of which only the pages that are written exist, however long they are.

A page that is only read is the kernel's page of zeros. Memory for such a column is not reserved, so that it may be
longer than there is memory; it takes addresses, and is told to be no huge pages, of which one that is written in a
single place would take 2 MiB. A column of secrets is left out of core dumps.

Fails: Refused where a limit of this process (ulimit -v) leaves no addresses for it.
"""

import mmap
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

_MAP_NORESERVE = 0x4000
"""Of asm-generic/mman.h; mmap has a name for it since Python 3.13."""


def sparse_column(name: str, length: int, kind: npt.DTypeLike, is_secret: bool = False) -> npt.NDArray[Any]:
    """Return an array of zeros; the name is for people, in errors."""
    size = max(1, length * np.dtype(kind).itemsize)
    try:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    except OSError as error:
        kib = -(-size >> 10)
        raise Refused(f"Addresses of {kib:,} KiB for the {name} can't be had: {reason(error)}.") from error
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    if is_secret:
        memory.madvise(mmap.MADV_DONTDUMP)
    return np.frombuffer(memory, kind, length)
