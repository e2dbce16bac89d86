"""What a process inherits from whoever started it and can't work with, put right before anything else is imported.

Descriptors 0, 1 and 2 are open (`flyweight.stdio` says why). Cost: a few system calls. Fails: never.
"""

from flyweight.interrupt import die_of_it
from flyweight.stdio import open_descriptors


def put_right() -> None:
    """Put all of it right; a Ctrl-C that was pressed meanwhile ends the process."""
    open_descriptors()
    die_of_it()
