"""Memory that several processes map: made by one of them, handed on by its descriptor, gone with the last of them.

Only pages that are touched exist, and all are zero at first. Fails: Refused where a limit of this process forbids it.
"""

import mmap
import os

from flyweight.errors import Refused
from flyweight.reasons import reason


def shared_memory(name: str, size: int, descriptor: int | None = None) -> tuple[int, mmap.mmap]:
    """Return the descriptor and the mapping of `size` bytes: made here, or mapped by the descriptor of who made them.

    The name is for people, in errors and in /proc/PID/maps.
    """
    made = descriptor
    try:
        if made is None:
            made = os.memfd_create(name)
            os.truncate(made, size)
        return made, mmap.mmap(made, size)
    except OSError as error:
        if descriptor is None and made is not None:
            os.close(made)
        kib = -(-size >> 10)
        raise Refused(f"{kib:,} KiB of shared memory for the {name} can't be had: {reason(error)}.") from error
