"""Reading files of pairs: what a file is, is told by its first bytes.

In: a path, and which columns of the file are the pair. Out: its pairs, all of them, and what there is to say of them.
Fails: BadFile, naming the file and the first line or row that is no pair.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from datagen.files.columns import Columns
from datagen.files.compressed import unpacked
from datagen.files.pairs import MAX_ID, BadFile, Pairs, Reading
from datagen.files.parquet import read_parquet
from datagen.files.text import read_edgelist


@dataclass(frozen=True)
class Friends:
    """What a file holds: who is a friend of whom."""

    pairs: Pairs
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, a sentence each."""


def read_pairs(path: Path) -> Pairs:
    """Return the pairs of a file as `read_friends` finds them."""
    return read_friends(path).pairs


def read_friends(path: Path, columns: Columns | None = None) -> Friends:
    """Read a file of any format; BadFile for the first line or row that is no pair."""
    reading = Reading(path, columns)
    try:
        parts = list(_parts(reading))
    except OSError as error:
        raise BadFile(f"Can't read {path}: {error.strerror or error}.") from error
    return Friends(np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32), tuple(reading.notes))


def _parts(reading: Reading) -> Iterator[Pairs]:
    """Yield the pairs of a file, some at a time."""
    with unpacked(reading.path) as file:
        start = file.peek(6)[:6]
        if start[:4] == b"PAR1":
            yield _checked(reading.path, read_parquet(reading.path))
        elif start == b"\x93NUMPY":
            yield _checked(reading.path, _read_npy(reading.path, file))
        else:
            yield from read_edgelist(reading, file)


def _read_npy(path: Path, file: IO[bytes]) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
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
