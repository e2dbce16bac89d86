"""Matrix Market: edge lists as igraph, SuiteSparse and networkrepository write them.

The first line is `%%MatrixMarket matrix coordinate FIELD SYMMETRY`; comments follow, then a line with the numbers of
rows, columns and entries, then an entry a line: row, column and a value, unless FIELD is `pattern` (Boisvert, Pozo and
Remington, "The Matrix Market Exchange Formats", NISTIR 5935, 1996). An entry is a pair, whatever its value; of a
symmetric matrix the file has one of the two triangles, and so each pair once. In: the lines that are no entries. Out:
how many entries there have to be. Fails: BadFile for matrices of another kind, and for a file with more or fewer.
"""

from floodtest.datagen.files.pairs import Reading

_BANNER = b"%%matrixmarket"
_KIND = [b"matrix", b"coordinate"]


class Matrix:
    """A file of this kind that is read."""

    def __init__(self, reading: Reading, banner: bytes) -> None:
        """BadFile if it is no matrix of coordinates."""
        self._reading = reading
        self._found = 0
        self.entries: int | None = None
        """None as long as the line that says so has not been read."""
        if (kind := banner.lower().split()[1:3]) != _KIND:
            shown = b" ".join(kind).decode(errors="replace")
            raise reading.bad("line 1", f"a Matrix Market file of pairs is a matrix coordinate, not {shown!r}.")

    def take_sizes(self, fields: list[bytes], line: int) -> None:
        """Read the line of three numbers; BadFile for another one."""
        if len(fields) != 3 or not all(field.isdigit() for field in fields):
            said = "the numbers of rows, columns and entries of a Matrix Market file stand here, and nothing else."
            raise self._reading.bad(f"line {line}", said)
        self.entries = int(fields[2])

    def count(self, entries: int) -> None:
        """Count entries that were read."""
        self._found += entries

    def check(self) -> None:
        """BadFile unless all have been read."""
        if self._found != self.entries:
            said = "no line says how many" if self.entries is None else f"its line of sizes says {self.entries:,}"
            sentence = f"it has {self._found:,} entries, and {said}. It may have been cut off: get it anew."
            raise self._reading.bad(None, sentence)


def matrix_in(reading: Reading, text: bytes) -> Matrix | None:
    """Return the matrix that a file is whose first lines these are; None if it is another edge list."""
    if text[: len(_BANNER)].lower() != _BANNER:
        return None
    return Matrix(reading, text.partition(b"\n")[0])
