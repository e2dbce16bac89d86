"""Parquet files of pairs: two columns of whole numbers, read and written by pyarrow, which is an extra.

In: a file, or a folder of parts and of folders of them (`date=2008-10-12/part-0.parquet`), in the order of names. As
Spark does, names that begin with a dot or an underscore are passed over: those are markers, and parts of a write that
has not ended. Anything else in the folder is refused by its name, for pairs might be in it. Out: arrays of shape
(n, 2), read some rows at a time; only the two columns are read, and each may be of an integer type of its own. Fails:
BadFile for a file that pyarrow can't read, for a row without a value and for columns of another type, floats included
even where they are whole: they are more often weights, and large ids would lose digits. Refused without pyarrow.

MemoryError where the addresses of this process are limited, and there are too few (`flyweight.machine.arrow`).
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from floodtest.datagen.files.pair_columns import Columns
from floodtest.datagen.files.pairs import BadFile, Ids, Pairs, Reading
from floodtest.flyweight.machine.arrow import explained, has_few_addresses, import_pyarrow

ROWS = 1 << 18
"""Rows that are read at a time."""


def write_parquet(file: IO[bytes], pairs: Pairs) -> None:
    """Write pairs as the columns `subscriber` and `subject`."""
    arrow, parquet = import_pyarrow()
    columns = [arrow.array(np.ascontiguousarray(pairs[:, column])) for column in (0, 1)]
    parquet.write_table(arrow.table(columns, names=["subscriber", "subject"]), file)


def read_parquet(reading: Reading) -> Iterator[Ids]:
    """Yield the pairs of a file."""
    yield from _read_part(reading, None)


def read_folder(reading: Reading) -> Iterator[Ids]:
    """Yield the pairs of the parts in a folder; BadFile if there are none, or if their columns differ."""
    taken = None
    for part in _parts_of(reading.path):
        taken = yield from _read_part(replace(reading, path=part), taken)
    if taken is None:
        raise BadFile(f"Can't read {reading.path}: it is a folder without files *.parquet.")


def _parts_of(folder: Path) -> Iterator[Path]:
    """Yield the parts in a folder and in those within; BadFile for what is neither part nor marker."""
    for path in sorted(folder.iterdir()):
        if _is_marker(path.name):
            continue
        if path.is_dir() and not path.is_symlink():  # a link may lead back to where we are
            yield from _parts_of(path)
        elif path.is_file() and path.suffix == ".parquet":
            yield path
        else:
            raise BadFile(
                f"{path} is no file *.parquet, and a folder is read as the parts of one parquet file. Unpack it if it "
                "is packed, or put it elsewhere. Nothing was taken."
            )


def _is_marker(name: str) -> bool:
    """Return whether Spark passes a name over; `_year=2008` is a folder of parts."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _read_part(reading: Reading, before: Columns | None) -> Generator[Ids, None, Columns]:
    """Yield the pairs of a file, whose columns have to be those of the part before; return the names of these."""
    arrow, parquet = import_pyarrow()
    with explained(reading.path, arrow, _refusal), parquet.ParquetFile(reading.path) as file:
        taken = _names(reading, file.schema_arrow.names)
        if before not in (None, taken):
            raise reading.bad(None, f"the pair has the columns {_quoted(taken)}, and before {_quoted(before or ())}.")
        for name in taken:
            kind = file.schema_arrow.field(name).type
            if not arrow.types.is_integer(kind):
                raise reading.bad(f"column {name!r}", f"its type is {kind}, and ids are whole numbers, such as int64.")
        row = 1
        for batch in file.iter_batches(ROWS, columns=list(taken), use_threads=not has_few_addresses()):
            yield reading.ids_of([_numbers(reading, batch.column(name), name, row) for name in taken], row)
            row += batch.num_rows
    return taken


def _refusal(why: str) -> BadFile:
    return BadFile(f"{why} Nothing was taken.")


def _names(reading: Reading, names: Sequence[str]) -> Columns:
    """Return the names of the pair's columns; if there are two, they need no names that say which they are."""
    subscriber, subject = reading.picked(None, len(names), names, first_two=len(names) == 2)
    found = names[subscriber], names[subject]
    if any(names.count(name) > 1 for name in found):
        raise reading.bad(None, f"several columns have the name of one of the pair's, {_quoted(found)}.")
    return found


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names))


def _numbers(reading: Reading, column: Any, name: str, row: int) -> np.ndarray[Any, Any]:
    """Return a column of a batch whose first row has the number `row`."""
    if column.null_count:
        empty = int(np.flatnonzero(column.is_null())[0])
        raise reading.bad(f"row {row + empty:,}", f"the column {name!r} has no value there.")
    numbers: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False)
    return numbers
