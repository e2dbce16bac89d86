"""Ctrl-C while a command is being imported, which takes up to a second: it ends in silence, as everything else does.

A command calls `die_of_it` before its imports (`flyweight.command.inherited` does), and `flyweight.command.run` calls
`raise_it` after them. A process that was started to ignore SIGINT goes on to.
"""

import signal


def die_of_it() -> None:
    """Let the kernel end this process, without a traceback of ours."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_it() -> None:
    """Let Python raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
