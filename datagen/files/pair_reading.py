"""Reading files of pairs: what a file is, is told by its first bytes.

In: a path, which columns of the file are the pair, and whether its users are to be numbered anew. Out: its pairs, all
of them, and what there is to say of them. Fails: BadFile, naming the file and the first line or row that is no pair.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from floodtest.datagen.files.compressed import unpacked
from floodtest.datagen.files.edge_lists import read_edgelist
from floodtest.datagen.files.pair_columns import Columns
from floodtest.datagen.files.pairs import ANY_IDS, USER_IDS, BadFile, Ids, Pairs, Reading
from floodtest.datagen.files.parquet import read_folder, read_parquet
from floodtest.datagen.files.renumbering import Originals, renumber
from floodtest.flyweight.machine.reasons import reason


@dataclass(frozen=True)
class Friends:
    """What a file holds: who is a friend of whom."""

    pairs: Pairs
    originals: Originals | None = None
    """Of users that were numbered anew, the ids that they have in the file: of user u at index u - 1."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, a sentence each."""


def read_pairs(path: Path) -> Pairs:
    """Return the pairs of a file as `read_friends` finds them."""
    return read_friends(path).pairs


def read_friends(path: Path, columns: Columns | None = None, anew: bool = False) -> Friends:
    """Read a file of any format; BadFile for the first line or row that is no pair.

    `columns` are two names or numbers, as `--columns` has them. `anew` takes ids that are no users' as well, from 0 to
    2 ** 64 - 1, and numbers users from 1 on (see `renumber`).
    """
    reading = Reading(path, columns, ANY_IDS if anew else USER_IDS)
    try:
        parts = list(_parts(reading))
    except OSError as error:
        raise BadFile(f"Can't read {path}: {reason(error)}.") from error
    ids = np.concatenate(parts) if parts else np.zeros((0, 2), reading.ids.dtype)
    pairs, originals = renumber(ids) if anew else (ids.astype(np.uint32, copy=False), None)
    return Friends(pairs, originals, tuple(reading.notes))


def _parts(reading: Reading) -> Iterator[Ids]:
    """Yield the pairs of a file, some at a time."""
    if reading.path.is_dir():
        yield from read_folder(reading)
        return
    with unpacked(reading.path) as file:
        start = file.peek(6)[:6]
        if start[:4] == b"PAR1":
            yield from read_parquet(reading)
        elif start == b"\x93NUMPY":
            yield _read_npy(reading, file)
        else:
            yield from read_edgelist(reading, file)


def _read_npy(reading: Reading, file: IO[bytes]) -> Ids:
    try:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise BadFile(f"{reading.path} is a broken npy file: {error}.") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
        kind = f"an array of shape {array.shape} and type {array.dtype}"
        raise reading.bad(None, f"it holds {kind}, not columns of whole numbers.")
    picked = reading.picked(None, array.shape[1], None, first_two=array.shape[1] == 2)
    return reading.ids_of([array[:, at] for at in picked], 1)
