"""`floodtest run --target ws://…` against servers of websockets and aiohttp: messages arrive, pings are answered."""

from pathlib import Path

import pytest

from tests.rigs.support import flood
from tests.rigs.websocket_servers import MESSAGES, SERVERS, foreign_server

COUNT = 50


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_nobody_here_wrote(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name, reason=f"the server {name} is not installed")
    with foreign_server(name) as server:
        options = ("--target", server.target, "--open-when", "id", "--connections", str(COUNT), "--hold", "2.5")
        sends = ("--send", "hello {user}") if name == "aiohttp" else ()
        code, summary, errors = flood(tmp_path, *options, *sends)
        assert (code, summary["outcome"], summary["connections"]["opened"]) == (0, "ok", COUNT), errors
        assert (summary["received"], summary["missing"], summary["repeated"]) == (COUNT * (1 + MESSAGES), 0, 0)
        assert summary["pings"] >= COUNT
        seen = server.end()
    assert (seen.get("messages", 0), seen.get("extensions", 0)) == (COUNT if name == "aiohttp" else 0, 0)
    assert seen["closed 1000"] == COUNT
    assert name != "websockets" or seen["pongs"] == COUNT
