"""datagen.files.parquet: columns are found by their names, each is of a type of its own, and nothing is guessed."""

import os
import resource
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from floodtest.datagen.files import BadFile, Columns, read_friends, write_pairs
from tests.rigs.support import run


def table_in(path: Path, row_group: int = 1000, /, **columns: Any) -> Path:
    """Write columns, lists or (list, type), to a file."""
    arrays = {
        name: pyarrow.array(*column) if isinstance(column, tuple) else pyarrow.array(column)
        for name, column in columns.items()
    }
    pyarrow.parquet.write_table(pyarrow.table(arrays), path, row_group_size=row_group)
    return path


def pairs_in(path: Path, columns: Columns | None = None) -> list[list[int]]:
    found: list[list[int]] = read_friends(path, columns).pairs.tolist()
    return found


PAIRS = [[10, 20], [11, 21], [12, 22]]
SUBSCRIBERS, SUBJECTS = [10, 11, 12], [20, 21, 22]


@pytest.mark.parametrize(
    "names",
    [("source", "target"), ("SRC", "Dst"), ("from", "to"), ("subscriber", "subject"), ("FromNodeId", "ToNodeId")],
)
def test_columns_are_found_by_their_names(names: Columns, tmp_path: Path) -> None:
    others = {"index": [0, 1, 2], "weight": [0.5, 1.5, 2.5], "when": (SUBJECTS, pyarrow.timestamp("us"))}
    path = table_in(tmp_path / "a", **others, **dict(zip(names, (SUBSCRIBERS, SUBJECTS), strict=True)))
    assert pairs_in(path) == PAIRS
    path = table_in(tmp_path / "a", **{names[1]: SUBJECTS, names[0]: SUBSCRIBERS})
    assert pairs_in(path) == PAIRS


def test_two_columns_need_no_names_that_say_which_they_are(tmp_path: Path) -> None:
    path = table_in(tmp_path / "a", a=SUBSCRIBERS, b=SUBJECTS)
    assert pairs_in(path) == PAIRS
    assert pairs_in(path, ("b", "a")) == [[subject, subscriber] for subscriber, subject in PAIRS]


@pytest.mark.parametrize("columns", [("a", "b"), ("A", "B"), ("2", "3"), ("a", "3")])
def test_columns_that_were_asked_for_are_taken(columns: Columns, tmp_path: Path) -> None:
    path = table_in(tmp_path / "a", when=(SUBJECTS, pyarrow.timestamp("us")), a=SUBSCRIBERS, b=SUBJECTS)
    assert pairs_in(path, columns) == PAIRS


TYPES = [getattr(pyarrow, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("one", TYPES, ids=str)
@pytest.mark.parametrize("other", TYPES, ids=str)
def test_each_column_has_a_type_of_its_own(one: Any, other: Any, tmp_path: Path) -> None:
    assert pairs_in(table_in(tmp_path / "a", source=(SUBSCRIBERS, one), target=(SUBJECTS, other))) == PAIRS


REFUSED: list[tuple[dict[str, Any], Columns | None, str]] = [
    ({"ts": [1], "a": [1], "b": [2]}, None, "there are 3 columns, 'ts', 'a', 'b', and nothing says .*--columns A,B"),
    ({"source": [1]}, None, "there is one column, 'source', and a pair has two"),
    ({}, None, "there are 0 columns"),
    ({"a": [1], "b": [2]}, ("a", "c"), "--columns asks for 'c', and there are 2 columns, 'a', 'b'"),
    ({"source": ([1], pyarrow.timestamp("us")), "target": [2]}, None, r"column 'source': its type is timestamp\[us\]"),
    ({"a": [1], "b": [2.0]}, None, "column 'b': its type is double, and ids are whole numbers"),
    ({"a": ["1"], "b": [2]}, None, "column 'a': its type is string"),
    ({"a": [True], "b": [2]}, None, "column 'a': its type is bool"),
    ({"a": [[1]], "b": [2]}, None, "column 'a': its type is list"),
    ({"src": [1, None, 2], "dst": [2, 3, 3]}, None, "row 2: the column 'src' has no value there"),
    ({"src": [1, 2, 3], "dst": [2, 3, None]}, None, "row 3: the column 'dst' has no value there"),
    ({"src": [1, 2], "dst": ([0, 7], pyarrow.uint8())}, None, "row 1: an id is .*, not 0"),
    ({"src": [1, -2], "dst": [0, 7]}, None, "row 1: an id is .*, not 0"),
    ({"src": [1, -2], "dst": [4, 0]}, None, "row 2: an id is .*, not -2"),
    ({"src": [1, 2**32], "dst": [4, 5]}, None, "row 2: an id is .*, not 4294967296"),
    ({"src": ([1, 2**64 - 1], pyarrow.uint64()), "dst": [4, 5]}, None, "row 2: an id is .*, not 18446744073709551615"),
]


@pytest.mark.parametrize(("columns", "wanted", "words"), REFUSED)
def test_what_holds_no_pairs_is_refused(
    columns: dict[str, Any], wanted: Columns | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadFile, match=words) as caught:
        read_friends(table_in(tmp_path / "a", **columns), wanted)
    assert str(caught.value).endswith(" Nothing was taken.")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pyarrow.table([pyarrow.array([1]), pyarrow.array([2]), pyarrow.array([3])], names=["a", "a", "b"])
    pyarrow.parquet.write_table(table, tmp_path / "a")
    with pytest.raises(BadFile, match="several columns have the name of one of the pair's, 'a' and 'b'"):
        read_friends(tmp_path / "a", ("1", "3"))


def test_rows_are_counted_through_all_that_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("floodtest.datagen.files.parquet.ROWS", 7)
    numbers = np.arange(1, 101)
    path = table_in(tmp_path / "a", 30, a=numbers, b=numbers[::-1])
    assert pairs_in(path) == np.stack([numbers, numbers[::-1]], axis=1).tolist()
    numbers[80] = 0
    with pytest.raises(BadFile, match="row 81: an id"):
        read_friends(table_in(tmp_path / "a", 30, a=numbers, b=np.ones(100, int)))


def test_what_is_corrupt_within_is_refused(tmp_path: Path) -> None:
    path = table_in(tmp_path / "a", a=np.arange(1, 10_000), b=np.arange(1, 10_000))
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"a is a broken parquet file: .*\. Nothing was taken\.$") as caught:
        read_friends(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mebibytes", [390, 430, 700])
def test_with_few_addresses_it_is_read_or_the_limit_is_named(mebibytes: int, tmp_path: Path) -> None:
    """pyarrow, with its own allocator and threads, ended the process or called the file broken."""
    numbers = np.arange(1, 1_000_001)
    table_in(tmp_path / "a", 1_000_000, a=numbers, b=numbers[::-1])
    few = mebibytes << 20, mebibytes << 20
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, few)
    done = run("fakefriends", "stats", str(tmp_path / "a"), preexec_fn=limit)
    said = done.stderr.splitlines()[-1]
    if mebibytes == 700:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode in (0, 3), done.stderr
        assert not done.returncode or ("fakefriends: Out of memory" in said and "raise ulimit -v" in said)


# -- a folder of parts -----------------------------------------------------------------------------------------------


def test_the_parts_of_a_folder_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    table_in(tmp_path / "part-1.parquet", source=[11], target=[21])
    table_in(tmp_path / "part-0.parquet", source=[10], target=[20])
    table_in(tmp_path / "part-2.parquet", target=[22], source=([12], pyarrow.uint64()), more=[0.5])
    for name in (".hidden.parquet", "_temporary.parquet", "_metadata", "_SUCCESS", ".part-0.parquet.crc"):
        (tmp_path / name).write_text("not a part")
    assert pairs_in(tmp_path) == PAIRS


def test_parts_are_read_from_the_folders_within(tmp_path: Path) -> None:
    for folder in ("date=2008-10-11", "date=2008-10-12/hour=1", "_date=2008-10-13", "_temporary/0", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
    table_in(tmp_path / "date=2008-10-11" / "part-0.parquet", source=[10], target=[20])
    table_in(tmp_path / "date=2008-10-12" / "hour=1" / "part-0.parquet", source=[11], target=[21])
    table_in(tmp_path / "_date=2008-10-13" / "part-0.parquet", source=[12], target=[22])
    for folder in ("_temporary/0", ".hidden"):
        table_in(tmp_path / folder / "part-0.parquet", source=[9], target=[9])
    assert sorted(pairs_in(tmp_path)) == PAIRS


@pytest.mark.parametrize("name", ["part-1.parquet.gz", "notes.txt", "date=1/part-1.csv", "pipe.parquet", "link"])
def test_what_is_no_part_is_named_and_nothing_passed_over(name: str, tmp_path: Path) -> None:
    table_in(tmp_path / "part-0.parquet", source=[10], target=[20])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name == "pipe.parquet":
        os.mkfifo(path)
    elif name == "link":
        path.symlink_to(tmp_path)
    else:
        path.write_text("1 2\n")
    with pytest.raises(BadFile, match=rf"{name} is no file \*\.parquet"):
        read_friends(tmp_path)


def test_a_part_with_other_columns_is_refused(tmp_path: Path) -> None:
    table_in(tmp_path / "a.parquet", a=[1], b=[2])
    table_in(tmp_path / "b.parquet", a=[1], c=[2])
    with pytest.raises(BadFile, match=r"b\.parquet: the pair has the columns 'a' and 'c', and before 'a' and 'b'"):
        read_friends(tmp_path)


def test_a_part_that_is_broken_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a.parquet", np.array([[1, 2]], np.uint32), "parquet")
    (tmp_path / "b.parquet").write_text("1 2\n")
    with pytest.raises(BadFile, match=r"b\.parquet is a broken parquet file"):
        read_friends(tmp_path)


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="it is a folder without files "):
        read_friends(tmp_path)
