"""wire.mark: what is written is found in whatever a server makes of it, and nothing else is."""

import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.mark import mark
from floodtest.wire.messages import Said, reader_of_marks

RUN = "0123abcd"
OURS = mark(RUN, 42, 7, 5 * 10**9, 1500)


@pytest.mark.parametrize(
    "text",
    [
        OURS,
        f"{OURS} xxxx",
        f"<p>{OURS}</p>",
        json.dumps({"text": OURS, "n": 12}),
        json.dumps(json.dumps({"text": OURS})),
        html.escape(OURS),
        quote(OURS),
        f"before{chr(0xE9)}{OURS}",
        f"x{OURS}",
        f"\\u003cp\\u003e{OURS}\\n",
        quote(f"text={OURS}"),
        f"{OURS} {OURS}",
    ],
)
def test_a_mark_is_found_in_what_servers_make_of_it(text: str) -> None:
    assert reader_of_marks(RUN)([text.encode()]) == Said(1, (7,), (), ((5 * 10**9, 1500),), subjects=(42,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ft-",
        mark("ffffffff", 42, 7, 5 * 10**9, 0),
        f"{OURS}1",
        OURS[:-1],
        f"ft-{RUN}",
        OURS.replace("-7-", "--"),
        OURS.replace("-42-", "--"),
        OURS.replace("-42-", "-"),
        OURS.replace("-42-", "-12345678901-"),
        OURS.replace("-7-", "-1234567890-"),
        OURS.replace("-0000000005", "-9000000005"),
        OURS.upper(),
    ],
)
def test_anything_else_is_a_message_without_one(text: str) -> None:
    assert reader_of_marks(RUN)([text.encode()]) == Said(1, (), (), ())


def test_a_payload_may_have_several() -> None:
    payloads = [f"[{OURS},{mark(RUN, 0, 8, 6, 0)}]".encode(), b"none"]
    assert reader_of_marks(RUN)(payloads) == Said(2, (7, 8), (), ((5 * 10**9, 1500), (6, 0)), subjects=(42, 0))


@given(
    subject=st.integers(0, 2**32 - 1),
    number=st.integers(1, 10**9 - 1),
    planned=st.integers(0, 9 * 10**18 - 1),
    late=st.integers(-5, 10**9),
    before=st.binary(max_size=5),
)
def test_what_is_written_is_read(subject: int, number: int, planned: int, late: int, before: bytes) -> None:
    said = reader_of_marks(RUN)([before + b" " + mark(RUN, subject, number, planned, late).encode()])
    assert (said.subjects, said.numbers) == ((subject,), (number,))
    (stamp,) = said.stamps
    assert stamp == (planned, min(max(0, late), 99_999_999))


def test_a_run_has_a_name_of_eight_digits() -> None:
    with pytest.raises(ValueError, match="eight hex digits"):
        reader_of_marks("x.*")
