"""A redis-server of a test's own: a server of lines that nobody here wrote, on a port and on a Unix socket."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rigs.support import OUR_NETWORK, wait_until

REDIS = shutil.which("redis-server")

needs_redis = pytest.mark.skipif(REDIS is None, reason="there is no redis-server here: apt-get install redis-server")


@dataclass(frozen=True)
class Redis:
    """Where it listens."""

    host: str
    port: int
    path: Path

    def publish(self, channel: str, text: str) -> None:
        """Publish a message."""
        words = [word.encode() for word in ("PUBLISH", channel, text)]
        with socket.create_connection((self.host, self.port), timeout=60) as connection:
            connection.sendall(b"*3\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
            assert connection.recv(64).startswith(b":")


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """A redis-server that keeps nothing on the disk, as long as the block lasts."""
    found = Redis(f"{OUR_NETWORK}.201", 6379, folder / "redis.sock")
    where = ["--bind", found.host, "--port", str(found.port), "--unixsocket", str(found.path), "--dir", str(folder)]
    others = ["--save", "", "--protected-mode", "no", "--tcp-backlog", "500", "--daemonize", "no"]
    with subprocess.Popen([str(REDIS), *where, *others], stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: server.poll() is not None or _accepts(found), "redis-server accepts")
            assert server.poll() is None
            yield found
        finally:
            server.terminate()


def _accepts(found: Redis) -> bool:
    with socket.socket() as sock:
        return found.path.exists() and sock.connect_ex((found.host, found.port)) == 0
