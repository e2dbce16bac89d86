"""`comet load`, `comet subs` and `comet serve --db`, as a person types them, on stores that are well or not."""

import ctypes
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import lmdb
import numpy as np
import pytest

from floodtest.datagen.files import write_pairs
from floodtest.datagen.options import Format
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.support import run_here, run_in_child, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children touch no thread of ours

PAIRS = np.array([(1, 2), (1, 3), (2, 3), (4, 1)], np.uint32)

OVERLOOKING_MODES = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
CAPABILITY_VERSION_3 = 0x20080522

COMMANDS = {
    "load": ["load", "friends.txt"],
    "add": ["subs", "add", "9", "photo:9"],
    "remove": ["subs", "remove", "1", "2"],
    "get": ["subs", "get", "2"],
    "count": ["subs", "count"],
    "serve": ["serve", "--port", "0", "--control-port", "0", "--max-users", "10"],
}
MAKING = ["load", "add"]
"""Those that make a store if there is none."""
OPENING = ["remove", "get", "count", "serve"]

Limit = Callable[[], None]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A store with four pairs, and a file of friends beside it."""
    write_pairs(tmp_path / "friends.txt", PAIRS, "edgelist")
    folder = tmp_path / "db"
    with Store(folder, create=True) as store:
        store.add_subscriptions(PAIRS)
    return folder


def comet(name: str, db: Path, limit: Limit | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of the commands on a store, in the folder above it, and in a child of ours if something limits it."""
    folder = db.parent if db.parent.is_dir() else db.parent.parent
    arguments = ["comet", *COMMANDS[name], "--db", str(db)]
    if limit is None:
        return run_here(*arguments, cwd=folder)
    return run_in_child(limit, *arguments, cwd=folder)


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that a command said one line, with these words, and that it refused."""
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("comet: ")
    for word in words:
        assert word in line


def contents(db: Path) -> set[tuple[int, int]]:
    """Return all pairs of a store, read whole and compared with its counts."""
    with Store(db) as store:
        found = {(user, subject) for subject in range(1, 100) for user in store.subscribers(subject).tolist()}
        assert store.counts() == (len({subject for _, subject in found}), len(found))
    return found


def respecting_modes() -> None:
    """Before a command begins: take from root the right to overlook the modes of files."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) == 0:
        sets[0] &= ~OVERLOOKING_MODES  # the effective ones
        if libc.capset(header, sets) == 0:
            return
    raise OSError(ctypes.get_errno(), "the capabilities can't be changed")


def disk_of(size: int) -> Limit:
    """Before a command begins: let no file grow past a size, which the kernel answers as a full disk does."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# -- stores that are well --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["edgelist", "npy", "parquet"])
def test_load_reads_every_format_of_fakefriends(form: Format, tmp_path: Path) -> None:
    write_pairs(tmp_path / "friends", PAIRS, form)
    done = run_here("comet", "load", "friends", "--db", "a/new/db", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert (first.partition(" in ")[0], first.partition(" s, ")[2]) == ("4 pairs", "4 of them new.")
    assert second == "a/new/db holds 4 subscriptions to 3 subjects."
    assert contents(tmp_path / "a/new/db") == set(map(tuple, PAIRS.tolist()))


def test_mutual_subscribes_the_other_way_as_well(tmp_path: Path) -> None:
    write_pairs(tmp_path / "friends.txt", PAIRS, "edgelist")
    done = run_here("comet", "load", "friends.txt", "--db", "db", "--mutual", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 pairs in ")
    assert contents(tmp_path / "db") == {(a, b) for a, b in PAIRS.tolist()} | {(b, a) for a, b in PAIRS.tolist()}


@pytest.mark.parametrize("mutual", [[], ["--mutual"]])
def test_load_counts_duplicates_and_loops_apart(mutual: list[str], tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 1\n1 2\n2 1\n1 2\n3 3\n")
    done = run_here("comet", "load", "f.txt", "--db", "db", *mutual, cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == [
        "Counted apart in f.txt: duplicates 1, loops 2 (users subscribed to themselves).",
        "db holds 4 subscriptions to 3 subjects.",
    ]
    assert contents(tmp_path / "db") == {(1, 1), (1, 2), (2, 1), (3, 3)}


def test_load_says_which_columns_it_took(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 2 7\n2 3 9\n")
    done = run_here("comet", "load", "f.txt", "--db", "db", cwd=tmp_path)
    assert done.stdout.splitlines()[0] == "f.txt has 3 columns; the first two are the pair. --columns takes others."
    assert run_here("comet", "load", "f.txt", "--db", "other", "--columns", "3,1", cwd=tmp_path).returncode == 0
    assert contents(tmp_path / "other") == {(7, 1), (9, 2)}


def test_load_says_who_is_beyond_the_users_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 2\n7 2\n8 9\n")
    done = run_here("comet", "load", "f.txt", "--db", "db", "--max-users", "7", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "2 of the 5 users of f.txt have ids above 7."


def test_load_tells_a_program_what_it_did(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("0 0 1\n0 9 1\n0 9 1\n")
    done = run_here("comet", "load", "f.txt", "--db", "db", "--renumber", "--max-users", "1", "--json", cwd=tmp_path)
    figures = json.loads(done.stdout)
    assert figures.pop("seconds") >= 0
    assert figures == {
        "pairs": 3,
        "added": 2,
        "duplicates": 1,
        "loops": 1,
        "subjects": 2,
        "subscriptions": 2,
        "reach": {"users": 2, "beyond": 1},
        "ids": "f.txt.ids.csv",
        "notes": ["f.txt has 3 columns; the first two are the pair. --columns takes others."],
    }
    assert "3 pairs in " in done.stderr


def test_what_a_store_holds_is_counted(db: Path) -> None:
    assert comet("count", db).stdout == f"{db} holds 4 subscriptions to 3 subjects, of and to 4 users.\n"
    done = run_here("comet", "subs", "count", "--db", str(db), "--max-users", "2")
    assert done.stdout.splitlines()[1:] == ["2 of the users have ids above 2."]
    done = run_here("comet", "subs", "count", "--db", str(db), "--max-users", "9", "--json")
    assert json.loads(done.stdout) == {"subscriptions": 4, "subjects": 3, "reach": {"users": 4, "beyond": 0}}
    done = run_here("comet", "subs", "count", "--db", str(db), "--max-users", "0")
    assert (done.returncode, done.stderr) == (2, "comet: --max-users takes a whole number from 1 on, not '0'.\n")


def test_load_adds_to_what_is_there(db: Path) -> None:
    write_pairs(db.parent / "more.txt", np.array([(1, 2), (7, 2)], np.uint32), "edgelist")
    done = run_here("comet", "load", "more.txt", "--db", "db", cwd=db.parent)
    assert done.stdout.splitlines()[0].endswith("s, 1 of them new.")
    assert done.stdout.splitlines()[1] == "db holds 5 subscriptions to 3 subjects."
    assert contents(db) == {*map(tuple, PAIRS.tolist()), (7, 2)}


def test_a_file_whose_users_are_numbered_anew_can_be_loaded_again_and_no_other(tmp_path: Path) -> None:
    def load(name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return run_here("comet", "load", name, "--db", "db", *options, cwd=tmp_path)

    anew = ("--renumber", "--ids", "ids.csv", "--force")
    (tmp_path / "f.txt").write_text("10 20\n20 30\n")
    assert load("f.txt", *anew).returncode == 0
    before = contents(tmp_path / "db")
    (tmp_path / "ids.csv").unlink()  # as if the load had been killed before it was in place
    again = load("f.txt", *anew)
    assert again.stdout.splitlines()[0].endswith("s, 0 of them new.")
    assert (tmp_path / "ids.csv").read_text() == "user,original\n1,10\n2,20\n3,30\n"
    (tmp_path / "like.txt").write_text("11 21\n21 31\n")  # other people, who would get these numbers as well
    (tmp_path / "more.txt").write_text("1 2\n")
    for name, options in (("like.txt", anew), ("more.txt", ()), ("f.txt", ())):
        assert_refused(load(name, *options), "one number would be two users")
    assert contents(tmp_path / "db") == before


@pytest.mark.parametrize("options", [(), ("--renumber",)])
def test_a_file_without_pairs_leaves_no_store(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "friends.txt").write_text("# nobody\n")
    done = run_here("comet", "load", "friends.txt", "--db", "db", *options, cwd=tmp_path)
    assert_refused(done, "friends.txt has no pairs, and nothing was loaded")
    assert [path.name for path in tmp_path.iterdir()] == ["friends.txt"]


def test_one_of_a_thing_is_no_plural(tmp_path: Path) -> None:
    (tmp_path / "friends.txt").write_text("1 2\n")
    done = run_here("comet", "load", "friends.txt", "--db", "db", cwd=tmp_path)
    first, second = done.stdout.splitlines()
    assert first.startswith("1 pair in ")
    assert second == "db holds 1 subscription to 1 subject."


def test_subs_change_and_show_one_subscription(tmp_path: Path) -> None:
    def subs(*arguments: str) -> str:
        done = run_here("comet", "subs", *arguments, "--db", str(tmp_path / "db"))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert subs("add", "12", "photo:7") == "Added.\n"
    assert subs("add", "3", "photo:7") == "Added.\n"
    assert subs("add", "3", "photo:7") == "It was there already.\n"
    assert subs("get", "photo:7") == "3\n12\n"
    assert subs("remove", "12", "photo:7") == "Removed.\n"
    assert subs("remove", "12", "photo:7") == "There was none.\n"
    assert subs("get", "photo:7") == "3\n"
    assert subs("get", "8") == ""


# -- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "anna", "7"], "A user is a whole number from 1 to 4,294,967,295, not 'anna'."),
        (["add", "0", "7"], "A user is"),
        (["add", "7", "4294967296"], "A user is"),
        (["add", "7", ""], "A subject is a user's id, or a name of 1 to 255 bytes, not ''."),
        (["remove", "anna", "7"], "A user is"),
        (["get", "x" * 256], "A subject is"),
        (["get", "\udcff"], "A subject is"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_user_or_subject_that_is_none_is_nonsense(
    arguments: list[str], words: str, exists: bool, db: Path, tmp_path: Path
) -> None:
    folder = db if exists else tmp_path / "other"
    done = run_here("comet", "subs", *arguments, "--db", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"comet: {words}")
    assert folder.exists() == exists
    assert contents(db) == set(map(tuple, PAIRS.tolist()))


@pytest.mark.parametrize(
    "arguments", [["load", "f"], ["load", "--db", "d"], ["subs", "get", "1"], ["subs", "add", "1"]]
)
def test_what_is_missing_of_a_command_is_named(arguments: list[str], tmp_path: Path) -> None:
    done = run_here("comet", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Missing " in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("1 2\n3 x\n", 2), ("1 2\n3\n4 5\n", 2), ("1 2\n3 4 5\n", 2), ("1 2\n\n0 7\n", 3), ("1 4294967296\n", 1)],
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_malformed_line_is_named_and_nothing_is_loaded(
    text: str, number: int, exists: bool, db: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.txt").write_text(text)
    folder = db if exists else tmp_path / "other"
    done = run_here("comet", "load", "bad.txt", "--db", str(folder), cwd=tmp_path)
    assert_refused(done, f"bad.txt, line {number}: ", "Nothing was taken.")
    assert folder.exists() == exists
    assert contents(db) == set(map(tuple, PAIRS.tolist()))


@pytest.mark.parametrize("start", [b"\x93NUMPY rubbish", b"PAR1 rubbish", b"\x00\xff rubbish"])
def test_a_broken_file_is_named(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(start)
    assert_refused(run_here("comet", "load", "broken", "--db", "db", cwd=tmp_path), "broken")
    assert not (tmp_path / "db").exists()


def test_friends_that_may_not_be_read_are_named(db: Path) -> None:
    (db.parent / "friends.txt").chmod(0)
    done = comet("load", db, respecting_modes)
    assert_refused(done, "Can't read friends.txt: Permission denied.")


@pytest.mark.parametrize(("name", "words"), [("missing", "No such file"), (".", "it is a folder without")])
def test_friends_that_cannot_be_read_make_no_store(name: str, words: str, tmp_path: Path) -> None:
    assert_refused(run_here("comet", "load", name, "--db", "db", cwd=tmp_path), f"Can't read {name}: {words}")
    assert not (tmp_path / "db").exists()


# -- stores that are not well ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPENING)
def test_a_store_that_is_missing_is_not_made(name: str, db: Path) -> None:
    done = comet(name, db.with_name("other"))
    assert_refused(done, "There is no subscription store in ", "other. Make one: comet load FRIENDS --db ")
    assert not db.with_name("other").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_store_of_another_format_is_refused(name: str, db: Path) -> None:
    with lmdb.open(str(db), max_dbs=3) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"3", db=env.open_db(b"meta", txn=txn))
    assert_refused(comet(name, db), "has format 3, and this comet reads 2", "Load it anew into another --db.")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(name: str, db: Path) -> None:
    other = db.with_name("other")
    with lmdb.open(str(other)) as env, env.begin(write=True) as txn:
        txn.put(b"their", b"data")
    assert_refused(comet(name, other), "holds something else than a subscription store")
    with lmdb.open(str(other)) as env, env.begin() as txn:
        assert list(txn.cursor()) == [(b"their", b"data")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_rubbish_is_refused(name: str, db: Path) -> None:
    (db / "data.mdb").write_bytes(b"rubbish" * 10_000)
    assert_refused(comet(name, db), "The subscription store ", "can't be used: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_path_that_leads_through_a_file_is_refused(name: str, db: Path) -> None:
    words = ("Not a directory",) if name in MAKING else ("There is no subscription store in ",)
    assert_refused(comet(name, db.parent / "friends.txt" / "db"), *words)
    assert_refused(comet(name, db.parent / "friends.txt"), "File exists" if name in MAKING else "no subscription store")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_store_that_may_not_be_written_is_refused(name: str, db: Path) -> None:
    for path in (db / "data.mdb", db / "lock.mdb"):
        path.chmod(0o444)
    db.chmod(0o555)
    done = comet(name, db, respecting_modes)
    for path in (db, *db.iterdir()):
        path.chmod(0o755)
    assert_refused(done, f"{db} can't be used: Permission denied.")
    assert contents(db) == set(map(tuple, PAIRS.tolist()))


@pytest.mark.parametrize("name", ["stats", "plot"])
def test_fakefriends_refuses_what_may_not_be_read_in_a_line_as_well(name: str, db: Path) -> None:
    (db.parent / "friends.txt").chmod(0)
    done = run_in_child(respecting_modes, "fakefriends", name, "friends.txt", cwd=db.parent)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert done.stderr.splitlines() == [
        "reading friends.txt ...",
        "fakefriends: Can't read friends.txt: Permission denied.",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_may_not_be_entered_is_refused(name: str, db: Path) -> None:
    db.chmod(0)
    done = comet(name, db, respecting_modes)
    db.chmod(0o755)
    assert_refused(done, f"{db} can't be used: Permission denied.")


@pytest.mark.parametrize("name", MAKING)
def test_a_store_cannot_be_made_where_nothing_may_be_written(name: str, db: Path) -> None:
    db.parent.chmod(0o555)
    done = comet(name, db.with_name("other"), respecting_modes)
    db.parent.chmod(0o755)
    assert_refused(done, "other can't be used: Permission denied.")


@pytest.mark.parametrize("name", ["load", "add", "remove"])
def test_a_full_disk_keeps_what_was_there(name: str, db: Path) -> None:
    many = np.stack([np.arange(1, 9_901), np.arange(1, 9_901) % 99 + 1], axis=1).astype(np.uint32)
    write_pairs(db.parent / "friends.txt", many, "edgelist", replace=True)
    assert_refused(comet(name, db, disk_of(8192)), f"{db} can't be used: ", "It is as it was.")
    assert contents(db) == set(map(tuple, PAIRS.tolist()))
    with Store(db) as store:
        assert store.subscribers("photo:9").tolist() == []


@pytest.mark.parametrize("size", [0, 4096, 8192, 16384])
def test_a_store_that_a_full_disk_did_not_let_begin_is_made_once_there_is_room(size: int, db: Path) -> None:
    folder = db.with_name("other")
    many = np.stack([np.arange(1, 9_901), np.arange(1, 9_901) % 99 + 1], axis=1).astype(np.uint32)
    write_pairs(db.parent / "friends.txt", many, "edgelist", replace=True)
    assert_refused(comet("load", folder, disk_of(size)), f"{folder} can't be used: ")
    done = comet("load", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(folder) == set(map(tuple, many.tolist()))


@pytest.mark.parametrize(
    ("name", "size"), [("load", size) for size in (0, 4096, 8192, 16384, 32768)] + [("add", 0), ("add", 8192)]
)
def test_a_store_that_was_made_for_nothing_is_removed_again(name: str, size: int, db: Path) -> None:
    folder, there = db.with_name("other"), db.with_name("there")
    there.mkdir()
    many = np.stack([np.arange(1, 9_901), np.arange(1, 9_901) % 99 + 1], axis=1).astype(np.uint32)
    write_pairs(db.parent / "friends.txt", many, "edgelist", replace=True)
    assert_refused(comet(name, folder, disk_of(size)), f"{folder} can't be used: ")
    assert not folder.exists()
    assert_refused(comet(name, there, disk_of(size)), f"{there} can't be used: ")
    assert [path.name for path in there.iterdir()] in ([], ["lock.mdb"])
    assert comet("load", there).returncode == 0


def test_a_new_store_that_somebody_else_has_open_or_put_something_into_is_left(db: Path) -> None:
    folder = db.with_name("other")

    def fail(held: bool) -> None:
        with Store(folder, create=True):
            process = subprocess.Popen(
                [sys.executable, "-c", HOLD if held else PUT, str(folder)], stdin=PIPE, stdout=PIPE, text=True
            )
            others.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            if not held:
                process.communicate()
            raise Refused("it fails")

    others: list[subprocess.Popen[str]] = []
    with pytest.raises(Refused, match="it fails"):
        fail(held=True)
    others[0].communicate("go on\n")
    assert contents(folder) == {(1, 2)}
    for path in (*folder.iterdir(), folder):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(Refused, match="it fails"):
        fail(held=False)
    assert contents(folder) == {(1, 2)}


PUT = """
import sys
from pathlib import Path
from floodtest.server_under_test.routing.subscriptions import Store
with Store(Path(sys.argv[1])) as store:
    store.add_subscriptions([(1, 2)])
    print("open", flush=True)
"""
HOLD = PUT.replace("    store", "    print('open', flush=True)\n    sys.stdin.readline()\n    store", 1)


def full_disk_of(size: int) -> Limit:
    """Before a command begins: the same, and let the file system say that it is full."""

    def limit() -> None:
        disk_of(size)()
        full = os.statvfs_result((4096, 4096, 100, 5, 0, 9, 9, 9, 0, 255))
        os.statvfs = lambda path: full

    return limit


@pytest.mark.parametrize("name", ["load", "add"])
@pytest.mark.parametrize("size", [8192 + 100, 12_288 + 100, 20_480 + 100])
def test_a_write_that_a_full_disk_cut_short_is_called_that(name: str, size: int, db: Path) -> None:
    many = np.stack([np.arange(1, 9_901), np.arange(1, 9_901) % 99 + 1], axis=1).astype(np.uint32)
    write_pairs(db.parent / "friends.txt", many, "edgelist", replace=True)
    assert_refused(comet(name, db.with_name("other"), full_disk_of(size)), "can't be used: No space left on device.")


def test_serve_on_a_full_disk_refuses_a_store_it_cannot_lock(db: Path) -> None:
    (db / "lock.mdb").unlink()
    assert_refused(comet("serve", db, disk_of(4096)), f"{db} can't be used: ", "It is as it was.")


# -- a load that is killed -------------------------------------------------------------------------------------------


def test_a_load_that_is_killed_has_loaded_all_or_nothing(tmp_path: Path) -> None:
    """At instants drawn from a fixed seed, from the one on at which the command opens a store that is new."""
    subjects = 300_000
    pairs = np.stack([np.arange(1, subjects + 1)] * 2, axis=1).astype(np.uint32)
    write_pairs(tmp_path / "friends.npy", pairs, "npy")
    instants = random.Random(7)
    for number in range(8):
        folder = tmp_path / str(number)
        child = os.fork()
        if child == 0:
            try:
                run_here("comet", "load", "friends.npy", "--db", str(folder), cwd=tmp_path)
            finally:
                os._exit(1)
        wait_until((folder / "data.mdb").exists, "it is being loaded")
        time.sleep(instants.uniform(0, 0.2))  # the instant is what is being tested
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Store(folder, create=True) as store:
            assert store.counts() in [(0, 0), (subjects, subjects)]
            found = [store.subscribers(subject).tolist() for subject in (1, subjects // 2, subjects)]
            assert found in [[[], [], []], [[1], [subjects // 2], [subjects]]]
            assert store.add_subscriptions([(7, "photo:1")]) == 1
