"""Edge lists: text with two ids a line, and white space between and around them.

In: a file, read a piece at a time. Out: pairs. Plain lines are taken all at once (`datagen.files.numbers`); where there
is one that is not, its piece is read line by line. Fails: BadFile for the first line that is no pair, with its number.
"""

import re
from pathlib import Path
from typing import IO

import numpy as np

from datagen.files.numbers import plain_pairs
from datagen.files.pairs import MAX_ID, BadFile, Pairs

CHUNK = 1 << 18
"""Bytes of text taken apart at a time: what is worked on stays in the core's cache."""

_LINE = re.compile(rb"[ \t]*(?:(\d{1,20})[ \t]+(\d{1,20})[ \t]*)?\r?")
"""A pair, or a line with nothing on it."""


def read_edgelist(path: Path, file: IO[bytes]) -> Pairs:
    """Read all lines of a file; `path` is for the errors."""
    parts: list[Pairs] = []
    lines_before = 0
    rest = b""
    while data := file.read(CHUNK):
        whole, end, beginning = data.rpartition(b"\n")
        text, rest = (rest + whole + end, beginning) if end else (b"", rest + data)
        if len(rest) > CHUNK:
            raise _bad_line(path, lines_before + text.count(b"\n") + 1, rest)
        parts.append(_read_lines(path, text, lines_before))
        lines_before += text.count(b"\n")
    if rest:
        parts.append(_read_lines(path, rest + b"\n", lines_before))
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint32)


def _read_lines(path: Path, text: bytes, lines_before: int) -> Pairs:
    """Read whole lines: plain ones all at once, and if there is one among them that is not plain, line by line."""
    pairs = plain_pairs(text)
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
