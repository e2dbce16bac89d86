"""The servers of a ring as a person names them: a file as libketama takes it, or a list.

In: a text. Out: servers of `wire.ring`. Fails: UsageError says what is wrong with them, Refused what keeps a file from
being read.
"""

import os
from pathlib import Path

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused, UsageError
from floodtest.flyweight.machine.reasons import reason
from floodtest.wire.ring import MAX_MEMORY, RingServer

MAX_BYTES = 1 << 20
"""Of a file: more than all servers of a ring take."""

_SHOWN = 5
"""Lines of a file that are complained of."""


def read_servers(text: str) -> list[RingServer]:
    """Read the file of that name; where there is none, a list such as 10.0.0.1:8000,10.0.0.2:8000."""
    if not text:
        raise UsageError("A ring takes a file of servers, or a list of them such as 10.0.0.1:8000,10.0.0.2:8000.")
    if not os.path.exists(text) and ("," in text or ":" in text):
        return parse_list(text)
    try:
        with Path(text).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise Refused(f"There is no file {text}. A list of servers has commas: 10.0.0.1:8000,10.0.0.2:8000.") from error
    except (OSError, ValueError) as error:  # the latter is a name with a NUL in it
        words = reason(error) if isinstance(error, OSError) else str(error)
        raise Refused(f"The servers in {text} can't be read: {words}.") from error
    if len(content) > MAX_BYTES:
        raise Refused(f"The file {text} has more than {MAX_BYTES:,} bytes: is it one of servers?")
    return parse_file(content.decode(errors="surrogateescape"), text)


def parse_list(text: str) -> list[RingServer]:
    """Read NAME,NAME,…: servers with equal memory."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"A name is missing in the list of servers {text!r}.")
    return [RingServer(name, 1) for name in names]


def parse_file(text: str, name: str) -> list[RingServer]:
    """Read lines of NAME, tabs or spaces, and memory; those that are empty or begin with # are passed over.

    libketama drops the last digit of the memory in a last line without a line end. Here every digit counts.
    """
    found, problems = [], []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) == 2 and words[1].isascii() and words[1].isdecimal() and len(words[1]) <= len(str(MAX_MEMORY)):
            found.append(RingServer(words[0], int(words[1])))
        else:
            problems.append(f"Line {number} of {name} is no server and its memory, such as '10.0.0.1:8000 600'.")
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"Nor are {counted(len(problems) - _SHOWN, 'more lines')}."]
    if not found and not problems:
        problems = [f"{name} names no server: a line of it is a server and its memory, such as '10.0.0.1:8000 600'."]
    if problems:
        raise UsageError(*problems)
    return found
