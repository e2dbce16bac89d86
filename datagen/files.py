"""Files of pairs: read whole or not at all, written whole or not at all.

A pair is two ids from 1 to 4,294,967,295; in memory, an array of shape (n, 2) and type uint32. Three formats:
`edgelist` (as in 2008: two ids a line), `npy` (that array) and `parquet` (two integer columns, the first two there
are). A file is written under a temporary name and then renamed, so that neither Ctrl-C nor a full disk leaves a part of
one. A symbolic link is written through, and nothing but a regular file is ever replaced. What a file is, is told by its
first bytes when it is read, and by its name's ending when it is written.

Cost: 15 million pairs as an edge list (190 MB) are written in 1 s and read in 2 s. Fails: BadFile for what can't be
read, naming file and line; Refused for what can't be written.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from flyweight.errors import Refused
from flyweight.reasons import reason

Pairs = npt.NDArray[np.uint32]
Format = Literal["edgelist", "npy", "parquet"]

MAX_ID = 2**32 - 1

_CHUNK = 1 << 18
"""Bytes of text taken apart at a time, and 16 times the rows written: what is worked on stays in the core's cache."""


class BadFile(Refused):
    """A file that holds no pairs, or that can't be read; the text names the file, and the line where there is one."""


def format_of(path: Path) -> Format:
    """Return the format that a name asks for: `.npy`, `.parquet`, or else an edge list."""
    return {".npy": "npy", ".parquet": "parquet"}.get(path.suffix, "edgelist")  # type: ignore[return-value]


# -- writing ---------------------------------------------------------------------------------------------------------


def refuse_unwritable(path: Path, replace: bool, form: Format | None = None) -> None:
    """Refused if a file can't be written there: what can be known before there is anything to write."""
    if form == "parquet":
        _pyarrow()
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


def write_pairs(path: Path, pairs: Pairs, form: Format, replace: bool = False) -> None:
    """Write a file; Refused if there is one already and it is not to be replaced, or if it can't be written."""
    with renamed_when_whole(path, replace) as file:
        _WRITERS[form](file, pairs)


@contextmanager
def renamed_when_whole(path: Path, replace: bool) -> Iterator[IO[bytes]]:
    """A file to write, which gets its name when the block has ended well, and is gone otherwise; Refused as above."""
    refuse_unwritable(path, replace)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
        refuse_unwritable(path, replace)
        os.replace(temporary, target)
    except OSError as error:
        raise Refused(f"Can't write {path}: {reason(error)}. Nothing of it is left.") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


_FOUR: npt.NDArray[np.uint32] = np.frombuffer(b"".join(map(b"%04d".__mod__, range(10_000))), np.uint32)
"""Four digits as one word."""
_LEADING: npt.NDArray[np.uint32] = np.frombuffer(
    b"".join((b"%d" % number if number else b"").rjust(4, b"\0") for number in range(10_000)), np.uint32
)
"""The same for the beginning of a number: NUL where nothing is written."""
_SPACE, _NEWLINE = np.frombuffer(b" \0\0\0\n\0\0\0", np.uint32)


def _write_edgelist(file: IO[bytes], pairs: Pairs) -> None:
    """Write each number as words of four digits and its separator as one more; then leave out every NUL."""
    step = _CHUNK // 16
    width = -(-len(str(pairs.max(initial=1))) // 4)
    for first in range(0, len(pairs), step):
        part = pairs[first : first + step]
        words = np.empty((len(part), 2, width + 1), np.uint32)
        words[:, :, width] = (_SPACE, _NEWLINE)
        rest: npt.NDArray[np.uint32] = part
        for at in reversed(range(width)):
            rest, four = np.divmod(rest, 10_000)
            words[:, :, at] = np.where(rest == 0, _LEADING[four], _FOUR[four])
        file.write(words.tobytes().translate(None, b"\0"))


def _write_npy(file: IO[bytes], pairs: Pairs) -> None:
    np.save(file, np.ascontiguousarray(pairs))


def _write_parquet(file: IO[bytes], pairs: Pairs) -> None:
    arrow, parquet = _pyarrow()
    columns = [arrow.array(np.ascontiguousarray(pairs[:, column])) for column in (0, 1)]
    parquet.write_table(arrow.table(columns, names=["subscriber", "subject"]), file)


def _pyarrow() -> tuple[Any, Any]:
    """Import pyarrow, which is an extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Refused("Parquet needs pyarrow: pip install 'floodtest[parquet]'.") from error
    return pyarrow, pyarrow.parquet


_WRITERS: dict[Format, Callable[[IO[bytes], Pairs], None]] = {
    "edgelist": _write_edgelist,
    "npy": _write_npy,
    "parquet": _write_parquet,
}


# -- reading ---------------------------------------------------------------------------------------------------------


def read_pairs(path: Path) -> Pairs:
    """Read a file of any format; BadFile for the first line or row that is no pair."""
    try:
        with open(path, "rb") as file:
            start = file.read(6)
            file.seek(0)
            if start[:4] == b"PAR1":
                return _checked(path, _read_parquet(path))
            if start == b"\x93NUMPY":
                return _checked(path, _read_npy(path, file))
            return _read_edgelist(path, file)
    except OSError as error:
        raise BadFile(f"Can't read {path}: {reason(error)}.") from error


def _read_npy(path: Path, file: IO[bytes]) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise BadFile(f"{path} is a broken npy file: {error}.") from error
    return array


def _read_parquet(path: Path) -> npt.NDArray[Any]:
    arrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
    except arrow.ArrowException as error:
        raise BadFile(f"{path} is a broken parquet file: {error}.") from error
    if table.num_columns < 2:
        raise BadFile(f"{path} has {table.num_columns} columns, and a pair has two.")
    columns = [table.column(number).to_numpy() for number in (0, 1)]
    return np.stack(columns, axis=1) if table.num_rows else np.zeros((0, 2), np.uint32)


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


_LINE = re.compile(rb"[ \t]*(?:(\d{1,20})[ \t]+(\d{1,20})[ \t]*)?\r?")
"""A pair, or a line with nothing on it."""


def _read_edgelist(path: Path, file: IO[bytes]) -> Pairs:
    parts: list[Pairs] = []
    lines_before = 0
    rest = b""
    while data := file.read(_CHUNK):
        whole, end, beginning = data.rpartition(b"\n")
        text, rest = (rest + whole + end, beginning) if end else (b"", rest + data)
        if len(rest) > _CHUNK:
            raise _bad_line(path, lines_before + text.count(b"\n") + 1, rest)
        parts.append(_read_lines(path, text, lines_before))
        lines_before += text.count(b"\n")
    if rest:
        parts.append(_read_lines(path, rest + b"\n", lines_before))
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32)


def _read_lines(path: Path, text: bytes, lines_before: int) -> Pairs:
    """Read whole lines: plain ones all at once, and if there is one among them that is not plain, line by line."""
    pairs = _plain_lines(text)
    if pairs is not None:
        return pairs
    found = []
    for number, line in enumerate(text[:-1].split(b"\n"), lines_before + 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise _bad_line(path, number, line)
        if match[1]:
            pair = int(match[1]), int(match[2])
            if min(pair) < 1 or max(pair) > MAX_ID:
                raise _bad_line(path, number, line)
            found.append(pair)
    return np.array(found, np.uint32).reshape(-1, 2)


def _bad_line(path: Path, number: int, line: bytes) -> BadFile:
    shown = repr(line[:40].decode(errors="replace")) + ("..." if len(line) > 40 else "")
    return BadFile(f"{path}, line {number}: two ids from 1 to {MAX_ID:,} are expected, not {shown}. Nothing was taken.")


def _plain_lines(text: bytes) -> Pairs | None:
    """Read lines that are digits, one space, digits; None if there are others.

    Each number ends where a separator stands. Its value is the sum of its digits, of which all numbers' last ones are
    taken first, then all numbers' last but one, and so on.
    """
    codes = np.frombuffer(text, np.uint8)
    digits = codes - np.uint8(ord("0"))
    ends = np.flatnonzero(digits > 9)
    separators = codes[ends]
    lengths = np.diff(ends, prepend=-1) - 1
    if len(ends) % 2 or (separators[::2] != ord(" ")).any() or (separators[1::2] != ord("\n")).any():
        return None
    longest = int(lengths.max(initial=0))
    if longest > len(str(MAX_ID)) or (lengths < 1).any():
        return None
    values = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        has = lengths > place
        digit = digits[np.where(has, ends - 1 - place, 0)]
        values += np.where(has, digit, 0).astype(np.uint64) * np.uint64(10**place)
    if (values < 1).any() or (values > MAX_ID).any():
        return None
    return values.astype(np.uint32).reshape(-1, 2)
