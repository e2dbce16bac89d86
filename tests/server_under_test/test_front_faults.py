"""Fronts that are threads of one process: what becomes of the others when one of them fails."""

import socket
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes import workers as workers_module
from floodtest.flyweight.processes.workers import Workers, open_workers
from floodtest.server_under_test.fronts import orders
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.limits import Limits
from floodtest.server_under_test.models import MODELS, Model
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from tests.rigs.failing_worker import FAIL, MODULE

FRONTS = 4
USERS = 1000


@pytest.fixture(autouse=True)
def _one_process_of_test_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(workers_module, "cores", lambda: 1)


async def start(workers: Workers, listener: socket.socket) -> Ledger:
    """Start fronts that all watch the listener."""
    ledger = Ledger(FRONT_LEDGER, FRONTS)
    whereabouts = SharedWhereabouts(USERS, FRONTS, raise_files_limit())
    specifications = [
        msgspec.msgpack.encode(orders.Specification(number, FRONTS, USERS, Limits(), None)) for number in range(FRONTS)
    ]
    shared = [ledger.descriptor, listener.fileno(), whereabouts.descriptor, SharedBus(FRONTS).descriptor]
    await workers.start(specifications, orders.FromWorker, shared)
    for worker in workers.all:
        assert isinstance(await worker.channel.receive(), orders.Ready)
    return ledger


async def streams(stack: ExitStack, port: int, count: int) -> None:
    """Open streams and keep them; each is welcomed."""
    for user in range(1, count + 1):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        client.sendall(b"GET /test/%d HTTP/1.1\r\nHost: here\r\n\r\n" % user)
        await trio.to_thread.run_sync(client.recv, 1000)


@pytest.mark.parametrize("model", MODELS)
def test_a_front_that_fails_closes_nothing_of_its_siblings(
    model: Model, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels, epolls and streams are objects; another thread that collects them has other files of those numbers."""
    monkeypatch.setenv(MODULE, MODELS[model].worker)

    async def main() -> None:
        with ExitStack() as stack, trio.fail_after(60):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.setblocking(False)
            port = listener.getsockname()[1]
            async with open_workers("tests.rigs.failing_worker") as workers:
                ledger = await start(workers, listener)
                *victims, last = workers.all
                for worker in workers.all:
                    await worker.channel.send(orders.Accept())
                await streams(stack, port, 20)
                for victim in victims:
                    await victim.channel.send(orders.Tick(FAIL))
                    assert await victim.channel.receive() is None
                    await last.channel.send(orders.Tick(1))
                    assert isinstance(await last.channel.receive(), orders.Ticked)
                await streams(stack, port, 20)
                assert int(ledger.total("logins")) == 40

    trio.run(main)
    errors = capfd.readouterr().err
    assert errors.count("told to") == FRONTS - 1
    assert "Bad file descriptor" not in errors
