"""loadgen.client.kept_answers: the beginnings of answers that opened nothing, a few of each cause, by both clients."""

from pathlib import Path

import numpy as np
import pytest

from floodtest.loadgen.client.accounts import failure_name
from floodtest.loadgen.client.kept_answers import EACH, SLOT, SLOTS, KeptAnswer, KeptAnswers, read_kept, visible
from floodtest.wire.answers import SHOWN
from tests.rigs.client import AccountsReader, ClientRig, welcome
from tests.rigs.httpx_client import HttpxRig
from tests.rigs.support import HEAD

REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: https://login.example/?next=%2F\r\nContent-Length: 0\r\n\r\n"
LOGIN = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="Streams"\r\nContent-Length: 0\r\n\r\n'
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


def kept(rig: AccountsReader) -> list[KeptAnswer]:
    return read_kept(rig.ledger.rows, failure_name)


def in_columns(folder: Path, answers: dict[int, bytes]) -> list[KeptAnswer]:
    rig = ClientRig(folder, max(answers))
    for user, answer in answers.items():
        rig.connect(user)
        rig.feed(user, answer)
    found = kept(rig)
    rig.end()
    return found


def in_httpx(folder: Path, answers: dict[int, bytes]) -> list[KeptAnswer]:
    rig = HttpxRig(folder, max(answers))
    rig.feed({user: [answer] for user, answer in answers.items()})
    found = sorted(kept(rig), key=lambda answer: answer.user)
    rig.end()
    return found


@pytest.mark.parametrize("client", [in_columns, in_httpx])
def test_an_answer_is_kept_with_what_says_more(client: object, tmp_path: Path) -> None:
    assert callable(client)
    found = client(tmp_path, {1: REDIRECT, 2: LOGIN, 3: PAGE, 4: welcome(4)})
    assert [(one.name, one.user, one.note) for one in found] == [
        ("HTTP_302@response", 1, "Location: https://login.example/"),
        ("HTTP_401@response", 2, 'WWW-Authenticate: Basic realm="Streams"'),
        ("web_page@response", 3, None),
    ]
    assert found[0].answer.startswith(r"HTTP/1.1 302 Found\r\nLocation: https://login.example/?***\r\n")


def test_what_ended_without_an_answer_is_not_kept_and_what_is_overdue_is(rig: ClientRig) -> None:
    rig.connect(1).close()
    rig.connect(2)
    rig.connect(3).sendall(welcome(3)[:-1])
    rig.settle()
    rig.streams.expire(1e9)
    assert rig.failed == {"no_answer@response": 1, "ETIMEDOUT@response": 2}
    assert [(one.name, one.user) for one in kept(rig)] == [("ETIMEDOUT@response", 3)]


def test_of_a_stream_that_did_not_open_what_came_behind_its_head_is_kept(rig: ClientRig) -> None:
    """Its head was in order, and takes the room of what shows the cause; where nothing else came it is kept."""
    for user, pieces in {1: [HEAD, b"7\r\nno user\r\n"], 2: [HEAD + b"7\r\nno user\r\nzz"], 3: [HEAD]}.items():
        rig.connect(user)
        rig.feed(user, *pieces)
    rig.streams.expire(1e9)
    expected = [(1, r"7\r\nno user\r\n"), (2, r"7\r\nno user\r\nzz"), (3, visible(HEAD))]
    assert sorted((one.user, one.answer) for one in kept(rig)) == expected


def test_a_few_of_each_cause_are_kept_and_not_more_than_there_is_room_for() -> None:
    rows = np.zeros(2, [("answers_kept", "i8"), ("answers", SLOT, (SLOTS,))])
    for row in (0, 1):
        table = KeptAnswers(rows[row : row + 1])
        for code in range(400, 500):
            for user in range(2 * EACH):
                table.add(user, 3, code, b"x" * SHOWN, "n" * 999)
    assert rows["answers_kept"].tolist() == [SLOTS] * 2
    found = read_kept(rows, lambda phase, code: f"{code}@{phase}")
    assert len(found) == EACH * -(-SLOTS // EACH)
    assert max([one.name for one in found].count(name) for name in {one.name for one in found}) == EACH
    assert {(len(one.answer), len(one.note or "")) for one in found} == {(SHOWN, SHOWN)}


def test_bytes_are_text_that_does_nothing_to_a_terminal() -> None:
    assert visible(b"\x1b[2J\x00\r\n\xff\\") == r"\x1b[2J\x00\r\n\xff\\"
    assert all(" " <= letter <= "~" for letter in visible(bytes(range(256))))
