"""wire.options: texts of options that become bytes on the wire."""

import pytest

from floodtest.wire.options import origin


@pytest.mark.parametrize("text", ["*", "null", "https://example.org", "http://127.0.0.1:3000", "http://[::1]:80"])
def test_an_origin_is_taken_as_it_is(text: str) -> None:
    assert origin.parse(text) == text


@pytest.mark.parametrize(
    "text", ["", "example.org", "http://", "http://a/b", "http://a b", "http://a\r\nX: y", "*\n", "http://é"]
)
def test_what_is_no_origin_becomes_no_header(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        origin.parse(text)
