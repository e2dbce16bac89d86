"""Edge lists: text with a pair a line, in the layouts that people have them in.

Columns are separated by white space (as in the files of SNAP and KONECT) or by commas; the first line that says
something decides, and all others have as many columns: a line with more would be something else than a pair, such as
the neighbours of a vertex. Lines that begin with # or % are comments. A first line without any number names the
columns. Line ends may be CRLF, a byte order mark is skipped, and double quotes around a column are taken off. The
line of sizes of a Matrix Market file is no pair (`datagen.files.matrix_market`).

In: a file, read a piece at a time. Out: arrays of shape (n, 2). Pieces of plain lines are taken apart as columns
(`datagen.files.numbers`), others line by line; both read the same. Fails: BadFile for the first line that is no pair.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import IO, Any

import numpy as np

from floodtest.datagen.files.matrix_market import Matrix, matrix_in
from floodtest.datagen.files.numbers import plain_rows
from floodtest.datagen.files.pair_columns import Picked
from floodtest.datagen.files.pairs import FOR_NAMES, BadFile, IdRange, Ids, Reading

CHUNK = 1 << 18
"""Bytes of text taken apart at a time: what is worked on stays in the core's cache. No line may be longer."""

_BOM = b"\xef\xbb\xbf"
_UTF_16 = re.compile(rb"\xff\xfe|\xfe\xff|[\t -~]\0[\t -~]\0|\0[\t -~]\0[\t -~]")
_LOOK = 64
"""Bytes that tell whether a file is other text."""

_ID = re.compile(rb"\d{1,20}")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(rb"[^ \t]+")


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are laid out."""

    separator: bytes
    """A comma, or a space that stands for any white space."""
    columns: int
    picked: Picked

    @property
    def hint(self) -> str:
        """What to say where an id is wrong."""
        return " --columns says which columns hold the ids." if self.columns > 2 else ""


def read_edgelist(reading: Reading, file: "BufferedReader[Any]") -> Iterator[Ids]:
    """Yield the pairs of a file, some at a time."""
    layout, matrix = None, None
    _refuse_other_text(reading, file.peek(_LOOK)[:_LOOK])
    for text, lines_before in _whole_lines(reading, file):
        if not lines_before:
            matrix = matrix_in(reading, text)
        if matrix is not None and matrix.entries is None:
            text, lines_before = _take_sizes(matrix, text, lines_before)
        if layout is None:
            layout, text, lines_before = _begin(reading, text, lines_before)
        if layout is not None:
            rows = _all_at_once(text, layout, reading.ids)
            rows = _by_line(reading, text, lines_before, layout) if rows is None else rows
            if matrix is not None:
                matrix.count(len(rows))
            yield rows
    if matrix is not None:
        matrix.check()


def _refuse_other_text(reading: Reading, text: bytes) -> None:
    """BadFile for text that begins as no edge list does."""
    if _UTF_16.match(text):
        raise reading.bad(None, "this is UTF-16 text. Save it as UTF-8.")
    if text.removeprefix(_BOM).lstrip().startswith((b"{", b"[")):
        raise reading.bad(None, "this looks like JSON, which is not read. Write its pairs as text, two ids a line.")


def _whole_lines(reading: Reading, file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines, a piece of about CHUNK bytes at a time, and how many lines came before each piece."""
    lines_before = 0
    rest = file.read(CHUNK).removeprefix(_BOM)
    while rest:
        whole, end, rest = rest.rpartition(b"\n")
        if end:
            yield whole + end, lines_before
            lines_before += whole.count(b"\n") + 1
        if len(rest) > CHUNK:
            raise reading.bad(f"line {lines_before + 1}", f"the line is longer than {CHUNK:,} bytes.")
        data = file.read(CHUNK)
        if rest and not data:
            data = b"\n"
        rest += data


def _all_at_once(text: bytes, layout: Layout, ids: IdRange) -> Ids | None:
    """Read whole lines as columns; None unless they are plain but for tabs, CRLF, and a space at their ends."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    white = layout.separator == b" "
    if white and b"\t" in text:
        text = text.replace(b"\t", b" ")
    rows = plain_rows(text, layout.separator, layout.columns, layout.picked, ids)
    if rows is None and white and b" \n" in text:  # a search that takes longer than those for one byte
        rows = plain_rows(text.replace(b" \n", b"\n"), layout.separator, layout.columns, layout.picked, ids)
    return rows


@dataclass(frozen=True)
class _Line:
    """A line that says something."""

    fields: list[bytes]
    separator: bytes
    number: int
    after: bytes
    """The lines that follow it."""
    onward: bytes
    """Those, and itself."""

    @property
    def is_of_words(self) -> bool:
        """Whether there is no number in it."""
        return any(self.fields) and not any(map(_NUMBER.fullmatch, self.fields))


def _first_line(text: bytes, lines_before: int) -> _Line | None:
    """Find the first line that says something; None if there is none."""
    at = 0
    while at < len(text):
        end = text.index(b"\n", at)
        line = text[at:end]
        lines_before += 1
        separator = b"," if b"," in line else b" "
        if fields := _fields(line, separator):
            return _Line(fields, separator, lines_before, text[end + 1 :], text[at:])
        at = end + 1
    return None


def _take_sizes(matrix: Matrix, text: bytes, lines_before: int) -> tuple[bytes, int]:
    """Read the line of sizes, if it is there by now; return the lines after it, and how many came before those."""
    line = _first_line(text, lines_before)
    if line is None:
        return b"", lines_before
    matrix.take_sizes(line.fields, line.number)
    return line.after, line.number


def _begin(reading: Reading, text: bytes, lines_before: int) -> tuple[Layout | None, bytes, int]:
    """Find the first line that says something; return the layout, and the lines from it, or from after the names, on.

    None if there is no such line yet.
    """
    line = _first_line(text, lines_before)
    if line is None:
        return None, b"", lines_before
    layout, is_header = _layout(reading, line)
    return layout, line.after if is_header else line.onward, line.number - (not is_header)


def _layout(reading: Reading, first: _Line) -> tuple[Layout, bool]:
    """Return the layout that the first line tells, and whether that line names the columns."""
    fields, separator, line, is_header = first.fields, first.separator, first.number, first.is_of_words
    names = [field.decode(errors="replace") for field in fields] if is_header else None
    count, place = len(fields), f"line {line}"
    if count < 2:
        raise reading.bad(place, f"{_shown(fields[0])} is one column; a pair has two, a space, tab or comma apart.")
    first_two = not is_header and (separator == b" " or count == 2)
    try:
        picked = reading.picked(place, count, names, first_two)
    except BadFile:
        following = _first_line(first.after, line) if is_header else None
        if following is None or not following.is_of_words:
            raise
        shown = f"{_shown(fields[0])} and {_shown(following.fields[0])}"
        raise reading.bad(place, f"these are names, such as {shown}, and a pair is two ids. {FOR_NAMES}") from None
    if count > 2 and first_two and reading.columns is None:
        reading.notes.append(f"{reading.path} has {count} columns; the first two are the pair. --columns takes others.")
    return Layout(separator, count, picked), is_header


def _fields(line: bytes, separator: bytes) -> list[bytes]:
    """Return the columns of a line; none of a comment, and of one with nothing on it."""
    line = line.removesuffix(b"\r").strip(b" \t")
    if not line or line.startswith((b"#", b"%")):
        return []
    if b'"' in line:
        return _quoted(line, separator)
    if separator == b",":
        return [field.strip(b" \t") for field in line.split(b",")]
    return _WORD.findall(line)


def _quoted(line: bytes, separator: bytes) -> list[bytes]:
    """Return the columns of a line in which some have quotes around them (RFC 4180, section 2)."""
    text = line.decode(errors="surrogateescape")
    if separator == b" ":
        text = text.replace("\t", " ")
    try:
        (fields,) = csv.reader([text], delimiter=separator.decode(), skipinitialspace=True)
    except (csv.Error, ValueError):  # a NUL, or a carriage return within
        return [line]
    return [field.strip(" \t").encode(errors="surrogateescape") for field in fields]


def _by_line(reading: Reading, text: bytes, lines_before: int, layout: Layout) -> Ids:
    """Read whole lines one by one; BadFile for the first that is no pair."""
    found = []
    for number, line in enumerate(text[:-1].split(b"\n"), lines_before + 1):
        if not (fields := _fields(line, layout.separator)):
            continue
        if len(fields) != layout.columns:
            raise _of_other_length(reading, number, line, len(fields), layout)
        pair = [fields[at] for at in layout.picked]
        for field in pair:
            if not _ID.fullmatch(field) or not reading.ids.least <= int(field) <= reading.ids.most:
                raise reading.bad_id(f"line {number}", _shown(field), layout.hint, _is_name(field))
        found.append((int(pair[0]), int(pair[1])))
    return np.array(found, reading.ids.dtype).reshape(-1, 2)


def _of_other_length(reading: Reading, number: int, line: bytes, count: int, layout: Layout) -> BadFile:
    columns = "1 column" if count == 1 else f"{count:,} columns"
    return reading.bad(f"line {number}", f"{_shown(line)} has {columns}, and the first line has {layout.columns}.")


def _shown(text: bytes) -> str:
    return repr(text[:40].decode(errors="replace")) + ("..." if len(text) > 40 else "")


def _is_name(field: bytes) -> bool:
    """Return whether a column has what looks like a name, and not like a number that is no id."""
    return not _NUMBER.fullmatch(field) and any(character.isalpha() for character in field.decode(errors="replace"))
