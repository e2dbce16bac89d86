"""Reading files of pairs: what a file is, is told by its first bytes.

In: a path. Out: its pairs, all of them. Fails: BadFile, naming the file and the first line or row that is no pair.
"""

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from datagen.files.pairs import MAX_ID, BadFile, Pairs
from datagen.files.parquet import read_parquet
from datagen.files.text import read_edgelist


def read_pairs(path: Path) -> Pairs:
    """Read a file of any format; BadFile for the first line or row that is no pair."""
    try:
        with open(path, "rb") as file:
            start = file.read(6)
            file.seek(0)
            if start[:4] == b"PAR1":
                return _checked(path, read_parquet(path))
            if start == b"\x93NUMPY":
                return _checked(path, _read_npy(path, file))
            return read_edgelist(path, file)
    except OSError as error:
        raise BadFile(f"Can't read {path}: {error.strerror or error}.") from error


def _read_npy(path: Path, file: IO[bytes]) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadFile(f"{path} is a broken npy file: {error}.") from error
    return array


def _checked(path: Path, pairs: npt.NDArray[Any]) -> Pairs:
    """Return pairs as uint32; BadFile if they are something else."""
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise BadFile(
            f"{path} holds an array of shape {pairs.shape} and type {pairs.dtype}, not pairs of whole numbers."
        )
    wrong = np.flatnonzero(((pairs < 1) | (pairs > MAX_ID)).any(axis=1))
    if len(wrong):
        row, pair = int(wrong[0]), pairs[wrong[0]].tolist()
        raise BadFile(f"{path}, row {row + 1}: ids go from 1 to {MAX_ID:,}, not {pair}. Nothing was taken.")
    return pairs.astype(np.uint32)
