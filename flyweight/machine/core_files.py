"""Core files: what the kernel writes of the memory of a process that crashes, and what a process does against it."""

import resource


def forbid_core_files() -> None:
    """Have the kernel write nothing of the memory of this process when it crashes; children inherit that.

    Its memory has secrets. A limit of 0 keeps files away only, and where core files are piped to a program
    (/proc/sys/kernel/core_pattern) the whole memory is; 1 byte keeps both away, as the kernel never writes so little,
    and takes it as the sign to pipe nothing (fs/coredump.c). Where the hard limit is 0, so is this one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))
