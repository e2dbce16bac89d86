"""What a process inherits and can't work with, put right before anything else is imported.

Descriptors 0, 1 and 2 are open (`flyweight.command.stdio` says why). No signal is blocked: a mask goes on across
execve(2), so that a command started from a thread that blocks SIGTERM could not be ended, nor its server and workers,
which inherit it in turn. SIGCHLD has its default: where it is ignored the kernel keeps no exit status of children, and
wait(2) fails with ECHILD (NOTES of waitpid(2)). A signal that is ignored otherwise stays so: nohup and shells mean it.

What can't be put right ends the command: addresses (`ulimit -v`) that are too few to import what it needs, which would
fail in a new way each time, from an ImportError to an exit from within a library. Cost: some ten system calls.
"""

import os
import resource
import signal
import sys

from floodtest.flyweight.command.interrupt import die_of_it
from floodtest.flyweight.command.stdio import display, open_descriptors
from floodtest.flyweight.errors import ExitCode

LEAST_ADDRESSES = 384 << 20
"""Bytes of addresses: 250 MB are the least with which every command has been seen to do a small task (Linux 6.18 on
x86-64, CPython 3.11), and half as much again."""


def put_right(command: str) -> None:
    """Put all of it right; a Ctrl-C that was pressed meanwhile ends the process."""
    open_descriptors()
    _check_addresses(command)
    # numpy's library otherwise starts a thread for each core, with a stack and buffers; our matrices are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_of_it()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _check_addresses(command: str) -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= most < LEAST_ADDRESSES:  # RLIM_INFINITY is -1
        display()
        said = f"This process may have addresses for {most >> 10:,} KiB, and takes {LEAST_ADDRESSES >> 10:,} to start"
        print(f"{command}: {said}: raise ulimit -v.", file=sys.stderr)
        sys.exit(ExitCode.REFUSED)
