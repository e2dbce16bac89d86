"""The bundled server, as a run sees it: a `comet serve` in processes of its own, spoken to over its control API.

It is started with one end of a socket pair, on which it says where it listens; the kernel ends it with the run, however
that ends (`flyweight.processes.launch`). Its errors go to `server.log` in the run's folder. It never takes a token from
the environment, which is for another server, and gets one of the run's own where it listens beyond loopback.
"""

import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec
import trio

from floodtest.flyweight.errors import ExitCode, Refused, WorkerFault
from floodtest.flyweight.machine.reasons import reason
from floodtest.flyweight.processes.launch import Program, launch
from floodtest.loadgen.network.wish import Network
from floodtest.loadgen.plan.models import DEFAULT_SERVER_MODEL, ServerModel
from floodtest.loadgen.plan.plan import Plan
from floodtest.wire.control import TOKEN_VARIABLE, Listening, Stats
from floodtest.wire.control_client import ControlClient, ControlError, NotComet
from floodtest.wire.http import authority
from floodtest.wire.tls.certificates import Files

START_SECONDS = 60.0
STOP_SECONDS = 60.0
ANSWER_SECONDS = 5.0
"""The longest wait for an answer of the control API: it is on this machine, and its process does little else."""


@dataclass(frozen=True)
class Place:
    """Where the server listens, and its control API, which takes a token where others might reach it."""

    host: str = "127.0.0.1"
    control_host: str = "127.0.0.1"
    namespace: int | None = None
    """A descriptor of a network namespace of its own, if it has one."""
    token: str | None = None


LOOPBACK = Place()


def place_of(network: Network, version: int) -> Place:
    """Return where the server is for clients in a network, with addresses of an IP version."""
    if network.server_address is None:
        return LOOPBACK if version == 4 else Place(host="::1")
    address = network.server_address
    return Place(address, address, network.server_namespace, secrets.token_hex(16))


class BundledServer:
    """A running `comet serve`."""

    def __init__(self, process: Program, address: tuple[str, int], control: ControlClient, token: str | None) -> None:
        self.process = process
        self.address = address
        self.control_url = control.url
        self.token = token
        self._control = control

    async def stats(self) -> Stats | None:
        """Return the figures of GET /stats; None when the server does not answer (it may have died)."""
        try:
            return await self._control.stats()
        except NotComet as error:
            raise _of_another_version(error) from error
        except ControlError:
            return None

    async def set_tick(self, seconds: float | None) -> bool:
        """Send a message to every connection each `seconds`, or no longer; False when the server does not answer."""
        try:
            await self._control.set_tick(seconds)
        except NotComet as error:
            raise _of_another_version(error) from error
        except ControlError:
            return False
        return True

    @property
    def has_ended(self) -> bool:
        return self.process.exit_status is not None


@asynccontextmanager
async def bundled_server(
    plan: Plan,
    store: Path | None,
    log: Path,
    place: Place = LOOPBACK,
    model: ServerModel = DEFAULT_SERVER_MODEL,
    certificate: Files | None = None,
    tickets: int = 0,
) -> AsyncIterator[BundledServer]:
    """Run `comet serve` on free ports of a place as long as the block lasts; `store` is of subscriptions, if any. With
    a certificate it speaks TLS, and sends each client so many tickets.

    It takes the users of the plan, and has room for as many connections. Refused if it refuses to serve, WorkerFault if
    it does not come up for another reason.
    """
    ours, theirs = socket.socketpair()
    with theirs, _create(log) as errors:
        arguments = ["--port", "0", "--control-port", "0", "--model", model]
        arguments += ["--max-users", str(plan.last_user), "--max-connections", str(plan.connections)]
        arguments += [] if certificate is None else ["--tls-cert", certificate.cert, "--tls-key", certificate.key]
        arguments += ["--tls-tickets", str(tickets)] if tickets else []
        arguments += [] if store is None else ["--db", str(store.absolute())]
        arguments += ["--host", place.host, "--control-host", place.control_host]
        process = launch(
            "floodtest.server_under_test",
            *("serve", *arguments, "--parent-fd", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stderr=errors,
            env=_environment(place.token),
            network=place.namespace,
        )
    lifeline = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    try:
        line = b""
        with trio.move_on_after(START_SECONDS):
            line = bytes(await lifeline.receive_some())
        if not line:
            await _explain(process, log)
        where = msgspec.json.decode(line, type=Listening)
        url = f"http://{authority(place.control_host, where.control)}"
        async with ControlClient(url, place.token, ANSWER_SECONDS) as control:
            yield BundledServer(process, (place.host, where.port), control, place.token)
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
            await lifeline.aclose()


def _of_another_version(error: NotComet) -> WorkerFault:
    """Return what to raise where our own server says what we do not understand: a part of the program was replaced."""
    return WorkerFault(f"The bundled server is of another version: {error.brief}. Install floodtest anew.")


def _create(log: Path) -> BinaryIO:
    try:
        return open(log, "wb")
    except OSError as error:
        raise Refused(f"Can't write {log}, for the server's errors: {reason(error)}. Choose another --out.") from error


def _environment(token: str | None) -> dict[str, str]:
    """Return our environment with this token, or none: one that stands there is for another server."""
    given = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return given if token is None else {**given, TOKEN_VARIABLE: token}


async def _explain(process: Program, log: Path) -> NoReturn:
    """Raise what a server that did not come up says of it."""
    with trio.move_on_after(5):  # its end of the socket was closed by its end
        await process.wait()
    words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    if process.exit_status == ExitCode.REFUSED:
        raise Refused(words[0].removeprefix("comet: "))
    raise WorkerFault(f"The bundled server did not come up: {words[0]}. See {log}.")


async def _end(process: Program) -> None:
    process.terminate()
    process.go_on()  # one that was stopped would not hear of it
    with trio.move_on_after(STOP_SECONDS):
        await process.wait()
        return
    process.kill()
    await process.wait()
