"""datagen.files: what is written is read back; what is no pair is named by its place; nothing is left half-written."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from floodtest.datagen.files import (
    MAX_ID,
    BadFile,
    Pairs,
    format_of,
    read_friends,
    read_pairs,
    renamed_when_whole,
    write_pairs,
)
from floodtest.datagen.files.parquet import write_parquet
from floodtest.datagen.options import FORMATS, Format
from floodtest.flyweight.errors import Refused

IDS = st.integers(1, MAX_ID) | st.sampled_from([1, 9, 10, 9999, 10_000, 10_001, 99_999_999, 100_000_000, MAX_ID])
PAIRS = st.lists(st.tuples(IDS, IDS), max_size=40)
IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def pairs_of(rows: list[tuple[int, int]]) -> Pairs:
    return np.array(rows, np.uint32).reshape(-1, 2)


def text_file(folder: Path, text: bytes) -> Path:
    path = folder / "pairs.txt"
    path.write_bytes(text)
    return path


@pytest.mark.parametrize("form", FORMATS)
@given(rows=PAIRS)
@example(rows=[])
@IN_A_FOLDER
def test_what_is_written_is_read_back(form: Format, rows: list[tuple[int, int]], tmp_path: Path) -> None:
    path = tmp_path / "pairs"
    write_pairs(path, pairs_of(rows), form, replace=True)
    read = read_pairs(path)
    assert read.dtype == np.uint32
    assert read.tolist() == [list(row) for row in rows]
    assert [file.name for file in tmp_path.iterdir()] == ["pairs"]


@given(rows=PAIRS)
@IN_A_FOLDER
def test_an_edge_list_is_two_ids_a_line(rows: list[tuple[int, int]], tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", pairs_of(rows), "edgelist", replace=True)
    assert (tmp_path / "pairs").read_text() == "".join(f"{one} {other}\n" for one, other in rows)


def test_more_pairs_than_are_worked_on_at_a_time(tmp_path: Path) -> None:
    pairs = np.random.default_rng(1).integers(1, 2_000_000, (100_000, 2), dtype=np.uint32)
    write_pairs(tmp_path / "pairs", pairs, "edgelist")
    assert np.array_equal(read_pairs(tmp_path / "pairs"), pairs)
    with open(tmp_path / "pairs", "ab") as file:
        file.write(b"1 x\n")
    with pytest.raises(BadFile, match="line 100001:"):
        read_pairs(tmp_path / "pairs")


@pytest.mark.parametrize(
    ("name", "form"), [("a", "edgelist"), ("a.txt", "edgelist"), ("a.npy", "npy"), ("a.parquet", "parquet")]
)
def test_the_name_says_the_format(name: str, form: Format) -> None:
    assert format_of(Path(name)) == form


GENEROUS = [
    (b"", []),
    (b"1 2", [[1, 2]]),
    (b"1 2\n3 4", [[1, 2], [3, 4]]),
    (b"1\t2\r\n3  4 \n", [[1, 2], [3, 4]]),
    (b"  1 2\n\n \t\n3 4\n\n", [[1, 2], [3, 4]]),
    (b"007 0000000000000000008\n", [[7, 8]]),
    (b"4294967295 1\n", [[MAX_ID, 1]]),
]


@pytest.mark.parametrize(("text", "pairs"), GENEROUS)
def test_white_space_and_zeros_are_forgiven(text: bytes, pairs: list[list[int]], tmp_path: Path) -> None:
    assert read_pairs(text_file(tmp_path, text)).tolist() == pairs


BAD_LINES = [
    b"1\n", b"a b\n", b"1 b\n", b"-1 2\n", b"+1 2\n", b"1.0 2\n", b"0 2\n", b"2 0\n",
    b"4294967296 1\n", b"99999999999 1\n", b"999999999999999999999 1\n", b"\x00\n", b"\xff 1\n", b"\xd9\xa1 \xd9\xa2\n",
    b"1 \n", b"1\x0b2\n", b"1;2\n", b"a\n", b"1 2\r3 4\n", b'"1 2\n', b'1 2"\n', b'"1" "b"\n',
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES)
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("end", [b"", b"5 6\n"])
def test_a_bad_line_is_named_and_nothing_is_taken(line: bytes, before: int, end: bytes, tmp_path: Path) -> None:
    path = text_file(tmp_path, b"1 2\n" * before + line + end)
    with pytest.raises(BadFile, match=rf"pairs\.txt, line {before + 1}: .*Nothing was taken"):
        read_pairs(path)


@pytest.mark.parametrize("chunk", [16, 17, 19, 23])
@pytest.mark.parametrize(
    "text", [b"1 2\n" * 20, b"1234567890 1\n12 4294967295\n7 8\n" * 4, b"1\t2\r\n" * 9, b"1 2\n" * 9 + b"3 4"]
)
def test_lines_cut_by_a_read_are_whole(
    chunk: int, text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("floodtest.datagen.files.edge_lists.CHUNK", chunk)
    expected = [list(map(int, line.split())) for line in text.splitlines()]
    assert read_pairs(text_file(tmp_path, text)).tolist() == expected


def test_an_endless_line_is_refused_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("floodtest.datagen.files.edge_lists.CHUNK", 32)
    with pytest.raises(BadFile, match="line 2:"):
        read_pairs(text_file(tmp_path, b"1 2\n" + b"1" * 100))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2), np.int64), "row 1"),
        (np.array([[1, 2], [3, 2**32]]), "row 2"),
        (np.array([[1, -2]]), "row 1"),
        (np.ones((2, 3), np.int64), "there are 3 columns without names, .*--columns A,B"),
        (np.ones((2, 1), np.int64), "there is one column without names"),
        (np.ones((2, 0), np.int64), "there are 0 columns without names"),
        (np.ones((2, 2, 2), np.int64), "shape"),
        (np.ones(4, np.int64), "shape"),
        (np.ones((2, 2)), "float64"),
    ],
)
def test_an_array_of_something_else_is_refused(
    array: np.ndarray[tuple[int, ...], np.dtype[np.int64]], words: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BadFile, match=words):
        read_pairs(tmp_path / "a.npy")


def test_two_columns_of_an_array_that_were_asked_for_are_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[-5, 1, 2], [-6, 3, 4]]))
    assert read_friends(tmp_path / "a.npy", ("3", "2")).pairs.tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_a_file_that_is_cut_off_is_refused(form: Format, tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_pairs(path, pairs_of([(1, 2)] * 1000), form)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadFile, match="broken"):
        read_pairs(path)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="Can't read"):
        read_pairs(tmp_path / name)


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = text_file(tmp_path, b"mine")
    with pytest.raises(Refused, match="exists already"):
        write_pairs(path, pairs_of([(1, 2)]), "edgelist")
    assert path.read_bytes() == b"mine"
    write_pairs(path, pairs_of([(1, 2)]), "edgelist", replace=True)
    assert path.read_bytes() == b"1 2\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError])
def test_nothing_is_left_of_a_file_that_was_not_finished(
    error: BaseException | type[BaseException], tmp_path: Path
) -> None:
    path = text_file(tmp_path, b"mine")

    def write_half() -> None:
        with renamed_when_whole(path, replace=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(Refused if isinstance(error, OSError) else error):  # type: ignore[arg-type]
        write_half()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"mine"


def test_a_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link", tmp_path / "folder" / "target"
    link.symlink_to("folder/target")
    write_pairs(link, pairs_of([(1, 2)]), "edgelist")
    with pytest.raises(Refused, match="link exists already"):
        write_pairs(link, pairs_of([(1, 2)]), "edgelist")
    write_pairs(link, pairs_of([(3, 4)]), "edgelist", replace=True)
    assert (link.is_symlink(), target.read_bytes()) == (True, b"3 4\n")
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("links", [0, 1])
@pytest.mark.parametrize("replace", [True, False])
def test_what_is_no_regular_file_is_never_replaced(replace: bool, links: int, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for _ in range(links):
        path = tmp_path / "link"
        path.symlink_to("pipe")
    with pytest.raises(Refused, match="it is no regular file"):
        write_pairs(path, pairs_of([(1, 2)]), "edgelist", replace)
    with pytest.raises(Refused, match=r"Can't write \.: Is a directory"):
        write_pairs(Path("."), pairs_of([(1, 2)]), "edgelist", replace)
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(Refused, match="Too many levels of symbolic links"):
        write_pairs(tmp_path / "link", pairs_of([(1, 2)]), "npy")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"there is no folder .*/no\. Make it"):
        write_pairs(tmp_path / "no" / "a", pairs_of([(1, 2)]), "npy")


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refused, match=r"floodtest\[parquet\]"):
        write_parquet(io.BytesIO(), pairs_of([(1, 2)]))
