"""`floodtest run` and `probe` with --protocol longpoll: a server with a cursor, and what can't be asked for."""

from pathlib import Path

import pytest

from tests.rigs.polling_server import polling_server
from tests.rigs.support import OURS, flood, run_here

PATTERN = '"next": "([^"]+)"'


def test_a_server_with_a_cursor_loses_nothing_between_two_polls(tmp_path: Path) -> None:
    with polling_server() as there:
        asked = ("--protocol", "longpoll", "--cursor", PATTERN, "--target", f"{there}/poll/{{user}}?since={{cursor}}")
        code, summary, errors = flood(
            *(tmp_path, *asked, "--connections", "30", "--hold", "0", "--held", "300ms"),
            *("--messages", "60/s", "--message-seconds", "2", "--publish", f"POST {there}/pub/{{user}}"),
        )
        probed = run_here("floodtest", "probe", *asked, *OURS, "--first-cursor", "s0", "--held", "200ms")
        astray = ("--protocol", "longpoll", "--cursor", "(nowhere)", *asked[4:])
        unfound = run_here("floodtest", "probe", *astray, *OURS, "--first-cursor", "s0", "--held", "200ms")
        wrong = run_here("floodtest", "probe", "--target", f"{there}/poll/{{user}}", "--protocol", "longpoll", *OURS)
    assert (code, summary["outcome"]) == (0, "ok"), errors
    messages = summary["messages"]
    assert (messages["published"], messages["expected"], messages["received"]) == (120, 120, 120)
    assert (messages["lost"], messages["duplicated"], summary["missing"], summary["repeated"]) == (0, 0, 0, 0)
    assert 0 < summary["polls"] <= 120 + 30 * 10
    lines = probed.stdout.splitlines()
    assert (probed.returncode, "  GET /poll/1?since=s0 HTTP/1.1" in lines) == (0, True)
    assert "messages   come as answers to polls" in lines
    assert any(line.startswith("message 1 ") and "ft-" in line for line in lines), probed.stdout
    assert any(line.startswith("cursor     s") for line in lines)
    assert "cursor     --cursor finds none here, so that the next poll begins where this one did" in unfound.stdout
    assert (wrong.returncode, "HTTP_404@response" in wrong.stdout) == (4, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "not for our own server"),
        (("--target", "http://h/", "--client", "httpx"), "--client httpx can't open --protocol longpoll"),
        (("--target", "http://h/", "--held", "10"), "--held must be less than --connect-timeout (10 s), not 10 s."),
        (("--target", "http://h/{cursor}"), "--target has {cursor}, and there is no such placeholder"),
        (("--target", "http://h/", "--cursor", "(x)"), "--cursor is said to nobody"),
        (("--target", "http://h/{cursor}", "--cursor", "x"), "--cursor takes a regular expression with one group"),
        (("--target", "http://h/", "--first-cursor", "x"), "--first-cursor is for --cursor"),
        (
            ("--target", "http://h/{cursor}", "--cursor", "(x)", "--first-cursor", "a\nb"),
            "--first-cursor has a carriage",
        ),
        (
            ("--target", "http://h/{cursor}", "--cursor", "(x)", "--first-cursor", "\udcff"),
            "--first-cursor takes UTF-8",
        ),
        (
            ("--target", "http://h/{cursor}", "--cursor", "(x)", "--first-cursor", "é" * 128),
            "--first-cursor takes UTF-8",
        ),
        (("--target", "http://h/", "--latency", "\udcff(?P<s>x)"), "--latency takes a regular expression"),
        (("--target", "http://h/", "--send", "x"), "--send is for WebSockets"),
        (("--target", "http://h/", "--protocol", "sse", "--held", "2"), "--held is for --protocol longpoll."),
        (("--target", "http://h/", "--protocol", "sse", "--open-when", "held"), "--open-when held is for"),
    ],
)
def test_what_does_not_fit_polls_is_refused_in_words(arguments: tuple[str, ...], words: str) -> None:
    done = run_here("floodtest", "plan", "--protocol", "longpoll", *OURS, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
