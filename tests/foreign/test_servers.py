"""`floodtest run` against servers that nobody here wrote, with messages by their own publishing: none is lost."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.rigs.foreign import SERVERS, Served, Server
from tests.rigs.support import flood

USERS = 200
MESSAGES = 100
SHORT = ("--connections", str(USERS), "--hold", "0", "--messages", f"{MESSAGES}/s", "--message-seconds", "1")


def prepared(name: str) -> Server:
    """Return a server, or skip a test that can't have it."""
    server = SERVERS[name]
    if server.missing is not None:
        pytest.skip(server.missing)
    return server


def all_is_accounted_for(code: int, summary: dict[str, Any], errors: str) -> None:
    """Every connection opened and was held, and every message was published and arrived once."""
    assert (code, summary["outcome"]) == (0, "ok"), errors
    connections, messages = summary["connections"], summary["messages"]
    assert (connections["opened"], connections["failed"], connections["closed_by"]) == (USERS, {}, {})
    assert messages["planned"] == messages["published"] == messages["expected"] == messages["received"] == MESSAGES
    assert (messages["lost"], messages["duplicated"], summary["missing"], summary["repeated"]) == (0, 0, 0, 0)


def its_process_was_measured(summary: dict[str, Any], served: Served) -> None:
    (process,) = summary["server"]["processes"]
    assert (process["pid"], process["name"]) == (served.pid, psutil.Process(served.pid).name())
    assert summary["memory"]["server_fixed_bytes"] > 1 << 20


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("starlette on hypercorn", "sse"), ("node http", "chunked"), ("nginx with nchan", "websocket"), ("redis", "raw")],
)
def test_every_message_arrives(name: str, protocol: str, tmp_path: Path) -> None:
    server = prepared(name)
    with server.started(tmp_path) as served:
        result = flood(tmp_path / "runs", *SHORT, *server.options(served, protocol))
        all_is_accounted_for(*result)
        its_process_was_measured(result[1], served)


def test_each_connection_is_read_as_its_own_answer_says(tmp_path: Path) -> None:
    """Users in turn are those of nchan's http-chunked, http-raw-stream and multipart, told apart by their answers."""
    server = prepared("nginx with nchan")
    kinds = ("chunked", "raw", "multipart")
    (tmp_path / "users.csv").write_text("kind\n" + "".join(f"{kinds[row % 3]}\n" for row in range(USERS)))
    with server.started(tmp_path) as served:
        code, summary, errors = flood(
            *(tmp_path / "runs", *SHORT, "--target", f"http://{served.at}/{{kind}}/{{user}}"),
            *("--users", str(tmp_path / "users.csv"), "--header", "TE: chunked", "--header", "Accept: multipart/mixed"),
            *server.publishing(served),
        )
    all_is_accounted_for(code, summary, errors)
    assert summary["received"] > MESSAGES  # the lines of multipart's headers are counted beside
