"""Writing files: whole or not at all.

Neither Ctrl-C nor a full disk leaves a part of one (`flyweight.machine.whole_file`). A symbolic link is written
through, and nothing but a regular file is ever replaced. Fails: Refused for what can't be written, with what to do
about it.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from floodtest.datagen.files.numbers import lines_of
from floodtest.datagen.files.pairs import Pairs
from floodtest.datagen.files.parquet import write_parquet
from floodtest.datagen.files.renumbering import Originals
from floodtest.datagen.options import Format
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.arrow import import_pyarrow
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.machine.whole_file import replaced_file


def format_of(path: Path) -> Format:
    """Return the format that a name asks for: `.npy`, `.parquet`, or else an edge list."""
    return {".npy": "npy", ".parquet": "parquet"}.get(path.suffix, "edgelist")  # type: ignore[return-value]


def refuse_unwritable(path: Path, replace: bool, form: Format | None = None) -> None:
    """Refused if a file can't be written there: what can be known before there is anything to write."""
    if form == "parquet":
        import_pyarrow()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _refuse_folder(path)
    except OSError as error:
        raise Refused(f"Can't write {path}: {error.strerror}. Choose another name.") from error
    if not stat.S_ISREG(mode):
        what = "Is a directory" if stat.S_ISDIR(mode) else "it is no regular file"
        raise Refused(f"Can't write {path}: {what}. Choose another name.")
    if not replace:
        raise Refused(f"{path} exists already. Choose another name, or replace it with --force.")
    return _refuse_folder(path)


def _refuse_folder(path: Path) -> None:
    """Refused if no file can be made where a path leads to."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise Refused(f"Can't write {path}: there is no folder {folder}. Make it, or choose another one.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"Can't write {path}: nothing may be written to {folder}. Choose another folder.")


def ids_beside(path: Path) -> Path:
    """Return where the ids of users that were numbered anew go, unless another place is named."""
    return Path(f"{path}.ids.csv")


@contextmanager
def written_ids(path: Path, originals: Originals, replace: bool = False) -> Iterator[None]:
    """Write the ids of users 1, 2, ... to a file, which gets its name when the block has ended well; Refused as above.

    A CSV file with a line `user,original` each, or by its name's ending an npy of the ids.
    """
    with renamed_when_whole(path, replace) as file:
        if path.suffix == ".npy":
            np.save(file, originals)
        else:
            users = np.arange(1, len(originals) + 1, dtype=np.uint64)
            file.write(b"user,original\n")
            file.writelines(lines_of(np.stack([users, originals], axis=1), b","))
        yield


def write_pairs(path: Path, pairs: Pairs, form: Format, replace: bool = False) -> None:
    """Write a file; Refused if there is one already and it is not to be replaced, or if it can't be written."""
    with renamed_when_whole(path, replace) as file:
        _WRITERS[form](file, pairs)


@contextmanager
def renamed_when_whole(path: Path, replace: bool) -> Iterator[IO[bytes]]:
    """A file to write, which gets its name when the block has ended well, and is gone otherwise; Refused as above."""
    refuse_unwritable(path, replace)
    try:
        with replaced_file(os.path.realpath(path)) as file:
            yield file
            refuse_unwritable(path, replace)  # there may be one by now
    except OSError as error:
        raise Refused(f"Can't write {path}: {reason(error)}. Nothing of it is left.") from error


def _write_edgelist(file: IO[bytes], pairs: Pairs) -> None:
    for lines in lines_of(pairs):
        file.write(lines)


def _write_npy(file: IO[bytes], pairs: Pairs) -> None:
    np.save(file, np.ascontiguousarray(pairs))


_WRITERS: dict[Format, Callable[[IO[bytes], Pairs], None]] = {
    "edgelist": _write_edgelist,
    "npy": _write_npy,
    "parquet": write_parquet,
}
