"""Files of pairs: read whole or not at all, written whole or not at all.

A pair is two ids from 1 to 4,294,967,295, the subscriber's and the subject's; in memory, an array of shape (n, 2) and
type uint32. Three formats are written: `edgelist` (as in 2008: two ids a line), `npy` (that array) and `parquet` (two
integer columns). Text that is read may have other layouts (`text`), and more than two columns (`columns`). What a file
is, is told by its first bytes when it is read, and by its name's ending when it is written.

Cost: 15 million pairs as an edge list (190 MB) are written in 1 s and read in 2 s. Fails: BadFile for what can't be
read, naming file and line; Refused for what can't be written.
"""

from floodtest.datagen.files.pair_columns import Columns
from floodtest.datagen.files.pair_reading import Friends, read_friends, read_pairs
from floodtest.datagen.files.pairs import MAX_ID, BadFile, Ids, Pairs
from floodtest.datagen.files.writing import (
    format_of,
    ids_beside,
    refuse_unwritable,
    renamed_when_whole,
    write_pairs,
    written_ids,
)

__all__ = [
    "MAX_ID",
    "BadFile",
    "Columns",
    "Friends",
    "Ids",
    "Pairs",
    "format_of",
    "ids_beside",
    "read_friends",
    "read_pairs",
    "refuse_unwritable",
    "renamed_when_whole",
    "write_pairs",
    "written_ids",
]
