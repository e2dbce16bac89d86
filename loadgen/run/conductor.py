"""A run: starts the server and the workers, ramps, holds, records, and ends in order whatever happens.

In: `RunOptions`, checked. Out: a `Summary` and the run record. The stages are start, ramp, hold, messages (if there are
any) and close; a sampler writes a row a second beside them, and a guard ends the ramp before memory does. Nothing here
touches a connection: the workers do that, and their accounts are read where they write them. A stage that is
interrupted goes straight to close.
"""

import ipaddress
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, closing, nullcontext
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import trio

from floodtest.analysis import Summary
from floodtest.analysis.record import summary, thresholds
from floodtest.analysis.record.stages import OPENING, Stage
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.run import known_error
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import ExitCode, Refused, WorkerFault
from floodtest.flyweight.machine.files import raise_files_limit, workers_for
from floodtest.flyweight.machine.headroom import MemoryGauge
from floodtest.loadgen.client import orders
from floodtest.loadgen.client.accounts import LEDGER, State, count_states, create_columns, map_columns
from floodtest.loadgen.network.wish import HOST, Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Share
from floodtest.loadgen.preflight.claims import claimed
from floodtest.loadgen.preflight.outlook import look
from floodtest.loadgen.preflight.ports import as_ranges, ports_to_avoid
from floodtest.loadgen.preflight.server_files import process_tree
from floodtest.loadgen.preflight.targets import Target, request_around
from floodtest.loadgen.run.bundled import BundledServer, bundled_server, place_of
from floodtest.loadgen.run.conclusion import Facts, MessageFacts, conclude
from floodtest.loadgen.run.crew import Crew, open_crew
from floodtest.loadgen.run.generator import (
    IDS,
    STORE,
    Friends,
    generate,
    load_friends,
    look_into_store,
    removed_in_the_end,
)
from floodtest.loadgen.run.journal import Journal
from floodtest.loadgen.run.sampling import Sampler
from floodtest.loadgen.run.watch import Console
from floodtest.wire.control import Generated, Stats
from floodtest.wire.http import authority
from floodtest.wire.protocols import CHUNKED

DRAIN_SECONDS = 60.0
"""The longest wait for what the server has sent, and that has not arrived."""

QUIET_SECONDS = 2.0
"""Nothing that has been sent arrives any more when nothing has for so long."""

GUARD_SECONDS = 0.25

RAMP_SHARE = 0.05
LEAST_INTERVAL = 0.1
"""In a ramp samples are so many seconds apart at the least, and such a share of its time so far at the most: a slope
takes samples at different numbers of connections, and 50,000 are open within two seconds."""


class Run:
    """One run, from the plan to the summary."""

    def __init__(self, options: RunOptions, console: Console, network: Network = HOST) -> None:
        self._options = options
        self._network = network
        self._plan = options.plan
        self._console = console
        self._files_limit = raise_files_limit()
        self._ramp_began = self._ramp_ended = time.monotonic()
        self._reasons: list[str] = []
        self._interrupted = False
        self._server: BundledServer | None = None
        self._figures: Stats | None = None
        self._silent = False
        self._unsampled = False
        self._under_way = False
        self._stage = trio.CancelScope()
        self._repeated_before = 0
        self._generated: Generated | None = None

    async def execute(self) -> Summary:
        """Run, and return what came of it; Refused before anything was opened, WorkerFault when it could not start.

        What would have been a refusal before, such as memory that can't be had, is a WorkerFault once it is under way.
        """
        try:
            async with trio.open_nursery() as outside:
                await outside.start(self._hear_signals)
                summary = await self._execute()
                outside.cancel_scope.cancel()
        except (Refused, MemoryError, BaseExceptionGroup) as error:
            known = known_error(error)
            if self._under_way and isinstance(known, Refused):
                raise WorkerFault(f"The run broke off: {known} Its record is {self._journal.folder}.") from error
            raise
        return summary

    async def _execute(self) -> Summary:
        outlook = look(self._options, self._network)
        outlook.refuse()
        if (note := outlook.note_on_ports()) is not None:
            self._console.say(note)
        self._forecast = outlook.forecast()
        self._avoided = as_ranges(ports_to_avoid(self._plan, outlook.machine))
        self._count = min(self._plan.connections, workers_for(self._plan.connections, self._files_limit))
        self._ledger = Ledger(LEDGER, self._count)
        with self._claim(), closing(self._open_journal()) as self._journal:
            folder = self._journal.folder
            self._console.say(f"The record of this run is {folder}.")
            create_columns(folder, self._plan.connections)
            self._states, self._ports = map_columns(folder, 1, self._plan.connections)
            self._journal.enter(Stage.START)
            async with (
                self._target(outlook.target) as reached,
                self._open_crew() as crew,
                trio.open_nursery() as listening,  # to the crew, which closing waits for: around all that may fail
                trio.open_nursery() as beside,
            ):
                with self._interruptible():
                    await self._start(crew, reached, listening)
                    beside.start_soon(self._sample_on)
                    await self._ramp(crew, beside)
                    await self._hold()
                    await self._send_messages()
                with trio.CancelScope(shield=True):
                    summary = await self._close(crew)
                beside.cancel_scope.cancel()
                listening.cancel_scope.cancel()
        return summary

    def _claim(self) -> AbstractContextManager[None]:
        """The source pairs are ours while the run lasts; those that the kernel chooses are nobody's."""
        return claimed(self._plan) if self._options.ports == "explicit" else nullcontext()

    def _open_journal(self) -> Journal:
        options, prediction = self._options, msgspec.to_builtins(self._forecast)
        return Journal(options.out, options.recorded(), prediction, self._plan.connections, self._ledger, self._console)

    # Stages.

    def _interruptible(self) -> trio.CancelScope:
        """Open a scope that a Ctrl-C ends, or has ended before it began."""
        self._stage = trio.CancelScope()
        if self._interrupted:
            self._stage.cancel()
        return self._stage

    @asynccontextmanager
    async def _target(self, target: Target | None) -> AsyncIterator[Target]:
        """The target that was named, or the bundled server as long as the block lasts."""
        if target is not None:
            yield target
            return
        log = self._journal.folder / "server.log"
        place = place_of(self._network, ipaddress.ip_address(self._plan.base_ip).version)
        users, model = self._plan.connections, self._options.server_model
        async with self._store() as store, bundled_server(users, store, log, place, model) as self._server:
            self._figures = await self._server.stats()
            if self._figures is None:
                raise WorkerFault(f"The bundled server came up and does not answer. See {log}.")
            yield Target(self._server.address, request_around("/test/{user}", authority(*self._server.address)))

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Path | None]:
        """The store of subscriptions: the one that was named, one made of a file and gone with the block, or none."""
        options, store, users = self._options, self._journal.folder / STORE, self._plan.connections
        if options.friends is None:
            if options.db is not None:
                with self._interruptible():
                    self._say(await look_into_store(options.db, users))
            yield options.db
            return
        self._console.say(f"Loading {options.friends} into a store for the server.")
        ids = self._journal.folder / IDS if options.renumber else None
        async with removed_in_the_end(store) as held:
            with self._interruptible() as scope:
                friends = Friends(options.friends, options.columns, ids)
                self._say(await load_friends(friends, store, held, users))
            yield None if scope.cancelled_caught else store

    def _say(self, lines: list[str]) -> None:
        for line in lines:
            self._console.say(line)

    @asynccontextmanager
    async def _open_crew(self) -> AsyncIterator[Crew]:
        complain, model = self._reasons.append, self._options.client
        async with open_crew(self._ledger, self._states, complain, model) as self._crew:
            yield self._crew

    async def _start(self, crew: Crew, target: Target, tasks: trio.Nursery) -> None:
        def specification(number: int, share: Share) -> orders.Specification:
            return orders.Specification(
                worker=number,
                workers=self._count,
                share=share,
                folder=os.fsencode(self._journal.folder.absolute()),
                target=target.address,
                request=target.request,
                protocol=CHUNKED.name,
                ports=self._options.ports,
                reserved=self._avoided,
                stages=self._options.pacer.stages,
                connect_timeout=self._options.connect_timeout,
                reset_at_end=self._server is not None,
            )

        await crew.start(specification, self._plan.shares(self._count))
        tasks.start_soon(crew.listen)
        self._sampler = Sampler(self._states, self._ledger, self._client_pids, self._server_pids())
        await self._sample(everything=True)

    async def _ramp(self, crew: Crew, tasks: trio.Nursery) -> None:
        self._under_way = True
        self._journal.enter(Stage.RAMP)
        self._ramp_began = self._ramp_ended = time.monotonic()
        guard = trio.CancelScope()
        tasks.start_soon(self._guard, crew, guard)
        try:
            await crew.ramp(self._ramp_began, self._options.pacer, self._options.in_flight)
        finally:
            self._ramp_ended = time.monotonic()
        guard.cancel()
        await self._sample(everything=True)

    async def _hold(self) -> None:
        self._journal.enter(Stage.HOLD)
        await self._sample(everything=True)
        server, tick = self._server, self._options.tick
        if server is not None and tick is not None:
            await server.set_tick(tick)
        with trio.move_on_after(self._options.hold):
            while not self._all_gone():  # the accounts are plain memory: there is nobody to set an event
                await trio.sleep(GUARD_SECONDS)
        if server is not None and tick is not None:
            await server.set_tick(None)
            await self._drain(server, self._ticks_on_their_way)
        await self._sample(everything=True)

    async def _send_messages(self) -> None:
        options, server = self._options.messages, self._server
        if options is None or server is None:
            return
        self._journal.enter(Stage.MESSAGES)
        self._repeated_before = int(self._ledger.total("repeated"))
        await self._sample(everything=True)
        users, folder = self._plan.connections, self._journal.folder
        self._generated = await generate(options, users, server.control_url, server.token, folder)
        await self._drain(server, self._messages_on_their_way)
        await self._sample(everything=True)

    def _ticks_on_their_way(self, figures: Stats) -> int:
        sent = sum(tick.sent for tick in figures.ticks)
        left = sent - sum(count for count, _, _ in self._ledger.ticks().values())
        return abs(left) + 1 if figures.ticking else left  # fronts count what they write a batch later

    def _messages_on_their_way(self, figures: Stats) -> int:
        return int(figures.routed - figures.undeliverable - self._ledger.total("messages"))

    async def _drain(self, server: BundledServer, on_their_way: Callable[[Stats], int]) -> None:
        """Wait until everything that was sent has arrived, or nothing has come for two seconds."""
        last, since = -1, time.monotonic()
        with trio.move_on_after(DRAIN_SECONDS):
            while time.monotonic() - since < QUIET_SECONDS:
                figures = await server.stats()
                if figures is None:
                    return
                self._figures = figures
                left = on_their_way(figures)
                if left <= 0:
                    return
                if left != last:
                    last, since = left, time.monotonic()
                await trio.sleep(0.05)

    async def _close(self, crew: Crew) -> Summary:
        if self._interrupted and self._server is not None and self._journal.stage == Stage.MESSAGES:
            await self._drain(self._server, self._messages_on_their_way)
            await self._sample(everything=True)
        await crew.settle()
        counts = count_states(self._states)
        self._journal.enter(Stage.CLOSE)
        self._console.say(f"Closing {counted(counts[State.OPEN], 'connections')}.")
        self._journal.write(conclude(self._facts(counts)))
        await crew.close()
        before, counts = counts, count_states(self._states)
        if counts != before and self._server is not None:  # some ended before their worker heard that it closes
            self._figures = await self._server.stats() or self._figures
        summary = conclude(self._facts(counts))
        self._journal.conclude(summary)
        return conclude(self._facts(counts)) if self._journal.fault is not None else summary

    def _all_gone(self) -> bool:
        """Whether nothing is left to hold."""
        return not np.any(self._states == State.OPEN.value)

    # Beside the stages.

    async def _hear_signals(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if self._interrupted:
                    os._exit(ExitCode.INTERRUPTED)  # all processes of ours notice that we are gone, and end
                self._interrupted = True
                self._console.say("Interrupted: closing in order. Once more to end at once.")
                self._stage.cancel()

    async def _guard(self, crew: Crew, scope: trio.CancelScope) -> None:
        """End the ramp before memory runs out."""
        gauge = MemoryGauge(self._options.reserve)
        with scope:
            while (room := gauge.read()).free > 0:
                await trio.sleep(GUARD_SECONDS)
            await crew.halt()
            self._reasons.append(
                f"memory: the ramp was ended with {room.available >> 20:,} MiB of {room.source} available, to leave "
                f"{room.reserve >> 20:,} MiB free"
            )

    async def _sample_on(self) -> None:
        shown = due = time.monotonic()
        while True:
            due += self._interval()
            await trio.sleep(max(0.0, due - time.monotonic()))
            is_shown = due - shown >= self._options.interval * 0.999
            await self._sample(shown=is_shown)
            shown = due if is_shown else shown

    def _interval(self) -> float:
        """Return the seconds to the next sample: as asked for, but fewer early in the ramp."""
        if self._journal.stage not in OPENING:
            return self._options.interval
        lasted = time.monotonic() - self._ramp_began if self._journal.stage == Stage.RAMP else 0.0
        return min(self._options.interval, max(LEAST_INTERVAL, RAMP_SHARE * lasted))

    async def _sample(self, everything: bool = False, shown: bool = True) -> None:
        figures = None if self._server is None else await self._server.stats()
        self._silent = self._server is not None and figures is None
        self._figures = figures or self._figures
        try:
            sample = self._sampler.read(self._journal.stage, figures, everything)
        except OSError as error:  # files of /proc that can't be opened now: the run itself does not need them
            if not self._unsampled:
                self._reasons.append(f"samples: some are missing, since {error.filename}: {error.strerror}")
            self._unsampled = True
            return
        self._journal.add(sample, shown)

    def _client_pids(self) -> list[int]:
        return [os.getpid(), *self._crew.pids]

    def _server_pids(self) -> Callable[[], list[int]] | None:
        """How to find the server's processes: those of the bundled one, the tree of --server-pid, or nothing."""
        if self._server is not None:
            return lambda: [] if self._figures is None else self._figures.pids.all
        root = self._options.server_pid
        return None if root is None else partial(process_tree, root)

    # What came of it.

    def _messages_facts(self) -> MessageFacts | None:
        if self._options.messages is None:
            return None
        return MessageFacts(self._options.messages.planned, self._generated, self._repeated_before)

    def _facts(self, counts: dict[State, int]) -> Facts:
        return Facts(
            plan=self._plan,
            explicit_ports=self._options.ports == "explicit",
            folder=str(self._journal.folder),
            models=summary.Models(self._options.client, None if self._options.target else self._options.server_model),
            counts=counts,
            ledger=self._ledger,
            lost=self._crew.lost,
            samples=self._journal.samples,
            server=self._figures,
            server_ended=self._server is not None and self._server.has_ended,
            server_silent=self._silent,
            ramp_seconds=self._ramp_ended - self._ramp_began,
            workers=self._count,
            files_limit=self._files_limit,
            interrupted=self._interrupted,
            reasons=[*self._reasons, *([] if self._journal.fault is None else [f"record: {self._journal.fault}"])],
            ports=self._ports,
            messages=self._messages_facts(),
            network=summary.Network(
                self._network.kind, self._network.link, self._network.hash_entries, self._network.reason
            ),
            predicted_bytes=self._forecast.total - self._forecast.hash_table,
            conditions=[thresholds.parse(text) for text in self._options.fail_if],
        )
