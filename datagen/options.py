"""What the subcommands of `fakefriends` can be asked for: each option once, as a field."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from floodtest.flyweight.command import parsers
from floodtest.flyweight.command.options import argument, flag, option

Format = Literal["edgelist", "parquet", "npy"]
"""In which pairs are written."""

FORMATS: tuple[Format, ...] = get_args(Format)

_FORMAT = parsers.one_of(FORMATS)
_BY_NAME = "[default: as the file's name ends]"
_REPLACE = "Replace a file that exists."


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """A friend graph, and the file that it is written to."""

    users: int = option(1_000_000, parsers.count, "N", "Users.", "-n", "--users")
    friends: int = option(15, parsers.count, "N", "Friends that each newcomer makes.", "-m", "--friends")
    seed: int | None = option(None, parsers.whole, "N", "The same seed gives the same file.  [default: any]")
    out: Path = option(Path("fakefriends.txt"), parsers.path, "FILE", "What to write.", "-o", "--out")
    form: Format | None = option(None, _FORMAT, "|".join(FORMATS), _BY_NAME, "--format")
    force: bool = flag(_REPLACE)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """A file of pairs, and how it is read."""

    file: Path = field(metadata=argument(parsers.path, "FILE", "A file of pairs, in any of the formats that are read."))
    columns: tuple[str, str] | None = option(None, parsers.columns, "A,B", "The pair's columns, by name or number.")
    renumber: bool = flag("Take ids from 0, or beyond a user's, and number users anew from 1.")


@dataclass(frozen=True, kw_only=True)
class PlotOptions(FileOptions):
    """A file of pairs, and its picture."""

    out: Path | None = option(None, parsers.path, "FILE", "A .png or .svg.  [default: FILE.png]", "-o", "--out")
    force: bool = flag(_REPLACE)


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(FileOptions):
    """A file of pairs, and the one that they are written to."""

    out: Path = field(metadata=argument(parsers.path, "OUT", "What to write."))
    form: Format | None = option(None, _FORMAT, "|".join(FORMATS), _BY_NAME, "--format")
    force: bool = flag(_REPLACE)
