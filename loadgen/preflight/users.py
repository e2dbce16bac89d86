"""Users' own values: the rows of the file that `--users` names, as many as there are connections, in shared memory.

In: a file, and a request with columns of it as placeholders. Out: those columns, a row for each user of the plan in
its order; workers read them by the batch, and no disk has them (`flyweight.engine.texts`). Memory: 8 bytes a value, and
its own. Fails: Refused, which names file, line and column, for a value that can't go where its placeholder stands, for
placeholders that nothing has, for fewer rows than connections, and for more than memory has room for. Rows beyond the
last connection are not looked at.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.engine.texts import Shape, write_texts
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.headroom import DEFAULT_RESERVE, MemoryGauge, Reserve
from floodtest.flyweight.machine.reasons import reason
from floodtest.loadgen.preflight.user_files import Row, open_rows
from floodtest.wire.template import MISPLACED, OWN, Place, RequestTemplate

LOOK = 1 << 24
"""Bytes between two looks at how much memory is left."""

MAX_VALUE = 1 << 16
"""Bytes of a value."""

_LINES = (Place.HEADER, Place.LINE)
"""Where a line feed would end what it stands in, and begin something else."""


@dataclass(frozen=True)
class Users:
    """The columns that requests need, by name, in memory that has a descriptor as long as this object is there."""

    columns: tuple[str, ...]
    shape: Shape
    descriptor: int

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.descriptor)


def load_users(
    path: Path,
    asked: RequestTemplate,
    connections: int,
    reserve: Reserve = DEFAULT_RESERVE,
    own: Sequence[str] = OWN,
) -> Users:
    """Read a file for the connections of a plan, which ask for this; so much memory is left free. `own` are the
    placeholders that need no file.
    """
    places = asked.places()
    try:
        with open_rows(path) as found:
            _check_names(path, found.names, asked, own)
            columns = tuple(name for name in found.names if name in places)
            in_lines = [not places[name].isdisjoint(_LINES) for name in columns]
            rows = _checked(path, columns, in_lines, islice(found.rows(columns), connections))
            descriptor, shape = write_texts("users", len(columns), _within(path, rows, MemoryGauge(reserve)))
    except OSError as error:
        raise Refused(f"Can't read {path}: {reason(error)}. Name another file with --users.") from error
    users = Users(columns, shape, descriptor)
    if shape.rows < connections:
        raise Refused(
            f"{path} has {counted(shape.rows, 'rows')}, and {counted(connections, 'connections')} are planned, each of "
            f"which takes one: add rows, or ask for fewer with --connections."
        )
    return users


def _check_names(path: Path, names: list[str], asked: RequestTemplate, own: Sequence[str]) -> None:
    """Refuse placeholders that nothing has, or two things, and a file of which nothing is needed."""
    problems = asked.problems(list(dict.fromkeys((*own, *names))))
    used = asked.places()
    for name in dict.fromkeys(names):
        if name in used and name in own:
            problems.append(
                f"{{{name}}} is a placeholder without a file, and {path} has a column of that name: rename it."
            )
        elif name in used and names.count(name) > 1:
            problems.append(f"{path} has {names.count(name)} columns with the name {name!r}: rename all but one.")
    if not problems and used.keys().isdisjoint(names):
        there_are = ", ".join(f"{{{name}}}" for name in names)
        problems.append(
            f"No request needs {path}: put a column of it where it goes ({there_are}), or leave --users out."
        )
    if problems:
        raise Refused("\n".join(problems))


def _checked(path: Path, columns: tuple[str, ...], in_lines: list[bool], rows: Iterator[Row]) -> Iterator[list[bytes]]:
    """Yield the values of rows; Refused for the first one that can't go where it is to stand."""
    for where, values in rows:
        for column, in_line, value in zip(columns, in_lines, values, strict=True):
            if len(value) > MAX_VALUE:
                raise Refused(f"{path}, {where}, column {column!r}: it is longer than {MAX_VALUE:,} bytes.")
            if in_line and MISPLACED.search(value):
                raise Refused(
                    f"{path}, {where}, column {column!r}: it has a carriage return, a line feed or a NUL in it, which "
                    "no header and no line of a raw stream can have."
                )
        yield values


def _within(path: Path, rows: Iterator[list[bytes]], gauge: MemoryGauge) -> Iterator[list[bytes]]:
    """Yield rows as long as there is memory for them."""
    size, looked_at = 0, 0
    for values in rows:
        size += sum(map(len, values))
        if size >= looked_at:
            looked_at = size + LOOK
            if (room := gauge.read()).free < LOOK:
                left, kept = room.available >> 20, room.reserve >> 20
                raise Refused(
                    f"{path} takes more memory than there is: {left:,} MiB are available in {room.source}, and "
                    f"{kept:,} MiB are to stay free. Use fewer of its columns, or ask for fewer connections."
                )
        yield values


def read_text(file: str, name: str) -> bytes:
    """Return what is in the file that an option such as `--body @FILE` names; Refused where it can't be read."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refused(f"Can't read {file} for {name}: {reason(error)}.") from error
