"""What a process inherits from whoever started it and can't work with, put right before anything else is imported.

Descriptors 0, 1 and 2 are open (`flyweight.stdio` says why). No signal is blocked: a mask goes on across execve(2), so
that a command started from a thread that blocks SIGTERM could not be ended, nor its server and workers, which inherit
it in turn. SIGCHLD has its default: where it is ignored the kernel keeps no exit status of children, and wait(2) fails
with ECHILD (NOTES of waitpid(2)). A signal that is ignored otherwise stays so: nohup and shells mean it. Cost: some ten
system calls. Fails: never.
"""

import signal

from flyweight.interrupt import die_of_it
from flyweight.stdio import open_descriptors


def put_right() -> None:
    """Put all of it right; a Ctrl-C that was pressed meanwhile ends the process."""
    open_descriptors()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_of_it()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
