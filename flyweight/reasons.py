"""Why the kernel said no, in words: where it was a limit of this process, which one, and how it is raised.

In: an OSError. Out: a part of a sentence. `ulimit` is the shell's name for setrlimit(2).
"""

import errno
import resource

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
