"""Messages with marks that come to another user than the one whom they are for: in each client, never received."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from floodtest.wire.grammar import Marks
from floodtest.wire.mark import EVERYBODY, mark
from floodtest.wire.open_when import OpenWhen
from floodtest.wire.protocols import CHUNKED
from tests.rigs.client import ClientRig, welcome
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.support import chunk

RUN = "0123abcd"
USERS = 40
"""So many that what is alike for all is added by numpy."""


def marked(subject: int, number: int) -> bytes:
    return chunk(mark(RUN, subject, number, 5 * 10**9, 0).encode() + b"\n")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ClientRig]:
    made = ClientRig(tmp_path, USERS, grammar=Marks(RUN))
    yield made
    made.end()


def counts(rig: ClientRig | HttpxRig) -> dict[str, int]:
    names = ("received", "messages", "misdelivered", "missing", "repeated", "jumps")
    return {name: int(rig.ledger.total(name)) for name in names} | {"stamped": rig.stamped}


def test_a_message_for_another_user_is_none_of_the_user_who_has_got_it(rig: ClientRig) -> None:
    rig.open(5, 6)
    rig.feed(6, marked(5, 1))
    rig.feed(5, marked(5, 2))
    rig.feed(6, marked(6, 1) + marked(5, 3) + marked(6, 2))
    expected = {"received": 5, "messages": 3, "misdelivered": 2, "missing": 1, "repeated": 0, "jumps": 0, "stamped": 3}
    assert counts(rig) == expected


def test_a_message_for_one_that_goes_to_all_is_received_once(rig: ClientRig) -> None:
    servers = rig.open(*range(1, USERS + 1))
    for server in servers:
        server.sendall(marked(7, 1))
    rig.settle()
    found = counts(rig)
    assert (found["received"], found["messages"], found["misdelivered"]) == (USERS, 1, USERS - 1)
    assert (found["missing"], found["stamped"]) == (0, 1)


def test_a_message_for_all_is_everybodys(rig: ClientRig) -> None:
    servers = rig.open(*range(1, USERS + 1))
    for server in servers[1:]:
        server.sendall(marked(EVERYBODY, 1))
    servers[1].sendall(marked(EVERYBODY, 1))
    rig.settle()
    found = counts(rig)
    assert (found["messages"], found["misdelivered"], found["repeated"]) == (USERS, 0, 1)


@pytest.mark.parametrize("pieces", [1, 3, 1000], ids=["whole", "in three", "byte by byte"])
def test_the_httpx_client_finds_what_the_columns_find(pieces: int, tmp_path: Path) -> None:
    said = {
        user: b"".join((marked(3, 1), marked(user, 1), marked(EVERYBODY, 1), marked(2**32 + 3, 1), marked(user, 1)))
        for user in range(1, 5)
    }
    outcomes = []
    (tmp_path / "columns").mkdir()
    (tmp_path / "httpx").mkdir()
    columns = ClientRig(tmp_path / "columns", 4, CHUNKED, OpenWhen("id"), grammar=Marks(RUN))
    columns.open(*said)
    for user, data in said.items():
        size = -(-len(data) // pieces)
        columns.feed(user, *(data[at : at + size] for at in range(0, len(data), size)))
    outcomes.append(counts(columns) | {"received": int(columns.ledger.total("received")) + len(said)})
    columns.end()
    httpx_client = HttpxRig(tmp_path / "httpx", 4, grammar=Marks(RUN))
    httpx_client.feed({user: [welcome(user), data] for user, data in said.items()})
    outcomes.append(counts(httpx_client))
    httpx_client.end()
    assert outcomes[0]["misdelivered"] == 3 + 4
    assert outcomes[1]["misdelivered"] == outcomes[0]["misdelivered"]
    assert outcomes[0]["messages"] == outcomes[1]["messages"]
