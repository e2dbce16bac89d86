"""Users numbered anew: in memory, in the file that has their ids, and by the commands."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from floodtest.datagen.files import BadFile, ids_beside, read_friends, read_pairs, write_pairs, written_ids
from floodtest.datagen.files.renumbering import renumber
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.support import run_here

MOST = 2**64 - 1
IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

SNAP = "# FromNodeId\tToNodeId\n0\t31\n0\t4036537\n31\t0\n"
ANEW = [[1, 2], [1, 3], [2, 1]]
ORIGINALS = [0, 31, 4036537]
MAPPING = "user,original\n1,0\n2,31\n3,4036537\n"


def snap(folder: Path) -> Path:
    path = folder / "snap.txt"
    path.write_text(SNAP)
    return path


# -- in memory -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(*[st.integers(0, 9) | st.integers(0, MOST)] * 2), max_size=20))
@example([])
@example([(0, MOST)])
@example([(5, 7), (7, 5), (6, 6)])
def test_users_are_numbered_in_the_order_of_their_ids(rows: list[tuple[int, int]]) -> None:
    pairs, originals = renumber(np.array(rows, np.uint64).reshape(-1, 2))
    assert (pairs.dtype.name, originals.dtype.name) == ("uint32", "uint64")
    assert originals.tolist() == sorted({one for row in rows for one in row})
    assert [tuple(originals[pair - 1].tolist()) for pair in pairs] == rows


@pytest.mark.parametrize("most", [999, 10**12])
def test_many_ids_with_and_without_gaps(most: int) -> None:
    ids = np.random.default_rng(1).integers(0, most, (1000, 2), dtype=np.uint64)
    pairs, originals = renumber(ids)
    assert np.array_equal(originals[pairs - 1], ids)
    assert np.array_equal(originals, np.unique(ids))
    assert pairs.max() == len(originals)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0 1\n", "1 4294967296\n", "1 18446744073709551616\n", "-1 2\n", "1.0 2\n"])
def test_an_id_that_is_no_users_is_refused_and_the_remedy_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text)
    words = (
        r"a, line 1: an id is a whole number from 1 to 4,294,967,295, not .*\. With --renumber, whole numbers from 0 "
    )
    with pytest.raises(BadFile, match=words):
        read_friends(tmp_path / "a")


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_so_is_one_in_other_formats(form: str, tmp_path: Path) -> None:
    ids = np.array([[1, 2], [3, 0]], np.uint32)
    write_pairs(tmp_path / "a", ids, form)  # type: ignore[arg-type]
    with pytest.raises(BadFile, match=r"a, row 2: an id is .*, not 0\. With --renumber"):
        read_friends(tmp_path / "a")
    friends = read_friends(tmp_path / "a", anew=True)
    assert friends.originals is not None
    assert (friends.pairs.tolist(), friends.originals.tolist()) == ([[2, 3], [4, 1]], [0, 1, 2, 3])


@pytest.mark.parametrize("text", ["1 18446744073709551616\n", "1 x\n", "-1 2\n", "1.5 2\n"])
def test_what_is_no_whole_number_of_64_bits_cannot_be_numbered_anew(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(BadFile, match="an id is a whole number from 0 to 18,446,744,073,709,551,615, not ") as caught:
        read_friends(tmp_path / "a", anew=True)
    assert "--renumber" not in str(caught.value)


def test_ids_of_every_size_are_numbered_anew(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"{MOST} 0\n600000000 {MOST - 1}\n0 4294967296\n")
    friends = read_friends(tmp_path / "a", anew=True)
    assert friends.originals is not None
    assert friends.originals.tolist() == [0, 600_000_000, 2**32, MOST - 1, MOST]
    assert friends.pairs.tolist() == [[5, 1], [2, 4], [1, 3]]


@given(ids=st.lists(st.integers(0, MOST) | st.integers(0, 10_000), unique=True))
@example(ids=[])
@example(ids=[0])
@example(ids=[MOST])
@IN_A_FOLDER
def test_the_ids_of_users_are_written_as_text_or_array(ids: list[int], tmp_path: Path) -> None:
    originals = np.array(sorted(ids), np.uint64)
    for name in ("ids.csv", "ids.npy"):
        with written_ids(tmp_path / name, originals, replace=True):
            pass
    lines = [f"{user},{one}\n" for user, one in enumerate(sorted(ids), 1)]
    assert (tmp_path / "ids.csv").read_text() == "".join(["user,original\n", *lines])
    assert np.array_equal(np.load(tmp_path / "ids.npy"), originals)


def test_the_ids_are_written_only_if_all_else_went_well(tmp_path: Path) -> None:
    with pytest.raises(KeyError), written_ids(tmp_path / "ids.csv", np.array([1], np.uint64)):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_ids_is_never_taken_for_pairs(tmp_path: Path) -> None:
    path = ids_beside(tmp_path / "a.txt")
    assert path == tmp_path / "a.txt.ids.csv"
    with written_ids(path, np.array([7, 9], np.uint64)):
        pass
    with pytest.raises(BadFile, match="'user', 'original', and nothing says which two are the pair"):
        read_pairs(path)


# -- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["stats"], ["plot", "-o", "p.svg"]])
def test_fakefriends_tells_of_any_ids_if_asked_to(arguments: list[str], tmp_path: Path) -> None:
    snap(tmp_path)
    done = run_here("fakefriends", *arguments, "snap.txt", cwd=tmp_path)
    assert (done.returncode, "--renumber" in done.stderr) == (3, True)
    done = run_here("fakefriends", *arguments, "snap.txt", "--renumber", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"snap.txt", "p.svg"}


@pytest.mark.parametrize("name", ["out.txt", "out.npy", "out.parquet"])
def test_convert_writes_pairs_and_ids(name: str, tmp_path: Path) -> None:
    snap(tmp_path)
    done = run_here("fakefriends", "convert", "snap.txt", name, "--renumber", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_pairs(tmp_path / name).tolist() == ANEW
    assert (tmp_path / f"{name}.ids.csv").read_text() == MAPPING
    assert done.stdout.splitlines() == [
        f"{name} has 3 pairs.",
        f"{name}.ids.csv has the ids that its 3 users have in snap.txt.",
    ]


def test_convert_takes_columns_and_a_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,who,whom\n0.5,1,2\n0.5,3,4\n")
    done = run_here("fakefriends", "convert", "a.csv", "b", "--columns", "whom,who", "--format", "npy", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "b has 2 pairs.\n"), done.stderr
    assert np.load(tmp_path / "b").tolist() == [[2, 1], [4, 3]]
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b"}


@pytest.mark.parametrize("existing", ["b", "b.ids.csv"])
def test_convert_replaces_nothing_unless_forced(existing: str, tmp_path: Path) -> None:
    snap(tmp_path)
    (tmp_path / existing).write_text("mine")
    done = run_here("fakefriends", "convert", "snap.txt", "b", "--renumber", cwd=tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (
        3,
        [f"fakefriends: {existing} exists already. Choose another name, or replace it with --force."],
    )
    assert (tmp_path / existing).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2
    assert run_here("fakefriends", "convert", "snap.txt", "b", "--renumber", "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "b.ids.csv").read_text() == MAPPING


def contents(db: Path) -> dict[int, list[int]]:
    with Store(db) as store:
        return {subject: store.subscribers(subject).tolist() for subject in range(1, 10)}


@pytest.mark.parametrize("options", [[], ["--ids", "who.npy"]])
def test_load_numbers_users_anew_and_says_where_their_ids_are(options: list[str], tmp_path: Path) -> None:
    snap(tmp_path)
    ids = options[-1] if options else "snap.txt.ids.csv"
    done = run_here("comet", "load", "snap.txt", "--db", "db", "--renumber", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{ids} has the ids that the users have in snap.txt."
    assert {subject: users for subject, users in contents(tmp_path / "db").items() if users} == {1: [2], 2: [1], 3: [1]}
    if options:
        assert np.load(tmp_path / ids).tolist() == ORIGINALS
    else:
        assert (tmp_path / ids).read_text() == MAPPING


def test_load_replaces_no_ids_unless_forced(tmp_path: Path) -> None:
    snap(tmp_path)
    (tmp_path / "snap.txt.ids.csv").write_text("mine")
    done = run_here("comet", "load", "snap.txt", "--db", "db", "--renumber", cwd=tmp_path)
    assert (done.returncode, "snap.txt.ids.csv exists already" in done.stderr) == (3, True)
    assert not (tmp_path / "db").exists()
    assert run_here("comet", "load", "snap.txt", "--db", "db", "--renumber", "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "snap.txt.ids.csv").read_text() == MAPPING


def test_no_ids_are_left_of_a_load_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise Refused("The store is full.")

    snap(tmp_path)
    monkeypatch.setattr(Store, "add_file", fail)
    done = run_here("comet", "load", "snap.txt", "--db", "db", "--renumber", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "comet: The store is full.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["snap.txt"]


def test_a_place_for_ids_is_for_new_numbers(tmp_path: Path) -> None:
    snap(tmp_path)
    done = run_here("comet", "load", "snap.txt", "--db", "db", "--ids", "ids.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "comet: --ids is for --renumber: give both.\n")


@pytest.mark.parametrize(
    ("first", "second", "whose"),
    [
        (("--renumber",), (), "its users"),
        (("--renumber",), ("--renumber",), "the users of this file"),
        ((), ("--renumber",), "the users of this file"),
    ],
)
def test_users_numbered_anew_are_never_merged_with_others(
    first: tuple[str, ...], second: tuple[str, ...], whose: str, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("1 2\n2 3\n")
    (tmp_path / "other.txt").write_text("50 60\n")
    assert run_here("comet", "load", "one.txt", "--db", "db", *first, cwd=tmp_path).returncode == 0
    before = contents(tmp_path / "db")
    done = run_here("comet", "load", "other.txt", "--db", "db", *second, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"db has subscriptions already, and {whose} were numbered anew" in done.stderr
    assert "Load the file into another --db" in done.stderr
    assert contents(tmp_path / "db") == before
    assert not (tmp_path / "other.txt.ids.csv").exists()


def test_a_store_whose_subscriptions_are_all_gone_takes_any_file(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("7 9\n")
    assert run_here("comet", "load", "one.txt", "--db", "db", "--renumber", cwd=tmp_path).returncode == 0
    assert run_here("comet", "subs", "remove", "1", "2", "--db", "db", cwd=tmp_path).returncode == 0
    for _ in range(2):
        done = run_here("comet", "load", "one.txt", "--db", "db", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "db")[9] == [7]
