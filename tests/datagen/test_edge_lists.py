"""datagen.files.edge_lists and pair_columns: layouts of text that people have, and which columns are the pair."""

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from floodtest.datagen.files import BadFile, Columns, read_friends
from floodtest.datagen.files.pair_columns import Unclear, pick

IN_A_FOLDER = settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])


def text_file(folder: Path, text: bytes) -> Path:
    path = folder / "pairs.txt"
    path.write_bytes(text)
    return path


def pairs_in(folder: Path, text: bytes, columns: Columns | None = None) -> list[list[int]]:
    found: list[list[int]] = read_friends(text_file(folder, text), columns).pairs.tolist()
    return found


SNAP = b"# Directed graph: soc.txt\r\n# Nodes: 4 Edges: 3\r\n# FromNodeId\tToNodeId\r\n1\t4\r\n2\t4\r\n4\t1\r\n"
KONECT = b"% sym unweighted\n% 3 4 4\n1 4\n2 4 \n4 1 \n"
THREE = [[1, 4], [2, 4], [4, 1]]
LAYOUTS = {
    "snap": SNAP,
    "konect": KONECT,
    "comments in between": b"1 4\n# more\n2 4\n  % and more\n4 1\n# the end",
    "csv": b"1,4\n2,4\n4,1\n",
    "csv with spaces": b"1, 4\r\n2 ,4\n 4\t,1 \n",
    "csv with names": b"source,target\n1,4\n2,4\n4,1\n",
    "names of SNAP": b"FromNodeId,ToNodeId\n1,4\n2,4\n4,1\n",
    "names in another order": b"target,source\n4,1\n4,2\n1,4\n",
    "names in capitals": b" SRC , Dst \n1,4\n2,4\n4,1\n",
    "names with tabs": b"from\tto\n1\t4\n2\t4\n4\t1\n",
    "names after a comment": b"# exported\n\nsubscriber,subject\n1,4\n2,4\n4,1\n",
    "a weight before": b"weight,source,target\n0.5,1,4\n7,2,4\n-1e3,4,1\n",
    "the index of pandas": b",source,target\n0,1,4\n1,2,4\n2,4,1\n",
    "quotes": b'"source","target","name"\n"1","4","Smith, John"\n"2",4,\n4,"1","""A"""\n',
    "quotes and spaces": b'"from"  "to"\n"1"\t"4"\n"2" 4\n4 "1"\n',
    "a byte order mark": b"\xef\xbb\xbf1 4\n2 4\n4 1\n",
    "a byte order mark and names": b"\xef\xbb\xbfsource,target\n1,4\n2,4\n4,1",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_people_are_read(layout: str, tmp_path: Path) -> None:
    friends = read_friends(text_file(tmp_path, LAYOUTS[layout]))
    assert friends.pairs.tolist() == THREE
    assert friends.notes == ()


@pytest.mark.parametrize("text", [b"", b"# nothing\n", b"%\n\n \t\r\n", b"\xef\xbb\xbf", b"source,target\n"])
def test_a_file_without_pairs_holds_none(text: bytes, tmp_path: Path) -> None:
    assert pairs_in(tmp_path, text) == []


@pytest.mark.parametrize(
    "text",
    [
        b"% bip posweighted\n1 4 1 1082040961\n2 4 1 1082040962\n4 1 3 1082040963\n",
        b"1\t4\t0.5\n2\t4\t-1\n4\t1\tnan\n",
        b"1 4 a\n2 4 b\n4 1 #\n",
    ],
    ids=["numbers", "weights", "names"],
)
def test_further_columns_are_left_out_and_it_is_said(text: bytes, tmp_path: Path) -> None:
    friends = read_friends(text_file(tmp_path, text))
    assert friends.pairs.tolist() == THREE
    (note,) = friends.notes
    assert f"{tmp_path}/pairs.txt has {len(text.splitlines()[-1].split())} columns; the first two are the pair." in note


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (b"0.5 1 4\n0.5 2 4\n1 4 1\n", ("2", "3")),
        (b"4 9 1\n4 9 2\n1 9 4\n", ("3", "1")),
        (b"9,1,4\n9,2,4\n9,4,1\n", ("2", "3")),
        (b"a,b\n1,4\n2,4\n4,1\n", ("1", "2")),
        (b"a,b\n1,4\n2,4\n4,1\n", ("A", "b")),
        (b"b,A,a\n4,9,1\n4,9,2\n1,9,4\n", ("a", "b")),
        (b"source,target\n4,1\n4,2\n1,4\n", ("target", "source")),
        (b"a,A,b\n9,4,1\n9,4,2\n9,1,4\n", ("B", "2")),
    ],
    ids=["a weight", "backwards", "a csv", "numbers", "names", "exactly", "asked for", "a name and a number"],
)
def test_columns_that_were_asked_for_are_taken(text: bytes, columns: Columns, tmp_path: Path) -> None:
    friends = read_friends(text_file(tmp_path, text), columns)
    assert (friends.pairs.tolist(), friends.notes) == (THREE, ())


UNCLEAR: list[tuple[bytes, Columns | None, str]] = [
    (b"0,10,20\n1,11,21\n", None, "line 1: there are 3 columns without names, .*--columns A,B, two"),
    (b"a,b\n1,2\n", None, "line 1: there are 2 columns, 'a', 'b', and nothing says .*--columns A,B, two"),
    (b"# c\nts,a,b\n1,2,3\n", None, "line 2: there are 3 columns, 'ts', 'a', 'b', .*--columns A,B, two"),
    (b"source,target,from,to\n1,2,3,4\n", None, "there are 4 columns, 'source', "),
    (b"source,source,target\n1,2,3\n", None, "there are 3 columns, 'source', 'source', "),
    (b"a,b\n1,2\n", ("a", "c"), "--columns asks for 'c', and there are 2 columns, 'a', 'b'"),
    (b"1 2\n", ("1", "3"), "--columns asks for '3', and there are 2 columns without names"),
    (b"1 2\n", ("0", "1"), "--columns asks for '0'"),
    (b"1 2\n", ("source", "target"), "--columns asks for 'source', and there are 2 columns without names"),
    (b"a,a,b\n1,2,3\n", ("a", "b"), "2 columns have the name 'a'"),
    (b"a,b\n1,2\n", ("a", "1"), "--columns a,1 is one column twice"),
    (b"source;target\n1;2\n", None, "line 1: 'source;target' is one column; a pair has two"),
    (b"1;2\n", None, "line 1: '1;2' is one column"),
    (",".join(f"column{number}" for number in range(30)).encode() + b"\n", None, "'column19', ..., and nothing"),
]


@pytest.mark.parametrize(("text", "columns", "words"), UNCLEAR)
def test_columns_that_nothing_tells_are_refused(
    text: bytes, columns: Columns | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadFile, match=words) as caught:
        read_friends(text_file(tmp_path, text), columns)
    assert str(caught.value).endswith(" Nothing was taken.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"1 2\n3 4\n5 6 7\n", "line 3: '5 6 7' has 3 columns, and the first line has 2"),
        (b"# adjacency\n1 2 3 4\n2 3\n", "line 3: '2 3' has 2 columns, and the first line has 4"),
        (b'"from" "to"\n"1" 12 13\n', "line 2: '\"1\" 12 13' has 3 columns, and the first line has 2"),
        (b"source,target\n1 2\n", "line 2: '1 2' has 1 column, and"),
        (b"1 2\n3,4\n", "line 2: '3,4' has 1 column, and"),
        (b'a,"source",target\n1,2,3\n1,"2,3\n', "line 3: .* has 2 columns, and"),
        (b"source,target\n1,2\n3,\n", "line 3: an id is a whole number from 1 to 4,294,967,295, not ''"),
        (b"0.5 1 2\n", "line 1: an id .*, not '0.5'. --columns says which columns hold the ids."),
        (b"source,target\nsource,target\n", "line 2: an id .*, not 'source'"),
        (b"1 2\nsource target\n", "line 2: an id"),
        (b'1,"2\x00"\n', "line 1: "),
        (b"source,target\n1,2\r\r3\n", "line 2: "),
        (b'source,target\n"1"\r,2\n', "line 2: "),
    ],
)
def test_a_line_that_is_laid_out_in_another_way_is_refused(text: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=words) as caught:
        read_friends(text_file(tmp_path, text))
    assert str(caught.value).endswith(" Nothing was taken.")


def test_names_come_before_numbers() -> None:
    assert pick(3, ["2", "1", "x"], ("1", "2"), first_two=True) == (1, 0)
    with pytest.raises(Unclear, match="asks for '٣'"):
        pick(3, None, ("٣", "1"), first_two=True)


def outcome(path: Path, columns: Columns | None, anew: bool) -> object:
    """Return what reading comes to: pairs, ids and notes, or the error."""
    try:
        friends = read_friends(path, columns, anew)
    except BadFile as error:
        return str(error)
    return friends.pairs.tolist(), None if friends.originals is None else friends.originals.tolist(), friends.notes


FIRST = [b"", b"1 2\n", b"1,2\n", b"1 2 3\n", b"source,x,target\n"]
PIECES = [
    b"1", b"0", b"22", b"4294967295", b"4294967296", b".5", b"x", b" ", b"\t", b",", b'"', b"\r", b"\n", b" \n",
    b"9999999999999999999", b"18446744073709551615", b"18446744073709551616",
    b"\r\n", b"1 2\n", b"3 4\n", b"5\t6\n", b"1,2\n", b"1 2 3\n", b"7,8,9\n", b"# c\n", b"a,b\n", b"source,target\n",
]  # fmt: skip


@given(
    text=st.tuples(st.sampled_from(FIRST), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)).map(b"".join),
    columns=st.sampled_from([None, ("1", "2"), ("2", "1"), ("3", "1")]),
    anew=st.booleans(),
    chunk=st.sampled_from([64, 1 << 18]),
)
@example(text=b"12", columns=None, anew=False, chunk=64)
@example(text=b"source,x,target\n1 2,3\n", columns=None, anew=False, chunk=64)
@example(text=b"1 2\t\r\n" * 20, columns=None, anew=False, chunk=64)
@example(text=b"18446744073709551615 9999999999999999999\n0 18446744073709551616\n", columns=None, anew=True, chunk=64)
@IN_A_FOLDER
def test_all_at_once_reads_what_line_by_line_reads(
    text: bytes, columns: Columns | None, anew: bool, chunk: int, tmp_path: Path
) -> None:
    path = text_file(tmp_path, text)
    with patch("floodtest.datagen.files.edge_lists.CHUNK", chunk):
        at_once = outcome(path, columns, anew)
        with patch("floodtest.datagen.files.edge_lists.plain_rows", return_value=None):
            line_by_line = outcome(path, columns, anew)
    assert at_once == line_by_line


@pytest.mark.parametrize("line", [b"1 2", b"1\t2\r", b"1 2 ", b"1,2", b"1 2 3 4", b"1\t2\t-0.5\tx"])
def test_plain_layouts_are_not_read_line_by_line(line: bytes, tmp_path: Path) -> None:
    with patch("floodtest.datagen.files.edge_lists._by_line") as by_line:
        assert pairs_in(tmp_path, b"# c\n" + (line + b"\n") * 9) == [[1, 2]] * 9
    assert not by_line.called


# -- Matrix Market ---------------------------------------------------------------------------------------------------

MATRIX = b"%%MatrixMarket matrix coordinate pattern symmetric\n% made by hand\n%\n4 4 3\n1 4\n2 4\n4 1\n"


@pytest.mark.parametrize(
    "text",
    [
        MATRIX,
        MATRIX.replace(b"\n", b"\r\n"),
        b"%%matrixmarket MATRIX Coordinate real general\n4 4 3\n1 4 0.5\n2 4 -1e3\n\n4 1 7\n",
        MATRIX.replace(b"%\n", b"% long\n" * 60_000),  # longer than what is looked at together
    ],
    ids=["as it is", "CRLF", "values", "many comments"],
)
def test_the_sizes_of_a_matrix_are_no_pair(text: bytes, tmp_path: Path) -> None:
    assert pairs_in(tmp_path, text) == THREE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MATRIX + b"3 2\n", "it has 4 entries, and its line of sizes says 3"),
        (MATRIX[:-4], "it has 2 entries, and its line of sizes says 3"),
        (MATRIX[: MATRIX.index(b"1 4")], "it has 0 entries, and its line of sizes says 3"),
        (MATRIX[: MATRIX.index(b"4 4 3")], "it has 0 entries, and no line says how many"),
        (MATRIX.replace(b"4 4 3\n", b""), "line 4: the numbers of rows, columns and entries .* stand here"),
        (MATRIX.replace(b"coordinate", b"array"), "line 1: .* is a matrix coordinate, not 'matrix array'"),
    ],
)
def test_a_matrix_that_is_not_whole_is_refused(text: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=words):
        pairs_in(tmp_path, text)


# -- what is no edge list --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"alice bob\ncarol dave\n", "line 1: these are names, such as 'alice' and 'carol', .*give each user a number"),
        (b"source,target\nalice,bob\n", "line 2: an id is .*, not 'alice'. Names are no ids: give each user a number"),
        (b"1 2\n3 bob\n", "line 2: an id is .*, not 'bob'. Names are no ids"),
        (b'[{"source": 1, "target": 2}]', "this looks like JSON, which is not read. Write its pairs as text"),
        (b'\n {\n"edges": [[1, 2]]}\n', "this looks like JSON"),
        (b"[" + b"[1, 2], " * 100_000, "this looks like JSON"),
        ("1 2\n".encode("utf-16"), "this is UTF-16 text. Save it as UTF-8"),
        ("1 2\n".encode("utf-16-be"), "this is UTF-16 text"),
    ],
)
def test_it_is_said_what_a_file_is_that_is_no_edge_list(text: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=words) as caught:
        pairs_in(tmp_path, text)
    assert "--renumber" not in str(caught.value)
    assert str(caught.value).endswith(" Nothing was taken.")
