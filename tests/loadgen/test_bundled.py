"""The bundled server as a run sees it: what its control API says, or that it says nothing."""

from typing import Any, cast

import httpx
import msgspec
import pytest
import trio

from floodtest.flyweight.errors import WorkerFault
from floodtest.loadgen.run.bundled import BundledServer
from floodtest.wire.control_client import ControlClient
from tests.rigs.figures import stats


def ask(answer: httpx.Response | None) -> tuple[Any, bool]:
    """Return the figures of a server that answers each call so, or not at all, and whether it takes a tick."""

    def handle(request: httpx.Request) -> httpx.Response:
        if answer is None:
            raise httpx.ConnectError("refused")
        return answer

    async def main() -> tuple[Any, bool]:
        async with ControlClient("http://server", None, transport=httpx.MockTransport(handle)) as control:
            server = BundledServer(cast(Any, None), ("127.0.0.1", 8000), control, None)
            return await server.stats(), await server.set_tick(2.5)

    return trio.run(main)


def test_figures_are_those_of_the_control_api() -> None:
    both = {**msgspec.to_builtins(stats(routed=7), str_keys=True), "seconds": 2.5}
    assert ask(httpx.Response(200, json=both)) == (stats(routed=7), True)


@pytest.mark.parametrize("answer", [None, httpx.Response(503, text="busy")])
def test_a_server_that_does_not_answer_is_no_fault_of_ours(answer: httpx.Response | None) -> None:
    assert ask(answer) == (None, False)


def test_figures_of_another_type_are_a_fault_that_is_named() -> None:
    wrong = {**msgspec.to_builtins(stats(), str_keys=True), "fronts": 2}
    with pytest.raises(WorkerFault, match=r"of another version: .* at `\$\.fronts`"):
        ask(httpx.Response(200, json=wrong))
