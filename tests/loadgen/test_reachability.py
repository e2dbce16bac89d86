"""loadgen.run.reachability: when a ramp is in vain, by a virtual clock; and a run where nobody listens."""

import errno
import os
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

from floodtest.analysis import load
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.loadgen.client.accounts import LEDGER, Phase
from floodtest.loadgen.run.reachability import LEAST, connections_in_vain
from tests.rigs.support import OUR_NETWORK, flood

PATIENCE = 10.0
REFUSED = Phase.CONNECT, errno.ECONNREFUSED

Act = Callable[[Ledger], None]


def looked_at(play: Callable[[Ledger], Awaitable[None]]) -> tuple[int | None, float]:
    """Return what is found within 100 seconds while something happens to a ledger, and when; None: nothing yet."""

    async def main() -> tuple[int | None, float]:
        ledger, began, found = Ledger(LEDGER, 2), trio.current_time(), None
        with trio.move_on_after(100):
            async with trio.open_nursery() as tasks:
                tasks.start_soon(play, ledger)
                found = await connections_in_vain(ledger, PATIENCE)
                tasks.cancel_scope.cancel()
        os.close(ledger.descriptor)
        return found, trio.current_time() - began

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def begin(ledger: Ledger, count: int = 1) -> None:
    ledger.rows["attempts"][1] += count


def refuse(ledger: Ledger, phase: Phase = Phase.CONNECT, code: int = errno.ECONNREFUSED, count: int = LEAST) -> None:
    ledger.rows["failures"][0, phase, code] += count


def test_nobody_is_waited_for_as_long_as_one_connection_may_take() -> None:
    async def play(ledger: Ledger) -> None:
        await trio.sleep(20)  # a pause before the first: the patience begins with it
        begin(ledger, 17)
        refuse(ledger)

    found, seconds = looked_at(play)
    assert (found, abs(seconds - (20 + PATIENCE)) < 0.5) == (17, True)


def test_what_is_dropped_on_the_way_is_known_when_it_has_timed_out() -> None:
    async def play(ledger: Ledger) -> None:
        begin(ledger, 17)
        await trio.sleep(PATIENCE + 3)
        refuse(ledger, code=errno.ETIMEDOUT)

    found, seconds = looked_at(play)
    assert (found, abs(seconds - (PATIENCE + 3)) < 0.5) == (17, True)


def connect(ledger: Ledger) -> None:
    ledger.rows["connect_us"][1, 3] += 1


def open_one(ledger: Ledger) -> None:
    ledger.rows["opens"][0] += 1


def answer_wrongly(ledger: Ledger) -> None:
    refuse(ledger, Phase.RESPONSE, 404)


@pytest.mark.parametrize("act", [connect, open_one, answer_wrongly])
def test_a_server_that_starts_late_is_not_given_up(act: Act) -> None:
    async def play(ledger: Ledger) -> None:
        begin(ledger, 17)
        refuse(ledger)
        await trio.sleep(PATIENCE - 1)
        act(ledger)

    found, seconds = looked_at(play)
    assert (found, abs(seconds - (PATIENCE - 1)) < 0.5) == (0, True)


def test_as_long_as_nothing_was_begun_or_failed_nothing_is_known() -> None:
    async def idle(ledger: Ledger) -> None:
        """Begin nothing."""

    async def wait(ledger: Ledger) -> None:
        begin(ledger)

    async def fail_now_and_then(ledger: Ledger) -> None:
        """As at --rate 0.1."""
        for _ in range(LEAST - 1):
            begin(ledger)
            refuse(ledger, count=1)
            await trio.sleep(10)

    assert looked_at(idle)[0] is looked_at(wait)[0] is looked_at(fail_now_and_then)[0] is None


def test_a_run_against_a_port_at_which_nobody_listens_ends_early_and_loses_no_record(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind((f"{OUR_NETWORK}.9", 0))  # taken, and not listened at
        host, port = nobody.getsockname()
        code, summary, errors = flood(
            *(tmp_path, "--target", f"http://{host}:{port}/{{user}}", "--connections", "3000", "--rate", "100"),
            *("--connect-timeout", "1s", "--hold", "20", "--messages", "10/s"),
            *("--publish", f"POST http://{host}:{port}/{{user}}"),
        )
    assert (code, summary["outcome"]) == (4, "shortfall"), errors
    begun = summary["connections"]["attempts"]
    assert 50 < begun < 2500
    assert summary["connections"]["failed"] == {"ECONNREFUSED@connect": begun}
    assert summary["connections"]["not_reached"] == 3000 - begun
    first, *_, second_last, last = summary["reasons"]
    found = re.fullmatch(r"target: none of (\d+) connections came about in 1 s, so that no more were begun", first)
    assert found is not None, first
    assert 50 < int(found[1]) <= begun  # some more may be begun until the order has come
    assert second_last == "messages: no connection was open any more to get them"
    assert last == "messages: 0 of 600 planned were published"
    (cause,) = summary["causes"]
    assert cause["what"] == "Nobody listens at the target."
    record = load(summary["run"])
    assert {"start", "ramp", "hold", "messages"} == {sample.stage for sample in record.samples}
    assert np.bincount(record.read_states(), minlength=5).tolist() == [
        3000 - begun,
        0,
        0,
        begun,
        0,
    ]
