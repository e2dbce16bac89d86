"""`python -m floodtest.loadgen.cluster.host`: one machine's part of a run that is led from elsewhere.

A `LocalSite` at the end of two pipes: orders come on standard input, readings go to standard output (both are
`host_messages` in `packets`). What it keeps while it runs is in a folder for temporary files, which is removed in the
end. It ends, and with it all its connections, when it is told to, when standard input ends, and when nothing has come
for `SILENCE` seconds: whoever leads the run is gone then, or the network between.

Bounded: orders are small and few; what nobody reads of it waits here, as one reading. Fails: what can't be done is
said as `Unable`, and ends it; a fault of ours is a traceback on standard error, whose last line the relay tells.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import trio

from floodtest.analysis.record.format import PORTS_FILE, STATES_FILE
from floodtest.flyweight.command.run import known_error
from floodtest.flyweight.errors import FloodtestError, Refused
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes.worker_count import workers_for
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster.packets import Unpacker, pack
from floodtest.loadgen.cluster.standing import sources_of, standing
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.preflight.checkup import checkup, render_checkup
from floodtest.loadgen.preflight.claims import claimed
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.outlook import Outlook, look
from floodtest.loadgen.preflight.ports import as_ranges, ports_to_avoid
from floodtest.loadgen.preflight.preview import preview, render_preview
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.preflight.tls_support import support_of
from floodtest.loadgen.run.journal import host_facts
from floodtest.loadgen.run.latencies import grammar_of
from floodtest.loadgen.run.local_site import LocalSite
from floodtest.loadgen.run.message_processes import removed_in_the_end
from floodtest.loadgen.run.site import Detail

PIECE = 1 << 16

QUICK_BEAT, QUICK_SHARE = 0.25, 0.05
"""Early in a ramp readings are so many seconds apart, and such a share of its time so far, up to `BEAT`."""


class Host:
    """One machine's part of a run."""

    def __init__(self, orders: trio.abc.ReceiveStream, answers: trio.abc.SendStream) -> None:
        self._orders = orders
        self._answers = answers
        self._one_at_a_time = trio.Lock()
        self._ramp_began = -math.inf
        self._ramping = trio.CancelScope()
        self._site: LocalSite | None = None
        self._options: RunOptions | None = None
        self._outlook: Outlook | None = None

    async def run(self) -> None:
        """Carry out orders until told to leave."""
        self._files_limit = raise_files_limit()
        await self._say(messages.Hello(version("floodtest"), os.getpid(), standing()))
        async with trio.open_nursery() as self._beside:
            self._beside.start_soon(self._beat)
            async with AsyncExitStack() as self._stack:
                try:
                    await self._obey()
                except (FloodtestError, MemoryError, BaseExceptionGroup) as error:
                    known = known_error(error)
                    if known is None:
                        raise
                    await self._say(messages.Unable(str(known), isinstance(known, Refused)))
            self._beside.cancel_scope.cancel()

    async def _obey(self) -> None:
        unpacker = Unpacker()
        while data := await self._receive():
            for packet in unpacker.feed(data):
                order = messages.decode_order(packet)
                if isinstance(order, messages.Leave):
                    return
                await self._carry_out(order)

    async def _receive(self) -> bytes | bytearray:
        """Return what comes next; nothing when nothing will come any more, or nothing has for too long."""
        with trio.move_on_after(messages.SILENCE):
            return await self._orders.receive_some(PIECE)
        return b""

    async def _carry_out(self, order: messages.ToHost) -> None:
        match order:
            case messages.Echo(sent=sent):
                await self._say(messages.Echoed(sent, time.monotonic()))
            case messages.Examine():
                await self._say(self._examine(order))
            case messages.Prepare():
                await self._say(self._prepare(order))
            case messages.Describe():
                await self._say(self._describe())
            case messages.Open():
                await self._open(order)
            case messages.Ramp():
                self._beside.start_soon(self._ramp, order.start)
            case messages.Halt():
                self._ramping.cancel()
                self._beside.start_soon(self._halt)
            case messages.SendColumns(number=number):
                self._beside.start_soon(self._send_columns, number)
            case messages.Close():
                self._beside.start_soon(self._close)

    # Before the run.

    def _examine(self, order: messages.Examine) -> messages.Examined:
        base_ip, addresses = sources_of(order.options, order.device)
        plan = order.options.plan
        if not plan.is_anonymous:  # whether there are addresses enough is for who shares the plan out
            plan = replace(plan, base_ip=base_ip, ips=max(addresses, -(-plan.connections // plan.each)))
        found = look(replace(order.options, plan=plan)).fit()
        facts = host_facts(Machine())
        return messages.Examined(found.connections, found.reason, base_ip, addresses, facts)

    def _prepare(self, order: messages.Prepare) -> messages.Prepared:
        self._options = replace(order.options, out=Path(tempfile.gettempdir()))
        self._outlook = look(self._options)
        return messages.Prepared(self._outlook.refusals(), self._outlook.notes(), self._outlook.forecast())

    def _describe(self) -> messages.Described:
        outlook = self._outlook
        assert outlook is not None, "it has a plan by then"
        shown, verdicts, obstacles = preview(outlook), outlook.verdicts(), outlook.refusals()
        connections, tls = outlook.demand.connections, support_of(outlook.machine)
        return messages.Described(
            shown,
            render_preview(shown),
            checkup(connections, verdicts, tls, obstacles),
            render_checkup(connections, verdicts, tls, obstacles),
        )

    # In the run.

    async def _open(self, order: messages.Open) -> None:
        options, outlook = self._options, self._outlook
        assert options is not None
        assert outlook is not None
        folder = Path(tempfile.mkdtemp(prefix="floodtest-host-"))
        await self._stack.enter_async_context(removed_in_the_end(folder))
        self._folder = folder
        self._stack.enter_context(claimed(options.plan) if options.ports == "explicit" else nullcontext())
        avoided = as_ranges(ports_to_avoid(options.plan, outlook.machine))
        workers = min(options.plan.connections, workers_for(options.plan.connections, self._files_limit))
        grammar = grammar_of(options, order.marks)
        ahead = order.clock_ahead_ns
        site = LocalSite(options, folder, avoided, workers, self._files_limit, outlook.users, grammar, ahead)
        await self._stack.enter_async_context(site.attached())
        await site.open(self._target(order, outlook), order.reset_at_end)
        self._site = site
        self._beside.start_soon(self._watch_memory, site)
        await self._done("open", site)

    @staticmethod
    def _target(order: messages.Open, outlook: Outlook) -> Target:
        place = order.place
        if place is None:
            assert outlook.target is not None
            return outlook.target
        return Target(tuple(place.addresses), place.asked, place.host, place.tls)

    async def _ramp(self, start: float) -> None:
        site = self._opened()
        self._ramp_began = trio.current_time()
        with self._ramping:
            await site.ramp(start)
        await self._done("ramp", site)

    async def _halt(self) -> None:
        if self._site is None:
            return
        await self._site.halt()
        await self._done("halt", self._site)

    async def _close(self) -> None:
        site = self._opened()
        await site.close()
        await self._done("close", site)

    async def _watch_memory(self, site: LocalSite) -> None:
        await site.wait_until_short()
        await self._say(messages.Short(await site.read(Detail.ACCOUNTS)))

    async def _send_columns(self, number: int) -> None:
        for name in (STATES_FILE, PORTS_FILE):
            with open(self._folder / name, "rb") as file:
                offset = 0
                while data := file.read(messages.COLUMN_PIECE):
                    await self._say(messages.Column(name, offset, data))
                    offset += len(data)
        await self._say(messages.ColumnsSent(number))

    def _opened(self) -> LocalSite:
        assert self._site is not None, "orders come in their sequence"
        return self._site

    # Signs of life.

    async def _beat(self) -> None:
        while True:
            await trio.sleep(self._pause())
            if self._site is None:
                await self._say(messages.Quiet())
            else:
                await self._say(messages.Said(await self._site.read(Detail.FIGURES)))

    def _pause(self) -> float:
        lasted = trio.current_time() - self._ramp_began
        return min(messages.BEAT, max(QUICK_BEAT, QUICK_SHARE * lasted))

    async def _done(self, order: messages.Order, site: LocalSite) -> None:
        await self._say(messages.Done(order, await site.read(Detail.EVERYTHING)))

    async def _say(self, message: messages.FromHost) -> None:
        async with self._one_at_a_time:
            await self._answers.send_all(pack(messages.encode(message)))


@asynccontextmanager
async def _pipes() -> AsyncIterator[tuple[trio.abc.ReceiveStream, trio.abc.SendStream]]:
    """Standard input and output; whatever else is printed goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    async with trio.lowlevel.FdStream(os.dup(0)) as orders, trio.lowlevel.FdStream(answers) as told:
        yield orders, told


async def _main() -> None:
    async with _pipes() as (orders, answers):
        try:
            await Host(orders, answers).run()
        except* trio.BrokenResourceError:
            pass  # nobody reads it any more: the relay has gone


if __name__ == "__main__":
    trio.run(_main)
    sys.exit(0)
