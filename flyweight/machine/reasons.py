"""Why the kernel said no, in words: where it was a limit of this process, which one, and how it is raised.

In: an OSError, or a MemoryError. Out: a part of a sentence. `ulimit` is the shell's name for setrlimit(2).
"""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from floodtest.flyweight.errors import FloodtestError

_LIMITS = {
    errno.EFBIG: (resource.RLIMIT_FSIZE, "a file of this process, shared memory included, may have", "-f"),
    errno.ENOMEM: (resource.RLIMIT_AS, "this process may have addresses for", "-v"),
}


def reason(error: OSError) -> str:
    """Return the kernel's words, and the limit that they are about if this process has it."""
    words = error.strerror or str(error)
    if error.errno not in _LIMITS:
        return words
    limit, what, option = _LIMITS[error.errno]
    most, _ = resource.getrlimit(limit)
    return words if most == resource.RLIM_INFINITY else f"{words} ({what} {most >> 10:,} KiB: raise ulimit {option})"


def reason_of_memory(error: MemoryError) -> str:
    """Return a whole sentence for memory that can't be had."""
    why = reason(OSError(errno.ENOMEM, "Out of memory"))
    return f"{why}. {error}".strip().removesuffix(".") + "."


@contextmanager
def memory_is_a_fault(cut_off: Callable[[], str | None]) -> Iterator[None]:
    """Make memory that can't be had in the block a fault, with a sentence about what it cut off.

    As long as there is no such sentence it stays what it is, and is refused (`flyweight.command.run`).
    """
    try:
        yield
    except (MemoryError, BaseExceptionGroup) as error:
        memory, said = _of_memory(error), cut_off()
        if memory is None or said is None:
            raise
        raise FloodtestError(f"{reason_of_memory(memory)} {said}") from error


def _of_memory(error: BaseException) -> MemoryError | None:
    """Return the first MemoryError in what was raised, unless there is a fault in it that is neither that nor ours."""
    if isinstance(error, MemoryError):
        return error
    if isinstance(error, BaseExceptionGroup) and error.split((MemoryError, FloodtestError))[1] is None:
        return next(filter(None, map(_of_memory, error.exceptions)), None)
    return None
