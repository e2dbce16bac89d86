"""`floodtest run` against nginx with nchan: streams and a publishing API that nobody here wrote."""

from pathlib import Path

import pytest

from tests.rigs.nginx import NCHAN, needs_nchan, nginx
from tests.rigs.support import flood

LOCATIONS = """
    location ~ ^/sub/(\\d+)$ { nchan_subscriber; nchan_channel_id $1; }
    location ~ ^/pub/(\\d+)$ { nchan_publisher; nchan_channel_id $1; }
    location = /sub { nchan_subscriber; nchan_channel_id all; }
    location = /pub { nchan_publisher; nchan_channel_id all; }
"""
USERS = 200


@needs_nchan
@pytest.mark.parametrize("client", ["columns", "httpx"])
def test_messages_published_by_nchan_itself_all_arrive(client: str, tmp_path: Path) -> None:
    with nginx(tmp_path, LOCATIONS, f"load_module {NCHAN};", connections=1000) as (host, port):
        there = f"http://{host}:{port}"
        code, summary, errors = flood(
            *(tmp_path / "runs", "--connections", str(USERS), "--hold", "0", "--client", client, "--protocol", "sse"),
            *("--target", f"{there}/sub/{{user}}", "--messages", "200/s", "--message-seconds", "2"),
            *("--publish", f"POST {there}/pub/{{user}}", "--publish-body", '{"text": "{message}"}'),
        )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    messages = summary["messages"]
    assert (messages["planned"], messages["published"], messages["expected"]) == (400, 400, 400)
    assert (messages["received"], messages["lost"], messages["duplicated"]) == (400, 0, 0)
    assert 0 < messages["latency_ms"]["p50"] < 1000
    assert (summary["missing"], summary["repeated"]) == (0, 0)


POLLS = """
    location ~ ^/poll/(\\d+)$ { nchan_subscriber longpoll; nchan_channel_id $1; nchan_subscriber_timeout 2; }
    location ~ ^/interval/(\\d+)$ { nchan_subscriber intervalpoll; nchan_channel_id $1; }
    location ~ ^/pub/(\\d+)$ { nchan_publisher; nchan_channel_id $1; }
"""


@needs_nchan
@pytest.mark.parametrize("place", ["poll", "interval"])
def test_polls_lose_nothing_that_nchan_gets_between_two_of_them(place: str, tmp_path: Path) -> None:
    """Polls that are held, and answered with a message each or with a time-out; and polls that are never held."""
    with nginx(tmp_path, POLLS, f"load_module {NCHAN};", connections=1000) as (host, port):
        there = f"http://{host}:{port}"
        code, summary, errors = flood(
            *(tmp_path / "runs", "--connections", "100", "--hold", "0", "--protocol", "longpoll", "--held", "200ms"),
            *("--poll-pause", "500ms", "--target", f"{there}/{place}/{{user}}"),
            *("--messages", "100/s", "--message-seconds", "3"),
            *("--publish", f"POST {there}/pub/{{user}}", "--publish-body", '{"text": "{message}"}'),
        )
    assert (code, summary["outcome"]) == (0, "ok"), errors
    messages = summary["messages"]
    assert (messages["published"], messages["expected"]) == (300, 300)
    assert (messages["received"], messages["lost"], messages["duplicated"]) == (300, 0, 0)
    assert (summary["received"], summary["missing"], summary["repeated"]) == (300, 0, 0)
    assert summary["polls"] >= 300
    assert 0 < messages["latency_ms"]["p50"] < 1000
