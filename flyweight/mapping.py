"""Shared memory that keeps no descriptor: a file mapped by mmap(2), and unmapped when nothing refers to it any more.

`mmap.mmap` of Python 3.11 duplicates the descriptor and closes the duplicate when the object is collected. A worker may
be a thread with a table of files of its own, and the garbage collector runs in whichever thread triggers it: it would
close that number in another worker's table. A mapping belongs to the whole process, so any thread may unmap it.

In: an open descriptor, a number of bytes and where in the file they begin. Out: an object with the buffer interface,
for numpy and memoryview. Fails: OSError, as mmap(2) does.
"""

import ctypes
import mmap
import os
import weakref
from typing import Any

_PROT_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def map_shared(descriptor: int, size: int, offset: int = 0) -> Any:
    """Map `size` bytes (at least 1) of a file from `offset` on, for reading and writing by every process that maps it.

    Returns a ctypes array of bytes. The descriptor may be closed at once.
    """
    before = offset % mmap.ALLOCATIONGRANULARITY  # a mapping begins at a page
    length = before + size
    address = _libc.mmap(None, length, _PROT_READ_WRITE, mmap.MAP_SHARED, descriptor, offset - before)
    if address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    mapped = (ctypes.c_ubyte * size).from_address(address + before)
    # Not at exit: other objects may still read the memory then, and the kernel unmaps it with the process.
    weakref.finalize(mapped, _libc.munmap, address, length).atexit = False
    return mapped
