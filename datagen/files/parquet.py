"""Parquet files of pairs: two integer columns. pyarrow is an extra, and only imported here.

Fails: BadFile for a file that pyarrow can't read or that has fewer than two columns; Refused without pyarrow.
"""

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from datagen.files.pairs import BadFile, Pairs
from flyweight.errors import Refused


def import_pyarrow() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet; Refused where they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Refused("Parquet needs pyarrow: pip install 'floodtest[parquet]'.") from error
    return pyarrow, pyarrow.parquet


def write_parquet(file: IO[bytes], pairs: Pairs) -> None:
    """Write pairs as the columns `subscriber` and `subject`."""
    arrow, parquet = import_pyarrow()
    columns = [arrow.array(np.ascontiguousarray(pairs[:, column])) for column in (0, 1)]
    parquet.write_table(arrow.table(columns, names=["subscriber", "subject"]), file)


def read_parquet(path: Path) -> npt.NDArray[Any]:
    """Return the first two columns as an array of shape (n, 2)."""
    arrow, parquet = import_pyarrow()
    try:
        table = parquet.read_table(path)
    except arrow.ArrowException as error:
        raise BadFile(f"{path} is a broken parquet file: {error}.") from error
    if table.num_columns < 2:
        raise BadFile(f"{path} has {table.num_columns} columns, and a pair has two.")
    columns = [table.column(number).to_numpy() for number in (0, 1)]
    return np.stack(columns, axis=1) if table.num_rows else np.zeros((0, 2), np.uint32)
