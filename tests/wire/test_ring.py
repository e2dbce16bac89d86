"""wire.ring: a ring is libketama's, point for point and key for key, and few keys move where a server goes."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.wire.ring import MAX_MEMORY, MAX_SERVERS, Ring, RingServer
from floodtest.wire.ring_servers import MAX_BYTES, parse_file, parse_list, read_servers
from tests.wire.ketama.make import FOLDER, LISTS, keys

KEYS = [key.encode() for key in keys()]
USERS = range(1, 50_001)


def equal(count: int) -> list[RingServer]:
    return parse_list(",".join(f"10.0.0.{number}:8000" for number in range(1, count + 1)))


@pytest.mark.parametrize("name", LISTS)
def test_each_key_has_the_server_that_libketama_gives_it(name: str) -> None:
    ring = Ring(read_servers(str(FOLDER / f"{name}.servers")))
    expected = np.fromfile(FOLDER / f"{name}.owners", np.uint8)
    assert ring.servers == tuple(LISTS[name])
    assert len(expected) == len(KEYS) == 20_000
    assert np.array_equal(ring.owners_of(KEYS), expected)


def test_points_are_counted_in_single_precision_as_libketama_counts_them() -> None:
    fewer = [count for count in range(1, 300) if set(Ring(equal(count)).hashes.tolist()) != {40}]
    assert fewer == [61, 122, 237, 244]
    assert set(Ring(equal(61)).hashes.tolist()) == {39}


def test_a_user_has_the_key_of_its_digits_by_the_column_as_alone() -> None:
    ring = Ring(equal(12))
    owners = ring.owners_of_users(USERS)
    assert owners.dtype == np.uint16
    assert len(owners) == len(USERS)
    assert [ring.servers[owner] for owner in owners[:100].tolist()] == [ring.owner(str(user)) for user in USERS[:100]]
    assert len(ring.owners_of([])) == 0


def test_shares_are_what_keys_get() -> None:
    ring = Ring([RingServer("small", 100), RingServer("large", 300), RingServer("none", 1)])
    shares, hashes = ring.shares(), ring.hashes
    got = np.bincount(ring.owners_of_users(USERS), minlength=3) / len(USERS)
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - got).max() < 0.01
    assert (hashes.tolist(), shares[2]) == ([29, 89, 0], 0)


@pytest.mark.parametrize("gone", [0, 5, 11])
def test_where_one_of_n_servers_goes_only_its_keys_move(gone: int) -> None:
    before, after = Ring(equal(12)), Ring([server for at, server in enumerate(equal(12)) if at != gone])
    owned, owns = before.owners_of_users(USERS), after.owners_of_users(USERS)
    moved = np.array([before.servers[a] != after.servers[b] for a, b in zip(owned, owns, strict=True)])
    assert np.array_equal(moved, owned == gone)
    assert 0.5 / 12 < moved.mean() < 1.5 / 12


def test_where_one_server_comes_to_n_it_takes_its_share_from_all_of_them() -> None:
    before, after = Ring(equal(12)), Ring(equal(13))
    owned, owns = before.owners_of_users(USERS), after.owners_of_users(USERS)
    assert np.array_equal(owned != owns, owns == 12)
    assert 0.5 / 13 < np.mean(owns == 12) < 1.5 / 13
    assert set(owned[owns == 12].tolist()) == set(range(12))


def test_the_circle_has_no_end() -> None:
    """A hash beyond the last point belongs to the first one."""
    ring = Ring(equal(2))
    hashes = {user: int.from_bytes(hashlib.md5(b"%d" % user).digest()[:4], "little") for user in range(1, 20_000)}
    last = max(hashes, key=lambda user: hashes[user])
    assert hashes[last] > ring.points[-1]
    lowest = min(hashes, key=lambda user: hashes[user])
    assert hashes[lowest] < ring.points[0]
    assert ring.owner(str(last)) == ring.owner(str(lowest))


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ([], "needs a server"),
        ([RingServer("a", 1), RingServer("b", 1), RingServer("a", 2)], "The server a is named 2 times"),
        ([RingServer("a", 0)], "The memory of the server a must be from 1"),
        ([RingServer("a", MAX_MEMORY + 1)], "The memory of the server a must be from 1"),
        ([RingServer(str(number), 1) for number in range(MAX_SERVERS + 1)], "has at most 10,000 servers"),
    ],
)
def test_servers_that_make_no_ring_are_named(servers: list[RingServer], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Ring(servers)


def test_a_file_is_read_as_libketama_reads_it() -> None:
    text = "# two of ours\n10.0.1.1:11211\t600\n\n10.0.1.2:11211   300"
    assert parse_file(text, "x") == [RingServer("10.0.1.1:11211", 600), RingServer("10.0.1.2:11211", 300)]


@pytest.mark.parametrize("line", ["10.0.1.1:11211", "a 1 2", "a -1", "a 1.5", "a ٣", "a x", f"a {'9' * 5000}"])
def test_a_line_that_is_no_server_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"^Line 2 of the file is no server and its memory"):
        parse_file(f"a 1\n{line}\n", "the file")


def test_of_many_such_lines_a_few_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse_file("x\n" * 1000, "the file")
    assert caught.value.problems[-1] == "Nor are 995 more lines."


def test_a_list_or_a_file_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ketama.servers"
    file.write_text("a 1\n")
    assert read_servers(str(file)) == [RingServer("a", 1)]
    assert read_servers("a, b") == [RingServer("a", 1), RingServer("b", 1)]
    with pytest.raises(Refused, match="There is no file nothing"):
        read_servers("nothing")
    with pytest.raises(Refused, match="can't be read: Is a directory"):
        read_servers(str(tmp_path))
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(Refused, match="more than"):
        read_servers(str(file))
    file.write_text("# nobody\n")
    with pytest.raises(UsageError, match="names no server"):
        read_servers(str(file))
    for text, words in (("a,,b", "A name is missing"), ("", "takes a file")):
        with pytest.raises(UsageError, match=words):
            read_servers(text)
