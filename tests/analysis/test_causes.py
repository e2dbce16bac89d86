"""analysis.record.causes: every name that a summary may have is put in words, and the documents have the table."""

import errno
from pathlib import Path

import pytest

from floodtest.analysis.record.causes import TABLE, as_markdown, words_of
from floodtest.loadgen.client.accounts import State, code_name
from floodtest.loadgen.run.reading import LOST
from floodtest.wire.causes import Cause

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_of_our_own_has_its_row(cause: Cause) -> None:
    assert code_name(cause) in TABLE


def test_each_row_says_what_happened_and_what_to_do() -> None:
    for words in TABLE.values():
        assert words.what.endswith(".")
        assert words.remedy.endswith(".")
        assert "|" not in words.what + words.remedy


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("cut", "cut"),
        ("cut@response", "cut"),
        ("ETIMEDOUT@connect", "ETIMEDOUT@connect"),
        ("ETIMEDOUT@response", "ETIMEDOUT@response"),
        (f"{LOST}@worker", "LOST"),
        ("HTTP_302@response", "HTTP_3xx"),
        ("HTTP_401@response", "HTTP_401"),
        ("HTTP_418@response", "HTTP_4xx"),
        ("HTTP_599@response", "HTTP_5xx"),
        ("HTTP_204@response", "HTTP_xxx"),
        ("HTTP_999@response", "HTTP_xxx"),
    ],
)
def test_a_name_has_the_words_of_its_row(name: str, row: str) -> None:
    assert words_of(name) == TABLE[row]


def test_other_errnos_have_the_words_of_the_c_library() -> None:
    assert words_of(f"{errno.errorcode[errno.EHOSTUNREACH]}@connect") == ("No route to host.", "")


@pytest.mark.parametrize("name", ["", "EOF", "E199@bind", "errorcode", "HTTP_", f"{State.OPEN}"])
def test_any_name_of_another_record_is_taken(name: str) -> None:
    words_of(name)


def test_the_document_has_the_table() -> None:
    assert as_markdown() in (ROOT / "docs/floodtest.md").read_text()
