"""loadgen.preflight.users: the values that a file has for each user, and the files that are refused."""

import gzip
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from floodtest.flyweight.engine.texts import Texts
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.headroom import Reserve
from floodtest.loadgen.client.worker import column_of
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.users import MAX_VALUE, load_users
from floodtest.wire.template import RequestTemplate

ASKED = RequestTemplate(b"/{name}", headers=((b"Cookie", b"s={token}"),))
ROWS = [("ann", "t1", "x"), ("bo b", "t,2", ""), ("ç\"d'", "t 3", "z")]
NAMES = ("name", "token", "other")


def csv_of(rows: Sequence[tuple[str, ...]], names: tuple[str, ...] = NAMES) -> bytes:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if set(text) & set('",\n\r') else text

    return "".join(",".join(map(quoted, row)) + "\n" for row in [names, *rows]).encode()


def ndjson_of(rows: Sequence[tuple[str, ...]]) -> bytes:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows).encode()


def values(path: Path, connections: int = 3, asked: RequestTemplate = ASKED) -> dict[str, list[bytes]]:
    found = load_users(path, asked, connections)
    texts, rows = Texts(found.descriptor, found.shape), range(connections)
    return {name: texts.column(place, rows) for place, name in enumerate(found.columns)}


EXPECTED = {"name": [row[0].encode() for row in ROWS], "token": [row[1].encode() for row in ROWS]}


@pytest.mark.parametrize(
    "data",
    [
        csv_of(ROWS),
        b"\xef\xbb\xbf" + csv_of(ROWS).replace(b"\n", b"\r\n"),
        csv_of(ROWS).replace(b"\n", b"\n\n"),
        gzip.compress(csv_of(ROWS), mtime=0),
        ndjson_of(ROWS),
        b"\xef\xbb\xbf" + ndjson_of(ROWS) + b"\n",
        gzip.compress(ndjson_of(ROWS), mtime=0),
        csv_of([*ROWS, ("more", "than there are connections")]),
    ],
    ids=["csv", "csv of Windows", "empty lines", "csv.gz", "ndjson", "ndjson of Windows", "ndjson.gz", "more rows"],
)
def test_only_the_columns_that_requests_need_are_kept(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(data)
    assert values(tmp_path / "users") == EXPECTED


def test_a_parquet_file(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow, the extra parquet, is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow, the extra parquet, is not installed")
    names, tokens, numbers = ["ann", "bob"], [b"\xff1", b"t2"], [-(2**63), 2]
    parquet.write_table(arrow.table({"name": names, "token": tokens, "n": numbers}), tmp_path / "users")
    asked = RequestTemplate(b"/{n}/{name}", body=b"{token}")
    assert values(tmp_path / "users", 2, asked) == {
        "name": [b"ann", b"bob"],
        "token": tokens,
        "n": [b"-9223372036854775808", b"2"],
    }
    parquet.write_table(arrow.table({"name": ["a", None], "token": ["a\nb", "c"]}), tmp_path / "users")
    with pytest.raises(Refused, match=r"users, row 2, column 'name': it has no value there\."):
        values(tmp_path / "users", 2)
    parquet.write_table(arrow.table({"name": [[1]], "token": ["c"]}), tmp_path / "users")
    with pytest.raises(Refused, match=r"column 'name': its type is list<.*no text and no number"):
        values(tmp_path / "users", 1)
    parquet.write_table(arrow.table({"name": ["a"], "token": ["c"]}), tmp_path / "users")
    data = (tmp_path / "users").read_bytes()
    (tmp_path / "users").write_bytes(data[:4] + b"\xff" * 40 + data[44:])
    with pytest.raises(Refused, match="users is a broken parquet file: "):
        values(tmp_path / "users", 1)
    (tmp_path / "users").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(Refused, match="is a broken parquet file"):
        values(tmp_path / "users", 1)


def test_numbers_of_json_are_sent_as_they_stand_there(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(
        b'{"name": 1.10, "token": true}\n{"token": 12345678901234567890, "name": "\\u00e9"}'
    )
    assert values(tmp_path / "users", 2) == {
        "name": [b"1.10", "é".encode()],
        "token": [b"true", b"12345678901234567890"],
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (csv_of(ROWS[:2]), "users has 2 rows, and 3 connections are planned, each of which takes one"),
        (b"", "users is empty. Its first line names the columns."),
        (
            csv_of(ROWS, ("name", "word", "other")),
            "{token}, and there is no such placeholder: there are {user}, {address}",
        ),
        (csv_of(ROWS, ("name", "token", "token")), "users has 2 columns with the name 'token': rename all but one."),
        (csv_of([("a", "b", "c"), ("a", "b")]), "users, line 3: it has 2 columns, and the first line has 3."),
        (
            csv_of([("a", "b", "c"), ("a", "b\nc", "d")]),
            "users, line 4, column 'token': it has a carriage return, a line",
        ),
        (csv_of([("a", "b\0", "c")]), "users, line 2, column 'token': it has a carriage return, a line feed or a NUL"),
        (csv_of([("x" * (MAX_VALUE + 1), "b", "c")]), "users, line 2, column 'name': it is longer than 65,536 bytes."),
        (b'name,token\na,"b', "users, line 2: this is no CSV: "),
        (b"name,token\na,\xe9\n", "this is no UTF-8 text. Save it as UTF-8."),
        (gzip.compress(csv_of(ROWS), mtime=0)[:-9], "users is a broken gzip archive: "),
        (b'{"name": 1, "token": 2}\n{"name": 1}', "users, line 2, column 'token': it has no value there."),
        (b'{"name": 1, "token": null}', "users, line 1, column 'token': it has no value there."),
        (b'{"name": [], "token": 2}', "users, line 1, column 'name': a value is a text or a number, not [."),
        (b'{"name": 1, "token": "a\\r"}', "users, line 1, column 'token': it has a carriage return"),
        (b'{"name": 1,\n"token": 2}', "users, line 1: this is no JSON object on a line of its own: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_its_place(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(data)
    with pytest.raises(Refused) as caught:
        load_users(tmp_path / "users", ASKED, 3)
    assert words in str(caught.value)


def test_a_line_feed_may_stand_in_a_body_and_in_a_path(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(csv_of([("a\r\nb", "c\0", "")]))
    asked = RequestTemplate(b"/{name}", body=b"{token}")
    assert values(tmp_path / "users", 1, asked) == {"name": [b"a\r\nb"], "token": [b"c\0"]}


def test_a_column_with_a_name_of_ours_is_refused_where_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(csv_of(ROWS, ("user", "token", "other")))
    load_users(tmp_path / "users", RequestTemplate(b"/{token}"), 3)
    with pytest.raises(Refused, match=r"\{user\} is a placeholder without a file, and .* has a column of that name"):
        load_users(tmp_path / "users", RequestTemplate(b"/{token}/{user}"), 3)


def test_a_file_of_which_nothing_is_needed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(csv_of(ROWS))
    with pytest.raises(Refused, match=r"No request needs .*\(\{name\}, \{token\}, \{other\}\), or leave --users out"):
        load_users(tmp_path / "users", RequestTemplate(b"/{user}"), 3)


def test_more_than_there_is_memory_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(csv_of(ROWS))
    with pytest.raises(Refused, match="users takes more memory than there is: "):
        load_users(tmp_path / "users", ASKED, 3, Reserve(share=1.0))


def test_each_worker_takes_the_rows_of_its_own_users(tmp_path: Path) -> None:
    asked = RequestTemplate(b"/{user}/{line}/{n}")
    (tmp_path / "users").write_text("n\n" + "".join(f"n{row}\n" for row in range(1, 1001)))
    users = load_users(tmp_path / "users", asked, 1000)
    texts, made = Texts(users.descriptor, users.shape), []
    for share in Plan(3, 400, "127.0.1.1", 1024, 1000, first_user=501).shares(7):
        of_share = range(share.first_user, share.first_user + share.count)
        column = partial(column_of, share=share, columns=users.columns, texts=texts)
        made += asked.requests(column)([*of_share])
    assert made == [b"GET /%d/%d/n%d HTTP/1.1\r\n\r\n" % (500 + row, row, row) for row in range(1, 1001)]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"Can't read .*users: No such file"):
        load_users(tmp_path / "users", ASKED, 3)


@pytest.mark.parametrize("write", [csv_of, ndjson_of])
def test_a_broken_row_after_the_last_that_is_needed_is_not_looked_at(
    write: Callable[[Sequence[tuple[str, ...]]], bytes], tmp_path: Path
) -> None:
    (tmp_path / "users").write_bytes(write(ROWS) + b'"')
    assert values(tmp_path / "users") == EXPECTED


def test_no_value_can_begin_a_line_of_its_own_on_a_stream_without_http(tmp_path: Path) -> None:
    (tmp_path / "users").write_bytes(csv_of([("ann", "a\r\nFLUSHALL", "x")]))
    with pytest.raises(Refused, match="no line of a raw stream can have"):
        load_users(tmp_path / "users", RequestTemplate(b"", sent=b"AUTH {token}\r\n"), 1)
    assert load_users(tmp_path / "users", RequestTemplate(b"/", sent=b"{token}"), 1).columns == ("token",)
