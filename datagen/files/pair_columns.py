"""Which two columns of a file are the pair. Pure.

In: how many columns there are, their names if they have any, the two that were asked for, by name or by number from 1,
and whether the first two will do where nothing else says which. Out: the indices of the subscriber's column and of the
subject's. Fails: Unclear, with a sentence that names the columns there are.
"""

from collections.abc import Sequence

Columns = tuple[str, str]
"""Two names or numbers, as `--columns` has them."""

Picked = tuple[int, int]
"""Indices from 0: the subscriber's column, the subject's."""

NAMES: tuple[Columns, ...] = (
    ("subscriber", "subject"),  # our own parquet files
    ("source", "target"),  # networkx, Gephi, igraph
    ("src", "dst"),  # GraphFrames, cuGraph
    ("from", "to"),
    ("fromnodeid", "tonodeid"),  # what SNAP calls them
)
"""Names that say which column is which, in lower case."""

SHOWN = 20
"""Names of columns that an error has at the most."""


class Unclear(Exception):
    """Nothing says which two columns are the pair; the text is a sentence, and what to do."""


def pick(count: int, names: Sequence[str] | None, wanted: Columns | None, first_two: bool) -> Picked:
    """Return those of `count` columns that were asked for, or whose names say so, or the first two if they will do."""
    if count < 2:
        raise Unclear(f"there {_there_are(count, names)}, and a pair has two.")
    if wanted is not None:
        subscriber, subject = (_find(one, count, names) for one in wanted)
        if subscriber == subject:
            raise Unclear(f"--columns {','.join(wanted)} is one column twice, and a pair has two.")
        return subscriber, subject
    if (known := None if names is None else _known(names)) is not None:
        return known
    if not first_two:
        raise Unclear(
            f"there {_there_are(count, names)}, and nothing says which two are the pair. Say it with --columns A,B, "
            "two names or numbers, the subscriber's first."
        )
    return 0, 1


def _known(names: Sequence[str]) -> Picked | None:
    """Return the columns that one pair of NAMES fits; None if none does, or several."""
    plain = [name.strip().lower() for name in names]
    found = [
        (plain.index(subscriber), plain.index(subject))
        for subscriber, subject in NAMES
        if plain.count(subscriber) == plain.count(subject) == 1
    ]
    return found[0] if len(found) == 1 else None


def _find(wanted: str, count: int, names: Sequence[str] | None) -> int:
    """Return the index of a column by its name, with or without regard to case, or by its number."""
    named = [at for at, name in enumerate(names or ()) if name == wanted]
    named = named or [at for at, name in enumerate(names or ()) if name.strip().lower() == wanted.lower()]
    if len(named) > 1:
        raise Unclear(f"{len(named)} columns have the name {wanted!r}: --columns takes their numbers, from 1, as well.")
    if named:
        return named[0]
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted[:9]) <= count:
        return int(wanted[:9]) - 1
    raise Unclear(f"--columns asks for {wanted!r}, and there {_there_are(count, names)}.")


def _there_are(count: int, names: Sequence[str] | None) -> str:
    shown = ", ".join(map(repr, (names or ())[:SHOWN])) + (", ..." if names and count > SHOWN else "")
    columns = "is one column" if count == 1 else f"are {count} columns"
    return f"{columns}, {shown}" if shown else f"{columns} without names, numbered from 1"
