"""A run: the order of its stages, and its ending in order whatever happens.

In: `RunOptions`, checked, and watchers. Out: a `Summary`, and the run record, which is one of the watchers. Between
start and close come the stages of the scenario (`loadgen.plan.scenario`, `run.stages`), with a sampler beside them. The
work is done by sites (`run.site`) and the server's side (`run.server_side`). A stage that is interrupted, or in which a
site runs short of memory, goes straight to close.
"""

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
import trio

from floodtest.analysis import Summary
from floodtest.analysis.record import summary as sums
from floodtest.analysis.record import thresholds
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.run import known_error
from floodtest.flyweight.errors import Refused, WorkerFault
from floodtest.flyweight.machine.files import raise_files_limit
from floodtest.flyweight.processes.worker_count import workers_for
from floodtest.loadgen.network.wish import HOST, Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.scenario import scenario
from floodtest.loadgen.preflight.claims import claimed
from floodtest.loadgen.preflight.outlook import Outlook, look
from floodtest.loadgen.preflight.ports import as_ranges, ports_to_avoid
from floodtest.loadgen.run.conclusion import Facts, MessageFacts, conclude
from floodtest.loadgen.run.elsewhere import Crowd, Elsewhere
from floodtest.loadgen.run.interruption import Interruption
from floodtest.loadgen.run.journal import Journal
from floodtest.loadgen.run.latencies import grammar_of
from floodtest.loadgen.run.local_site import LocalSite
from floodtest.loadgen.run.reading import Reading
from floodtest.loadgen.run.sampling import Sampler
from floodtest.loadgen.run.server_side import ServerSide, server_side
from floodtest.loadgen.run.site import Detail, Sites
from floodtest.loadgen.run.stages import Progress, StageContext, drain_messages, end_ticks, perform
from floodtest.loadgen.run.watch import Watcher, Watchers


class Run:
    """One run, from the plan to the summary."""

    def __init__(
        self,
        options: RunOptions,
        watchers: Sequence[Watcher] = (),
        network: Network = HOST,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """`elsewhere`: has other machines open the connections; None: this one does."""
        self._options = options
        self._network = network
        self._elsewhere = elsewhere
        self._files_limit = raise_files_limit()
        self._watchers = Watchers(watchers)
        self._interruption = Interruption(self._watchers.say, self._watchers.close)
        self._progress = Progress()
        self._is_cut_short = False
        foreign = options.messages is not None and not options.is_ours
        self._marks = secrets.token_hex(4) if foreign else None

    async def execute(self) -> Summary:
        """Run, and return what came of it; Refused before anything was opened, WorkerFault when it could not start.

        What would have been a refusal before, such as memory that can't be had, is a WorkerFault once it is under way.
        """
        try:
            async with trio.open_nursery() as outside:
                await outside.start(self._interruption.listen)
                summary = await self._execute()
                outside.cancel_scope.cancel()
        except (Refused, MemoryError, BaseExceptionGroup) as error:
            known = known_error(error)
            if self._progress.is_under_way and isinstance(known, Refused):
                raise WorkerFault(f"The run broke off: {known} Its record is {self._journal.folder}.") from error
            if known is None or known is error:
                raise
            raise known from error  # by itself: a program catches it by its type
        finally:
            self._watchers.close()
        return summary

    async def _execute(self) -> Summary:
        outlook = look(self._options, self._network)
        outlook.refuse()
        for note in outlook.notes():
            self._watchers.say(note)
        if self._elsewhere is not None:
            async with self._elsewhere(self._options) as crowd:
                return await self._execute_elsewhere(crowd, outlook)
        workers = min(self._options.plan.connections, workers_for(self._options.plan.connections, self._files_limit))
        with self._claim():
            self._begin_record(outlook)
            avoided = as_ranges(ports_to_avoid(self._options.plan, outlook.machine))
            folder, files_limit, users = self._journal.folder, self._files_limit, outlook.users
            grammar = grammar_of(self._options, self._marks)
            sites = Sites([LocalSite(self._options, folder, avoided, workers, files_limit, users, grammar)])
            self._enter(Stage.START)
            return await self._conduct(sites, outlook)

    async def _execute_elsewhere(self, crowd: Crowd, outlook: Outlook) -> Summary:
        """Run with a site for each of the machines elsewhere, once they have agreed to their parts."""
        with self._interruption.scope() as preparing:
            await crowd.prepare(self._watchers.say)
        if preparing.cancelled_caught:
            raise KeyboardInterrupt
        if crowd.options != self._options:
            self._options = crowd.options
            outlook = look(self._options, self._network)
        self._begin_record(outlook)
        sites, writer = crowd.settle(self._journal.folder, self._marks)
        self._watchers.add(writer)
        self._enter(Stage.START)
        return await self._conduct(Sites(sites, crowd.lead), outlook)

    def _claim(self) -> AbstractContextManager[None]:
        """The source pairs are ours while the run lasts; those that the kernel chooses are nobody's."""
        return claimed(self._options.plan) if self._options.ports == "explicit" else nullcontext()

    def _begin_record(self, outlook: Outlook) -> None:
        forecast = outlook.forecast()
        self._predicted_bytes = forecast.held
        options, hidden = self._options.recorded(), self._options.hidden
        name = self._options.name
        self._journal = Journal(self._options.out, options, msgspec.to_builtins(forecast), hidden, name)
        self._watchers.put_first(self._journal)  # so that a person is shown nothing that the record has not got
        self._watchers.say(f"The record of this run is {self._journal.folder}.")

    def _enter(self, stage: Stage) -> None:
        self._progress.stage = stage
        self._watchers.stage(stage)

    async def _conduct(self, sites: Sites, outlook: Outlook) -> Summary:
        """Go through the stages. Sites are left before the server, whose sockets would linger if it closed first."""
        folder, interruption, say = self._journal.folder, self._interruption, self._watchers.say
        async with (
            server_side(self._options, outlook, self._network, folder, interruption, say) as server,
            sites.attached(),
            trio.open_nursery() as beside,
        ):
            sampler = Sampler(sites, server, self._progress, self._watchers, self._options.interval)
            options = self._options
            users, first_user, tls = options.plan.connections, options.plan.first_user, options.tls_of_publishing
            progress, marks = self._progress, self._marks
            context = StageContext(sites, server, progress, sampler.take, folder, first_user, users, marks, tls)
            with interruption.scope() as stages:
                await sites.open(server.target, reset_at_end=server.is_bundled)
                await sampler.take()
                beside.start_soon(sampler.take_on)
                async with trio.open_nursery() as guarded:
                    guarded.start_soon(self._end_when_short, sites, stages)
                    for stage in scenario(self._options):
                        self._enter(stage.name)
                        await perform(stage, context)
                    guarded.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                summary = await self._close(context, sampler)
            beside.cancel_scope.cancel()
        return summary

    async def _end_when_short(self, sites: Sites, stages: trio.CancelScope) -> None:
        """End the stages before memory runs out."""
        await sites.wait_until_short()
        self._is_cut_short = True
        self._watchers.say("Memory runs short: closing in order.")
        stages.cancel()

    @property
    def _is_over_early(self) -> bool:
        return self._interruption.has_come or self._is_cut_short

    async def _close(self, context: StageContext, sampler: Sampler) -> Summary:
        sites, server = context.sites, context.server
        if self._is_over_early and self._progress.stage == Stage.MESSAGES:
            await drain_messages(context)
        if self._is_over_early and self._progress.stage == Stage.HOLD and self._options.tick is not None:
            await end_ticks(sites, server)
        await sites.halt()
        reading = await sites.read(Detail.ACCOUNTS)
        self._enter(Stage.CLOSE)
        self._watchers.say(f"Closing {counted(reading.states.open, 'connections')}.")
        self._watchers.summary(self._conclude(reading, context, sampler), is_final=False)
        await sites.close()
        before, reading = reading, await sites.read(Detail.ACCOUNTS)
        if reading.states != before.states:  # some ended before their worker heard that it closes
            await server.ask()
        while True:
            summary, failures = self._conclude(reading, context, sampler), self._failures()
            self._watchers.summary(summary, is_final=True)
            if self._failures() == failures:  # each watcher fails once, so there is an end
                return summary

    # What came of it.

    def _failures(self) -> tuple[list[str], list[str]]:
        """Return what became of the record, which makes the run fall short, and of other watchers, which does not."""
        fault = self._journal.fault or self._watchers.failure_of(self._journal)
        return [] if fault is None else [f"record: {fault}"], self._watchers.failures(besides=self._journal)

    def _model_of(self, server: ServerSide) -> str | None:
        """Return how the server holds its connections, where it is ours."""
        if not self._options.is_ours:
            return None
        return self._options.server_model if server.figures is None else server.figures.model

    def _conclude(self, reading: Reading, context: StageContext, sampler: Sampler) -> Summary:
        options, progress, network, server = self._options, self._progress, self._network, context.server
        messages = None
        if options.messages is not None:
            messages = MessageFacts(options.messages.planned, progress.generated, progress.repeated_before)
        of_record, of_watchers = self._failures()
        facts = Facts(
            folder=str(context.folder),
            models=sums.Models(options.client, self._model_of(server)),
            clock_offset=None if options.latency is None else options.clock_offset or 0.0,
            protocol=options.spoken,
            opened_when=options.opens_when,
            is_verified=not options.tls.insecure,
            reading=reading,
            samples=sampler.samples,
            server=server.figures,
            other_end=server.described(reading.put_off),
            in_flight=options.in_flight,
            server_ended=server.has_ended,
            server_silent=server.is_silent,
            server_is_bundled=server.is_bundled,
            ramp_seconds=progress.ramp_ended - progress.ramp_began,
            interrupted=self._interruption.has_come,
            cut_short=self._is_cut_short,
            reasons=[*of_record, *server.reasons],
            remarks=of_watchers,
            messages=messages,
            network=sums.Network(network.kind, network.link, network.hash_entries, network.reason),
            predicted_bytes=self._predicted_bytes,
            conditions=[thresholds.parse(text) for text in options.fail_if],
        )
        return conclude(facts)
