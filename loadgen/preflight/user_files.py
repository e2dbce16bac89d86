"""Files with a row for each user: CSV with a line of names, JSON objects a line each, parquet; told by first bytes.

In: a path; what gzip has packed is unpacked. Out: the names of all columns, and the rows of some of them, one at a time
and as bytes in UTF-8; numbers are as the file writes them. A file of any size takes the memory of a row, and of parquet
that of `ROWS`. Fails: OSError where it can't be read, Refused where it is none of these, with the line that is wrong.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.arrow import explained, has_few_addresses, import_pyarrow

Row = tuple[str, list[bytes]]
"""Where it is, such as "line 7", and its values in the columns that are asked for."""

ROWS = 1 << 14
"""Rows of a parquet file that are read at a time."""

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Rows:
    """A file that was opened."""

    names: list[str]
    rows: Callable[[Sequence[str]], Iterator[Row]]
    """The rows, from the first one on, with the values of these columns."""


@contextmanager
def open_rows(path: Path) -> Iterator[Rows]:
    """Open a file of users."""
    with open(path, "rb") as file:
        start = file.peek(4)
        if start.startswith(_PARQUET):
            with _parquet(path) as found:
                yield found
        elif not start.startswith(_GZIP):
            yield _text(path, file)
        else:
            try:
                with gzip.open(file) as unzipped:
                    yield _text(path, io.BufferedReader(unzipped))
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise Refused(f"{path} is a broken gzip archive: {str(error).rstrip('.')}.") from error


def _text(path: Path, file: "io.BufferedReader[Any]") -> Rows:
    start = file.peek(4).removeprefix(b"\xef\xbb\xbf")
    return _objects(path, file) if start[:1] == b"{" else _table(path, file)


# CSV


def _table(path: Path, file: IO[bytes]) -> Rows:
    lines = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""), strict=True)
    _, names = next(_lines_of(path, lines), ("", None))
    if names is None:
        raise Refused(f"{path} is empty. Its first line names the columns.")

    def rows(columns: Sequence[str]) -> Iterator[Row]:
        at = [names.index(column) for column in columns]
        for where, fields in _lines_of(path, lines):
            if len(fields) != len(names):
                raise Refused(f"{path}, {where}: it has {len(fields)} columns, and the first line has {len(names)}.")
            yield where, [fields[index].encode() for index in at]

    return Rows(names, rows)


def _lines_of(path: Path, lines: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines that are not empty, each with its place."""
    try:
        for fields in lines:
            if fields:
                yield f"line {lines.line_num}", fields
    except UnicodeDecodeError as error:
        raise Refused(f"{path}, about line {lines.line_num + 1}: this is no UTF-8 text. Save it as UTF-8.") from error
    except csv.Error as error:
        raise Refused(f"{path}, line {lines.line_num}: this is no CSV: {error}.") from error


# JSON


def _objects(path: Path, file: IO[bytes]) -> Rows:
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def decoded(number: int, line: bytes) -> dict[str, msgspec.Raw]:
        try:
            return decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{path}, line {number}: this is no JSON object on a line of its own: {error}.") from error

    first = file.readline().removeprefix(b"\xef\xbb\xbf")
    begun = decoded(1, first)

    def rows(columns: Sequence[str]) -> Iterator[Row]:
        yield "line 1", [_of_json(path, 1, name, begun) for name in columns]
        for number, line in enumerate(file, 2):
            if line.strip():
                found = decoded(number, line)
                yield f"line {number}", [_of_json(path, number, name, found) for name in columns]

    return Rows(list(begun), rows)


def _of_json(path: Path, number: int, name: str, found: dict[str, msgspec.Raw]) -> bytes:
    """Return a value: a text without its quotes, a number or a truth value as it stands there."""
    value = bytes(found.get(name, b"null"))
    if value.startswith(b'"'):
        try:
            return msgspec.json.decode(value, type=str).encode(errors="surrogatepass")
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Refused(f"{path}, line {number}, column {name!r}: its text is not UTF-8.") from None
    if value == b"null":
        raise Refused(f"{path}, line {number}, column {name!r}: it has no value there.")
    if value[:1] in (b"{", b"["):
        raise Refused(
            f"{path}, line {number}, column {name!r}: a value is a text or a number, not {value[:1].decode()}."
        )
    return value


# Parquet


@contextmanager
def _parquet(path: Path) -> Iterator[Rows]:
    arrow, parquet = import_pyarrow()
    with explained(path, arrow, Refused), parquet.ParquetFile(path) as file:
        yield Rows(file.schema_arrow.names, lambda columns: _parquet_rows(path, arrow, file, columns))


def _parquet_rows(path: Path, arrow: Any, file: Any, columns: Sequence[str]) -> Iterator[Row]:
    before = 0
    for batch in file.iter_batches(ROWS, columns=list(columns), use_threads=not has_few_addresses()):
        texts = [_of_arrow(path, arrow, name, batch.column(name), before) for name in columns]
        for number, row in enumerate(zip(*texts, strict=True), before + 1):
            yield f"row {number:,}", list(row)
        before += batch.num_rows


def _of_arrow(path: Path, arrow: Any, name: str, column: Any, before: int) -> list[bytes]:
    """Return the values of a column as texts; so many rows came before them."""
    if column.null_count:
        row = before + column.is_null().to_pylist().index(True) + 1
        raise Refused(f"{path}, row {row:,}, column {name!r}: it has no value there.")
    if arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type):
        found: list[bytes] = column.to_pylist()
        return found
    try:
        return [text.encode() for text in column.cast(arrow.string()).to_pylist()]
    except arrow.ArrowException as error:
        raise Refused(f"{path}, column {name!r}: its type is {column.type}, which is no text and no number.") from error
