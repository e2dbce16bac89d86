"""server_under_test.routing.subscriptions: a durable set of pairs, whatever happens to the process that writes it."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.routing import subscriptions
from floodtest.server_under_test.routing.subjects import MAX_USER, BadSubject, Subject, as_subject, as_user
from floodtest.server_under_test.routing.subscriptions import Store
from tests.rigs.support import run

Model = dict[Subject, set[int]]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children touch no thread of ours


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as store:
        yield store


def contents(store: Store, subjects: list[Subject]) -> Model:
    return {subject: set(store.subscribers(subject).tolist()) for subject in subjects}


# -- subjects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "subject"),
    [(1, 1), ("1", 1), ("0042", 42), (MAX_USER, MAX_USER), ("photo:789", "photo:789"), ("é" * 127, "é" * 127)],
)
def test_digits_are_a_user_and_all_else_is_a_name(given: object, subject: Subject) -> None:
    assert as_subject(given) == subject


@pytest.mark.parametrize("given", [0, -1, MAX_USER + 1, "0", "4294967296", "9" * 5000, "", "x" * 256, "é" * 128])
def test_a_wrong_subject_is_named(given: object) -> None:
    with pytest.raises(BadSubject, match="not "):
        as_subject(given)


@pytest.mark.parametrize("given", [None, True, 1.5, b"1", [], "\ud800"])
def test_other_types_are_no_subjects(given: object) -> None:
    with pytest.raises(BadSubject):
        as_subject(given)


@pytest.mark.parametrize("given", ["anna", "-1", "²", 0, True, ""])
def test_a_subscriber_is_a_user(given: object) -> None:
    with pytest.raises(BadSubject, match="whole number from 1"):
        as_user(given)


# -- contents --------------------------------------------------------------------------------------------------------


def test_it_is_a_set_and_ascending(store: Store) -> None:
    assert store.add_subscriptions([(3, 7), (1, 7), (3, "7"), (2, "photo:7"), (2, "photo:7")]) == 3
    assert store.add_subscriptions(np.array([[1, 7], [2, 7]], np.uint32)) == 1
    assert store.subscribers(7).tolist() == [1, 2, 3]
    assert store.subscribers("photo:7").tolist() == [2]
    assert store.subscribers(8).tolist() == []
    assert store.subscribers(7).dtype == np.uint32
    assert store.counts() == (2, 4)


def test_removing_leaves_no_empty_subject_behind(store: Store) -> None:
    store.add_subscriptions([(1, 7), (2, 7), (1, "x")])
    assert store.remove_subscriptions([(1, 7), (9, 7), (1, "x"), (1, "y")]) == 2
    assert (store.subscribers(7).tolist(), store.counts()) == ([2], (1, 1))


def test_many_subjects_in_one_view(store: Store) -> None:
    store.add_subscriptions([(5, 1), (6, 1), (7, "x")])
    found = store.lookup([1, 2, "x", 1])
    assert (found.users.tolist(), found.counts.tolist(), found.large) == ([5, 6, 7, 5, 6], [2, 0, 1, 2], {})
    found = store.lookup([])
    assert (len(found.users), len(found.counts)) == (0, 0)


@pytest.mark.parametrize(("most", "taken"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (99, 4)])
def test_as_many_subjects_as_have_so_many_subscribers(most: int, taken: int, store: Store) -> None:
    store.add_subscriptions([(5, 1), (6, 1), (7, "x")])
    found = store.lookup([1, 2, "x", 1], most)
    assert found.counts.tolist() == [2, 0, 1, 2][:taken]
    assert found.users.tolist() == [5, 6, 7, 5, 6][: found.counts.sum()]


def test_nothing_of_a_call_with_a_wrong_pair_is_kept(store: Store) -> None:
    with pytest.raises(BadSubject):
        store.add_subscriptions([(1, 7), (0, 7)])
    with pytest.raises(BadSubject):
        store.add_subscriptions(np.array([[1, 7], [1, 0]], np.uint32))
    assert store.counts() == (0, 0)


def test_all_users_of_a_store_are_told_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "AT_A_TIME", 2)
    assert store.users().tolist() == []
    store.add_subscriptions([(1, 2), (3, 2), (MAX_USER, 7), (9, "photo:9"), (1, "photo:8"), (5, 5), (8, "photo:7")])
    assert store.users().tolist() == [1, 2, 3, 5, 7, 8, 9, MAX_USER]


def test_it_is_there_when_opened_again(tmp_path: Path) -> None:
    with Store(tmp_path, create=True) as store:
        store.add_subscriptions([(1, 7), (2, "x")])
    with Store(tmp_path) as store:
        assert contents(store, [7, "x"]) == {7: {1}, "x": {2}}


SUBJECTS: list[Subject] = [1, 2, MAX_USER, "a", "photo:789"]
_pairs = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(SUBJECTS)), max_size=12)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), _pairs), max_size=8))
@settings(deadline=None, max_examples=60)
def test_it_holds_what_a_plain_set_holds(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[bool, bool, list[tuple[int, Subject]]]]
) -> None:
    model: set[tuple[int, Subject]] = set()
    with Store(tmp_path_factory.mktemp("store"), create=True) as store:
        for adding, as_array, pairs in calls:
            if as_array:
                pairs = [pair for pair in pairs if isinstance(pair[1], int)]
            given = np.array(pairs, np.uint32).reshape(-1, 2) if as_array else pairs
            before = len(model)
            if adding:
                model |= set(pairs)
                assert store.add_subscriptions(given) == len(model) - before
            else:
                model -= set(pairs)
                assert store.remove_subscriptions(given) == before - len(model)
        assert store.counts() == (len({subject for _, subject in model}), len(model))
        for subject in SUBJECTS:
            assert store.subscribers(subject).tolist() == sorted(user for user, about in model if about == subject)


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no subscription store in .*comet load"):
        Store(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("x")
    with pytest.raises(Refused, match="File exists"):
        Store(tmp_path / "db", create=True)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    """In a child that is nobody: root may write everything."""
    folder = tmp_path / "db"
    Store(folder, create=True).close()
    for path in (folder / "data.mdb", folder / "lock.mdb"):
        path.chmod(0o444)
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o111 | 0o444)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            Store(folder)
        except Refused as error:
            status = 0 if "Permission denied" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_store_of_another_format(tmp_path: Path) -> None:
    Store(tmp_path, create=True).close()
    with lmdb.open(str(tmp_path), max_dbs=3) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"3", db=env.open_db(b"meta", txn=txn))
    with pytest.raises(Refused, match="has format 3, and this comet reads 2"):
        Store(tmp_path)


class Forestalled:
    """An LMDB environment of one to whom something happens in the instant before it begins to write."""

    def __init__(self, env: lmdb.Environment, happens: Callable[[], object]) -> None:
        self._env = env
        self._happens = iter([happens])

    def begin(self, **options: Any) -> lmdb.Transaction:
        if options.get("write"):
            for happens in self._happens:
                happens()
        return self._env.begin(**options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


def test_two_who_make_a_store_at_once_make_one_and_lose_no_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other() -> None:
        assert run("comet", "subs", "add", "1", "7", "--db", str(tmp_path)).stdout == "Added.\n"

    original = lmdb.open
    monkeypatch.setattr(lmdb, "open", lambda *args, **options: Forestalled(original(*args, **options), other))
    with Store(tmp_path, create=True) as store:
        assert store.add_subscriptions([(2, 7)]) == 1
        assert (store.subscribers(7).tolist(), store.counts()) == ([1, 2], (1, 2))
        assert store.remove_subscriptions([(1, 7), (2, 7)]) == 2
        assert store.counts() == (0, 0)


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_somebody_else(create: bool, tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as env, env.begin(write=True) as txn:
        txn.put(b"their", b"data")
    with pytest.raises(Refused, match="something else"):
        Store(tmp_path, create)


def test_a_file_of_rubbish(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"rubbish" * 10_000)
    with pytest.raises(Refused, match="can't be used"):
        Store(tmp_path)


def test_a_full_store_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAP_SIZE", 1 << 20)
    with Store(tmp_path, create=True) as store:
        store.add_subscriptions([(1, 7)])
        many = np.stack([np.arange(1, 1_000_001), np.arange(1, 1_000_001) % 1000 + 1], axis=1).astype(np.uint32)
        with pytest.raises(Refused, match="it is full"):
            store.add_subscriptions(many)
        assert (store.counts(), store.subscribers(7).tolist()) == ((1, 1), [1])


@pytest.mark.parametrize(
    ("most", "size"),
    [(1 << 40, 1 << 36), (1 << 36, 1 << 36), ((1 << 36) - 1, 1 << 34), (3 << 30, 1 << 30), (1000, 1 << 20)],
)
def test_a_store_leaves_half_of_the_addresses_to_what_is_loaded(
    most: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_can_map", lambda asked: asked <= most)
    assert subscriptions.map_size() == size


FEW_ADDRESSES = r"this process has addresses for 1 MiB of it, and it takes more: raise ulimit -v"


def test_a_store_that_outgrows_the_addresses_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this process makes it larger, or another one that may map more."""
    many = np.stack([np.arange(1, 1_000_001), np.arange(1, 1_000_001) % 1000 + 1], axis=1).astype(np.uint32)
    with monkeypatch.context() as patch:
        patch.setattr(subscriptions, "map_size", lambda: 1 << 20)
        store = Store(tmp_path, create=True)
    with store:
        store.add_subscriptions([(1, 7)])
        with pytest.raises(Refused, match=FEW_ADDRESSES):
            store.add_subscriptions(many)
        assert (store.counts(), store.subscribers(7).tolist()) == ((1, 1), [1])
        np.save(tmp_path / "many.npy", many)
        assert run("comet", "load", str(tmp_path / "many.npy"), "--db", str(tmp_path)).returncode == 0
        with pytest.raises(Refused, match=FEW_ADDRESSES):
            store.counts()


def test_a_store_under_a_limit_of_addresses(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("".join(f"{user} 7\n" for user in range(1, 1001)))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))

    assert run("comet", "load", "f.txt", "--db", "db", cwd=tmp_path, preexec_fn=limit).returncode == 0
    got = run("comet", "subs", "get", "7", "--db", "db", cwd=tmp_path, preexec_fn=limit)
    assert got.stdout.split()[-1] == "1000"


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    """In a child whose files may not grow: the kernel answers as a full disk does, with an error and a short write."""
    with Store(tmp_path, create=True) as store:
        store.add_subscriptions([(1, 7)])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _fill(tmp_path)
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    with Store(tmp_path) as store:
        assert (store.counts(), store.subscribers(7).tolist()) == ((1, 1), [1])


def _fill(folder: Path) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
    with Store(folder) as store:
        try:
            store.add_subscriptions(np.stack([np.arange(1, 10_001)] * 2, axis=1).astype(np.uint32))
        except Refused:
            return 0
    return 2


def test_killed_at_any_instant_it_holds_the_old_or_the_new(tmp_path: Path) -> None:
    """Fifty children, or more until both sides were hit, add and remove a batch in a loop, and are killed at instants
    drawn from a fixed seed.
    """
    kept = {(user, 7) for user in range(1, 100)}
    batch = np.array([(user, subject) for user in range(1, 400) for subject in (7, 8, 9)], np.uint32)
    old = len(kept)
    new = len(kept | set(map(tuple, batch.tolist())))
    with Store(tmp_path, create=True) as store:
        store.add_subscriptions(kept)
    seen: set[int] = set()
    instants = random.Random(7)
    killed = 0
    while killed < 50 or seen != {old, new}:
        assert killed < 1000, "the instants hit one side only: nothing was tested"
        killed += 1
        child = os.fork()
        if child == 0:
            _write_for_ever(tmp_path, batch, kept)
        time.sleep(instants.uniform(0.002, 0.03))  # the instant is what is being tested
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with Store(tmp_path) as store:
            subjects, pairs = store.counts()
            sizes = [len(store.subscribers(subject)) for subject in (7, 8, 9)]
            assert (subjects, pairs, sizes) in [(1, old, [99, 0, 0]), (3, new, [399, 399, 399])]
            assert {(user, 7) for user in store.subscribers(7).tolist()} >= kept
            seen.add(pairs)


def _write_for_ever(folder: Path, batch: np.ndarray, kept: set[tuple[int, int]]) -> None:
    extra = [(user, subject) for user, subject in batch.tolist() if (user, subject) not in kept]
    try:
        store = Store(folder)
        while True:
            store.add_subscriptions(batch)
            store.remove_subscriptions(extra)
    finally:
        os._exit(1)
