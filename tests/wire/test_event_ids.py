"""wire.event_ids: which ids are of a server's life, and what the number in them is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floodtest.wire.event_ids import UNKNOWN, event_id, number_in


@given(st.integers(0, 10**18 - 1))
def test_an_id_has_its_number(number: int) -> None:
    assert number_in(b"0badcafe", event_id(b"0badcafe", number)) == number


@pytest.mark.parametrize(
    "other",
    [
        *(b"0badcafd-7", b"0badcafe-", b"0badcafe", b"-7", b"7", b"", b"0badcafe-07", b"0badcafe--7", b"0badcafe-+7"),
        *(b"0badcafe-7 ", b" 0badcafe-7", b"0BADCAFE-7", b"0badcafe-7, 0badcafe-8", b"0badcafe-\xb2", b"\x00"),
        b"0badcafe-" + b"9" * 19,
        b"0badcafe-" + b"9" * 8000,
    ],
)
def test_any_other_is_unknown(other: bytes) -> None:
    assert number_in(b"0badcafe", other) == UNKNOWN


def test_without_a_life_there_are_no_ids() -> None:
    assert event_id(b"", 7) == b""
    assert number_in(b"", b"-7") == UNKNOWN
