"""wire.poll_requests: what is asked for again after each answer, and what is kept of answers for it."""

import pytest

from floodtest.wire.poll_options import Polling, problem_of
from floodtest.wire.poll_requests import Cursors, Polls
from floodtest.wire.template import Column, RequestTemplate

FILES = 2000


def no_columns(name: str) -> Column:
    raise AssertionError(name)


def polls(request: RequestTemplate, cursor: str | None = None, first: str = "") -> Polls:
    return Polls(request, no_columns, FILES, Polling(1.0, 1.0, cursor, first))


def test_etag_and_date_are_sent_back_and_what_an_answer_does_not_say_stays() -> None:
    made = polls(RequestTemplate(b"/{user}", b"POST", ((b"Host", b"h"),), body=b"a\r\n\r\nb"))
    head, body = b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n%b\r\n", b"a\r\n\r\nb"
    assert made.first([7, 8]) == [head % (user, b"") + body for user in (7, 8)]
    made.begin([3, 4])
    made.take([3, 4], [b"1\nnow", b""])
    both = b"If-None-Match: 1\r\nIf-Modified-Since: now\r\n"
    assert made.next([3, 4], [7, 8]) == [head % (7, both) + body, head % (8, b"") + body]
    made.take([4, 3], [b"\nthen", b""])
    assert made.next([3, 4], [7, 8]) == [head % (7, both) + body, head % (8, b"If-Modified-Since: then\r\n") + body]
    made.begin([3])
    assert made.next([3], [7]) == made.first([7])


def test_a_person_s_own_conditional_header_takes_the_place_of_ours() -> None:
    made = polls(RequestTemplate(b"/", headers=((b"if-none-match", b"*"),)))
    made.take([3], [b"1\nnow"])
    assert made.next([3], [7]) == made.first([7])


def test_a_column_of_that_name_is_no_cursor_where_headers_have_it() -> None:
    request = RequestTemplate(b"/{cursor}")
    made = Polls(request, lambda name: lambda users: [b"%d" % -user for user in users], FILES, Polling(1.0, 1.0))
    made.take([3], [b"1\nnow"])
    assert made.first([7]) == [b"GET /-7 HTTP/1.1\r\n\r\n"]
    lines = b"If-None-Match: 1\r\nIf-Modified-Since: now\r\n"
    assert made.next([3], [7]) == [b"GET /-7 HTTP/1.1\r\n%b\r\n" % lines]


def test_a_cursor_goes_where_its_placeholder_stands_as_it_has_to_there() -> None:
    request = RequestTemplate(
        b"/{user}?since={cursor}", b"POST", ((b"Last-Event-ID", b"{cursor}"),), body=b"{{{cursor}}}"
    )
    made = polls(request, "(x)", "0")
    whole = b"POST /7?since=%b HTTP/1.1\r\nLast-Event-ID: %b\r\nContent-Length: %d\r\n\r\n{%b}"
    assert made.first([7]) == [whole % (b"0", b"0", 3, b"0")]
    made.begin([3])
    assert made.next([3], [7]) == made.first([7])
    made.take([3], [b"a b&c/%d"])
    assert made.next([3], [7]) == [whole % (b"a%20b%26c%2F%25d", b"a b&c/%d", 10, b"a b&c/%d")]


def test_cursors_of_any_length_are_kept_and_cost_as_much_as_the_longest() -> None:
    cursors = Cursors(FILES)
    cursors.keep([5], [b""])
    assert cursors._used == 0
    for _ in range(3):
        cursors.keep([5], [b"x"])
        assert cursors._used == 6  # so that a wider column touches no more pages than were written
    kept = {5: b"a", 1999: b"b" * 32, 7: b"c" * 33, 6: b"d" * 255}
    for fd, cursor in kept.items():
        cursors.keep([fd], [cursor])
        assert cursors.of([fd]) == [cursor]
    assert cursors.of([*kept, 8]) == [*kept.values(), b""]
    assert cursors._column.itemsize == 256
    assert cursors._used == FILES
    cursors.keep([5, 6], [b"", b"e"])
    assert cursors.of([5, 6, 7]) == [b"", b"e", kept[7]]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [("(x)", None), ("(?P<cursor>x)", None), ("x", "one group"), ("(x)(y)", "has 2"), ("(", "no regular")],
)
def test_a_pattern_has_one_group(pattern: str, problem: str | None) -> None:
    found = problem_of(pattern)
    assert found is None if problem is None else found is not None and problem in found
