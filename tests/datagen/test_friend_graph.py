"""datagen.graph and degrees: the graph igraph makes, in igraph's order, and what is said of its degrees."""

import random
from pathlib import Path

import igraph
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from floodtest.datagen import graph
from floodtest.datagen.degrees import Degrees, count_degrees, fit
from floodtest.datagen.edges import Apart, distinct_pairs, edges_of
from floodtest.datagen.files import MAX_ID, write_pairs
from floodtest.datagen.graph import friend_graph, problems
from floodtest.flyweight.errors import Refused, UsageError
from floodtest.flyweight.machine.headroom import MemoryGauge, Room


def made_by_igraph(users: int, friends: int, seed: int) -> igraph.Graph:
    state = random.getstate()
    random.seed(seed)
    try:
        return igraph.Graph.Barabasi(users, friends, directed=False)
    finally:
        random.setstate(state)


@pytest.mark.parametrize(("users", "friends"), [(2, 1), (3, 2), (10, 1), (10, 9), (500, 7)])
def test_it_is_what_igraph_writes_with_ids_from_one(users: int, friends: int, tmp_path: Path) -> None:
    made_by_igraph(users, friends, seed=5).write_edgelist(str(tmp_path / "igraph"))
    write_pairs(tmp_path / "ours", friend_graph(users, friends, seed=5), "edgelist")
    from_zero = np.loadtxt(tmp_path / "igraph", dtype=np.int64, ndmin=2)
    assert (tmp_path / "ours").read_text() == "".join(f"{one} {other}\n" for one, other in (from_zero + 1).tolist())


def test_a_seed_makes_the_same_graph_and_another_another() -> None:
    assert np.array_equal(friend_graph(300, 4, 1), friend_graph(300, 4, 1))
    assert not np.array_equal(friend_graph(300, 4, 1), friend_graph(300, 4, 2))


def test_igraph_draws_from_random_again_afterwards() -> None:
    friend_graph(10, 2, 1)
    first, second = made_by_igraph(100, 3, 9), made_by_igraph(100, 3, 9)
    assert first.get_edgelist() == second.get_edgelist()


@pytest.mark.parametrize(("users", "friends"), [(2, 1), (50, 49), (2000, 3)])
def test_both_ways_to_the_edges_find_the_same(users: int, friends: int) -> None:
    made = made_by_igraph(users, friends, 3)
    in_memory = graph._keys_in_memory(made)
    assert in_memory is not None
    assert sorted(in_memory.tolist()) == graph._keys_by_neighbors(made).tolist()


class Strange:
    """A graph of an igraph that is laid out in another way."""

    def __init__(self, made: igraph.Graph, **different: int) -> None:
        self._made = made
        self._different = different

    def __getattr__(self, name: str) -> object:
        return (lambda: self._different[name]) if name in self._different else getattr(self._made, name)


def test_memory_that_igraph_contradicts_is_not_believed() -> None:
    made, other = made_by_igraph(50, 3, 1), made_by_igraph(50, 3, 2)
    assert graph._keys_in_memory(Strange(made, ecount=7)) is None
    assert graph._keys_in_memory(Strange(made, vcount=7)) is None
    assert graph._keys_in_memory(Strange(made, _raw_pointer=other._raw_pointer())) is None


@pytest.mark.parametrize(
    ("users", "friends", "words"),
    [
        (1, 1, ["-n must be"]),
        (0, 0, ["-n must be", "-m must be"]),
        (2**32, 1, ["-n must be"]),
        (5, 5, ["-m 5 must be less than -n 5"]),
        (5, 0, ["-m must be"]),
    ],
)
def test_sizes_that_are_no_graph_are_named(users: int, friends: int, words: list[str]) -> None:
    found = problems(users, friends)
    assert len(found) == len(words)
    assert all(sentence.startswith(start) for sentence, start in zip(found, words, strict=True))
    with pytest.raises(UsageError):
        friend_graph(users, friends, 1)


def test_a_graph_that_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryGauge, "read", lambda gauge: Room("this machine", 4 << 30, 3 << 30, 512 << 20))
    with pytest.raises(Refused, match=r"60\.5 GiB.*2\.5 GiB"):
        friend_graph(1_000_000, 1000, 1)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_degrees_are_counted_like_by_hand(rows: list[tuple[int, int]]) -> None:
    edges = {(min(row), max(row)) for row in rows if row[0] != row[1]}
    by_hand = {vertex: sum(vertex in edge for edge in edges) for row in rows for vertex in row}
    degrees = count_degrees(np.array(rows, np.uint32).reshape(-1, 2))
    found = dict(zip(degrees.degree.tolist(), degrees.vertices.tolist(), strict=True))
    assert found == {degree: list(by_hand.values()).count(degree) for degree in set(by_hand.values())}
    assert (degrees.vertex_count, degrees.edge_count, degrees.pair_count) == (len(by_hand), len(edges), len(rows))


@given(st.lists(st.tuples(st.integers(1, 5) | st.just(MAX_ID), st.integers(1, 5) | st.just(MAX_ID))))
@example([(1, 1), (1, 2), (2, 1), (1, 2), (3, 3)])
def test_edges_are_there_once_and_the_rest_is_counted_apart(rows: list[tuple[int, int]]) -> None:
    found = edges_of(np.array(rows, np.uint32).reshape(-1, 2))
    two = [row for row in rows if row[0] != row[1]]
    edges = sorted({(min(row), max(row)) for row in two})
    assert list(map(tuple, found.pairs.tolist())) == edges
    assert found.apart == Apart(loops=len(rows) - len(two), duplicates=len(two) - len(set(two)))
    assert found.reciprocal == len(set(two)) - len(edges)


def test_edges_that_ascend_are_not_sorted_again() -> None:
    pairs = friend_graph(100, 3, 1)
    keys, apart = distinct_pairs(pairs)
    assert (len(keys), apart) == (len(pairs), Apart())
    assert np.array_equal(edges_of(pairs).pairs, pairs)


@pytest.mark.parametrize("exponent", [2.2, 3.0, 3.5])
def test_a_known_exponent_is_found_within_its_error(exponent: float) -> None:
    uniform = (np.arange(200_000) + 0.5) / 200_000  # evenly spread over the distribution: no luck involved
    drawn = np.floor(9.5 * uniform ** (-1 / (exponent - 1)) + 0.5).astype(np.int64)
    law = fit(Degrees(*np.unique(drawn, return_counts=True)))
    assert law is not None
    assert abs(law.exponent - exponent) < 3 * law.error + 0.01
    assert law.error < 0.1


def test_a_barabasi_albert_graph_has_an_exponent_of_three() -> None:
    law = fit(count_degrees(friend_graph(30_000, 8, seed=1)))
    assert law is not None
    assert law.exponent == pytest.approx(3, abs=0.25)


def test_too_short_a_tail_is_not_fitted() -> None:
    assert fit(count_degrees(friend_graph(20, 2, 1))) is None
    assert fit(count_degrees(np.zeros((0, 2), np.uint32))) is None


def test_shares_go_down_from_one() -> None:
    shares = count_degrees(friend_graph(500, 3, 1)).shares_from()
    assert shares[0] == 1
    assert (np.diff(shares) < 0).all()
