"""wire.causes: codes that are nobody else's, and peers of other protocols by their first bytes."""

import errno

import pytest

from floodtest.wire.causes import CODES, Cause, foreign, refused_by
from floodtest.wire.requests import without_tls

ALERT = b"\x15\x03\x03\x00\x02\x02\x46"
SETTINGS = b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"


def test_a_cause_is_no_errno_and_no_status_and_has_its_place_in_a_table() -> None:
    assert max(errno.errorcode) < 200 < 999 < min(Cause) <= max(Cause) < CODES


@pytest.mark.parametrize(("data", "cause", "decided_by"), [(ALERT, Cause.TLS_PORT, 2), (SETTINGS, Cause.HTTP2_PORT, 9)])
def test_a_peer_of_another_protocol_is_told_by_its_first_bytes(data: bytes, cause: Cause, decided_by: int) -> None:
    for length in range(1, len(data) + 1):
        assert foreign(data[:length]) == ((cause, False) if length >= decided_by else (None, True))


@pytest.mark.parametrize(
    "data", [b"", b"H", b"HTTP/1.1 200 OK", b"\x16\x03", b"\x15\x02", SETTINGS[:3] + b"\x06", b"\x00\x01", b"\xff"]
)
def test_what_is_none_of_them_is_left_to_http(data: bytes) -> None:
    assert foreign(data) == (None, False)


TOLD = (
    b"<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
    b"Client sent an HTTP request to an HTTPS server.\n",
    b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n",
    b"Bad Request\r\nThis combination of host and port requires TLS.\r\n",
    without_tls().text.encode(),
)
"""What nginx, Go (Caddy, Traefik), Apache, Tomcat and `comet` say."""


@pytest.mark.parametrize("text", TOLD)
def test_a_refusal_that_says_that_tls_is_spoken_is_known(text: bytes) -> None:
    assert refused_by(400, b"HTTP/1.1 400 Bad Request\r\n\r\n" + text) == Cause.TLS_PORT
    assert refused_by(404, text) == 404


@pytest.mark.parametrize("text", [b"", b"redirect_uri has to begin with https://", b"No channel of that name"])
def test_another_refusal_keeps_its_status(text: bytes) -> None:
    assert refused_by(400, b"HTTP/1.1 400 Bad Request\r\n\r\n" + text) == 400
