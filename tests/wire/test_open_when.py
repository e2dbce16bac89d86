"""wire.open_when: what opens a connection, and what does not, wherever the text is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.open_when import REACH, OpenWhen, Search


def opens(condition: str, user: int, *said: bytes, has_borders: bool = True) -> bool:
    """Whether these messages, one after another, open a connection."""
    search = Search(OpenWhen(condition), user)
    return any(search.add([message], has_borders) for message in said)


@pytest.mark.parametrize(
    ("condition", "user", "said", "expected"),
    [
        ("first", 5, b"", True),
        ("first", 5, b"anything", True),
        ("id", 1, b"Welcome, user 1\n", True),
        ("id", 1, b"1", True),
        ("id", 1, b"user 1.", True),
        ("id", 1, b"user 1, welcome", True),
        ("id", 1, b'{"user":1}', True),
        ("id", 1, b"user-1", True),
        ("id", 1, b"a price of 1.1", False),
        ("id", 1, b"a price of 1,50", False),
        ("id", 5, b"a price of 1.5", False),
        ("id", 1, b"12", False),
        ("id", 2, b"12", False),
        ("id", 1, b"user1", False),
        ("id", 1, b"1st", False),
        ("id", 7, b"007", False),
        ("id", 1, b"9.1 and then 1", True),
        ("text:hello", 5, b"say hello", True),
        ("text:hello", 5, b"hell", False),
        ("text:a.b", 5, b"axb", False),
        ("text:user{user}", 12, b"user12", True),
        ("text:user{user}", 1, b"user12", False),
        ("text:{user}/{user}", 12, b"12/12", True),
        ("text:{user}/{user}", 12, b"12/13", False),
        ("text:,{user},", 1, b",1,2,3,", True),
        ("text:,{user},", 2, b",1,2,3,", True),
        ("text:\u00fc", 5, "\u00fc".encode(), True),
        ("regex:^ok$", 5, b"ok", True),
        ("regex:^ok$", 5, b"not ok", False),
        ("regex:a.b", 5, b"a\nb", True),
        ("regex:(?i)USER ({user})", 12, b"user 12", True),
        ("regex:(?i)USER ({user})", 1, b"user 12", False),
    ],
)
def test_a_condition(condition: str, user: int, said: bytes, expected: bool) -> None:
    assert opens(condition, user, said) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is none of head, held, first, id"),
        ("ID", "is none of"),
        ("head:x", "is none of"),
        ("text", "looks for nothing"),
        ("text:", "looks for nothing"),
        ("regex:", "looks for nothing"),
        ("regex:(", "no regular expression"),
        ("regex:a{99999999999}", "no regular expression"),
    ],
)
def test_what_is_no_condition_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OpenWhen(text)


def test_a_text_goes_over_from_chunk_to_chunk_but_not_from_message_to_message() -> None:
    assert opens("text:hello", 5, b"hel", b"lo", has_borders=False)
    assert not opens("text:hello", 5, b"hel", b"lo")
    assert opens("id", 12, b"user 1", b"2\n", has_borders=False)
    assert opens("regex:user {user}", 12, b"x" * 5000 + b"use", b"r 1", b"2\n", has_borders=False)
    assert not opens("id", 12, b"1", b"2")
    assert opens("regex:a.b", 5, b"a", b"b")


@pytest.mark.parametrize("condition", ["id", "text:user {user}", "regex:us.. {user}", "text:{user}", "regex:^.*{user}"])
@pytest.mark.parametrize(("then", "expected"), [(b"", False), (b"2", False), (b" ", True), (b"\n", True)])
def test_an_id_at_the_end_of_what_chunks_have_brought_is_not_whole(condition: str, then: bytes, expected: bool) -> None:
    assert opens(condition, 1, b"user 1", then, has_borders=False) is expected
    assert opens(condition, 1, b"user 1" + then, has_borders=False) is expected


@pytest.mark.parametrize(("then", "expected"), [(b"", False), (b"1", False), (b" ", True), (b".", True)])
def test_a_number_may_go_on_behind_its_point(then: bytes, expected: bool) -> None:
    assert opens("id", 1, b"a price of 1.", then, has_borders=False) is expected


def test_an_expression_begins_where_messages_begin_and_not_where_they_are_cut() -> None:
    assert opens("regex:^abc", 1, b"ab", b"c", has_borders=False)
    assert not opens("regex:^abc", 1, b"x" * 10_000, b"abc" * 2000, b"abc", has_borders=False)
    assert not opens("text:{user}/{user}", 1, b"1/12 ")


@pytest.mark.parametrize("condition", ["id", "text:user {user}!", "regex:user {user}!", "regex:abc"])
def test_what_was_looked_at_is_not_looked_at_again(condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    find = OpenWhen.find

    def counting(self: OpenWhen, user: int, said: bytes, start: int = 0, is_whole: bool = True) -> object:
        looked_at.append(len(said))
        return find(self, user, said, start, is_whole)

    monkeypatch.setattr(OpenWhen, "find", counting)
    search = Search(OpenWhen(condition), 1)
    for _ in range(3000):
        assert not search.add([b"user 2 and so on"], has_borders=False)
    assert max(looked_at) <= REACH + 100
    assert len(search._tail) <= REACH + 100


@given(
    condition=st.sampled_from(["id", "text:user {user}", "text:ser", "regex:u\\w+ {user}"]),
    before=st.binary(max_size=60),
    after=st.binary(max_size=5),
    cuts=st.lists(st.integers(0, 80), max_size=4),
)
def test_chunks_open_what_their_whole_opens(condition: str, before: bytes, after: bytes, cuts: list[int]) -> None:
    whole = before + b" user 12 " + after
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    parts = [whole[a:b] for a, b in pairwise(edges) if a < b]
    assert opens(condition, 12, *parts, has_borders=False)


def test_the_search_ends_within_a_bound() -> None:
    search = Search(OpenWhen("id"), 5)
    assert not search.has_messages
    while not search.is_over:
        assert not search.add([b"x" * 1000], has_borders=True)
    assert len(search._tail) < 200
    assert search.has_messages


def test_a_text_of_many_bytes_goes_over_from_chunk_to_chunk() -> None:
    text = "\u65e5" * 80
    whole = text.encode()
    assert opens(f"text:{text}", 5, whole[:150], whole[150:], has_borders=False)
