"""Memory that several processes map: made by one of them, handed on by its descriptor, gone with the last of them.

Only pages that are touched exist, and all are zero at first. A mapping keeps no descriptor. `mmap.mmap` of Python 3.11
duplicates the descriptor and closes the duplicate when the object is collected; a worker may be a thread with a table
of files of its own, and the garbage collector runs in whichever thread triggers it: it would close that number in
another worker's table. A mapping belongs to the whole process, so any thread may unmap it.

Fails: OSError, as mmap(2) does; Refused where a limit of this process forbids to make shared memory.
"""

import ctypes
import mmap
import os
import weakref
from typing import Any

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

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


def shared_memory(name: str, size: int, descriptor: int | None = None) -> tuple[int, Any]:
    """Return the descriptor and the mapping of `size` bytes: made here, or mapped by the descriptor of who made them.

    The name is for people, in errors and in /proc/PID/maps.
    """
    made = descriptor
    try:
        if made is None:
            made = os.memfd_create(name)
            os.truncate(made, size)
        return made, map_shared(made, size)
    except OSError as error:
        if descriptor is None and made is not None:
            os.close(made)
        kib = -(-size >> 10)
        raise Refused(f"{kib:,} KiB of shared memory for the {name} can't be had: {reason(error)}.") from error
