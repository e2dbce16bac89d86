"""Client workers that are threads of one process: what becomes of the others when one of them fails."""

import os
import socket
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.processes import workers as workers_module
from floodtest.flyweight.processes.workers import open_workers
from floodtest.loadgen.client.accounts import LEDGER, State, create_columns, map_columns
from floodtest.loadgen.client.orders import Go, Halt, Settled, Specification, Started
from floodtest.loadgen.plan.models import CLIENT_MODELS, ClientModel
from floodtest.loadgen.plan.pacer import steady
from floodtest.loadgen.plan.plan import Plan, Share
from floodtest.loadgen.run.crew import Crew
from floodtest.wire.grammar import OURS
from floodtest.wire.names import DEFAULT_PROTOCOL
from floodtest.wire.template import RequestTemplate
from tests.rigs.client import message, welcome
from tests.rigs.failing_worker import MODULE
from tests.rigs.support import OUR_NETWORK, scripted_server, user_of

WORKERS, EACH = 3, 5
PLAN = Plan(1, WORKERS * EACH, f"{OUR_NETWORK}.11", 2000, WORKERS * EACH)


@pytest.mark.parametrize("model", CLIENT_MODELS)
def test_a_client_worker_that_fails_closes_nothing_of_its_siblings(
    model: ClientModel, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its channel, epoll and the sockets whose arrivals it watches are objects, which another thread may collect."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv(MODULE, CLIENT_MODELS[model].worker)
    monkeypatch.setattr(workers_module, "cores", lambda: 1)
    server_side: dict[int, socket.socket] = {}

    def handle(connection: socket.socket) -> None:
        user = int(user_of(connection.recv(4096)))
        connection.sendall(welcome(user))
        server_side[user] = connection

    async def main(target: tuple[str, int]) -> None:
        create_columns(tmp_path, PLAN.connections)
        states, _ = map_columns(tmp_path, 1, PLAN.connections)
        ledger = Ledger(LEDGER, WORKERS)

        def specification(number: int, share: Share) -> Specification:
            return Specification(
                worker=number,
                workers=WORKERS,
                share=share,
                folder=os.fsencode(tmp_path),
                targets=[target],
                request=RequestTemplate(b"/test/{user}"),
                protocol=DEFAULT_PROTOCOL,
                open_when="id",
                grammar=OURS,
                ports="kernel",
                reserved=[],
                stages=steady(None).stages,
                connect_timeout=60.0,
                reset_at_end=False,
                watch_every=1,
            )

        async with open_workers("tests.rigs.failing_worker") as workers:
            await Crew(workers, ledger, states, lambda _: None).start(specification, PLAN.shares(WORKERS))
            *victims, last = workers.all
            for worker in workers.all:
                await worker.channel.send(Go(time.monotonic(), EACH))
                assert isinstance(await worker.channel.receive(), Started)
                assert isinstance(await worker.channel.receive(), Settled)
            assert Counter(states.tolist()) == {State.OPEN: WORKERS * EACH}
            for number, victim in enumerate(victims, 1):
                await victim.channel.send(Halt())
                assert await victim.channel.receive() is None
                for user in range(PLAN.connections - EACH + 1, PLAN.connections + 1):
                    server_side[user].sendall(message(number))
                while ledger.rows["received"][last.number] < number * EACH:
                    await trio.sleep(0.01)
            assert np.count_nonzero(states[-EACH:] == State.OPEN) == EACH
        os.close(ledger.descriptor)

    with scripted_server(handle) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])

        async def soon() -> None:
            with trio.fail_after(60):
                await main(("127.0.0.1", port))

        trio.run(soon)
    errors = capfd.readouterr().err
    assert errors.count("told to") == WORKERS - 1
    assert "Bad file descriptor" not in errors
