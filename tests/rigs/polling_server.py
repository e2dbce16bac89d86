"""A long-polling server of a test's own: messages by user, a cursor in each answer, and polls that are held.

`GET /poll/USER?since=CURSOR` answers with what has been published to the user behind the cursor, as a list in JSON with
the next cursor, or after `HELD` seconds with an empty list. `POST /pub/USER` publishes its body.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.rigs.support import OUR_NETWORK

HELD = 1.5


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.messages: dict[str, list[str]] = defaultdict(list)
        self.news = threading.Condition()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        found = re.fullmatch(r"/poll/(\d+)\?since=(?:s(\d+))?", self.path)
        if found is None:
            self._answer(404, b"")
            return
        user, since = found[1], int(found[2] or 0)
        with self.server.news:
            self.server.news.wait_for(lambda: len(self.server.messages[user]) > since, HELD)
            news = self.server.messages[user][since:]
        said = {"next": f"s{since + len(news)}", "messages": news} if news else {}
        self._answer(200, json.dumps(said).encode())

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.news:
            self.server.messages[self.path.rpartition("/")[2]].append(text)
            self.server.news.notify_all()
        self._answer(200, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if len(body) % 2:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""


@contextmanager
def polling_server() -> Iterator[str]:
    """Serve as long as the block lasts; gives the beginning of URLs."""
    with _Server((f"{OUR_NETWORK}.201", 0)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            host, port = server.server_address[:2]
            yield f"http://{host!s}:{port}"
        finally:
            server.shutdown()
