"""The site that is another machine: what a run tells it goes there as orders, and what it says comes as readings.

In: a `RemoteHost` that has agreed to its part of the plan, and where its users are in the columns of the run. Out: as
`loadgen.run.site` says. A reading is the one that came last, a second old at the most, and newer than the order before
it. The columns of the host are copied to those of the run when its ramp has ended, and once more when it has closed.

A host that is lost takes its connections along: those that were open count as closed early and those in flight as
failed, both as `HOST_LOST`, and a reason names it. Its rows in the columns are made to agree with these counts, so that
of single users they say only what was so at the end of the ramp.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import trio

from floodtest.analysis.record.format import STATES_FILE
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.client.accounts import State, map_columns
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster.clock import Offset
from floodtest.loadgen.cluster.remote_host import RemoteHost
from floodtest.loadgen.preflight.targets import Target
from floodtest.loadgen.run.reading import Figures, Reading, States, by_this_clock
from floodtest.loadgen.run.site import Detail

HOST_LOST = "HOST_LOST"
"""How connections are said to have ended whose host was lost, as far as anybody knows."""

OF_PROCESSES = ("client_private", "client_cpu")
OF_NETWORK = ("sockets", "tcp_inuse", "tcp_time_wait", "tcp_queued")
"""Figures of each host; of each network; all others are of a machine, and several hosts of it say the same."""


class RemoteSite:
    """The part of a run that is on another machine: `count` users, with `before` others before them in the columns."""

    def __init__(
        self,
        host: RemoteHost,
        offset: Offset,
        folder: Path,
        before: int,
        count: int,
        *,
        marks: str | None,
        finds_target: bool,
        tells_machine: bool = True,
        tells_network: bool = True,
    ) -> None:
        """`finds_target`: it goes to the addresses that its own look-up has found. Of hosts on one machine, or in one
        network, one tells that one's figures.
        """
        self._host = host
        self._offset = offset
        self._states, self._ports = map_columns(folder, 1 + before, count)
        self._marks = marks
        self._finds_target = finds_target
        self._not_told = {
            name
            for name in Figures.__struct_fields__
            if name not in OF_PROCESSES and not (tells_network if name in OF_NETWORK else tells_machine)
        }
        self._is_closing = False
        self._at_the_end: Reading | None = None
        host.take_piece = self._take_piece

    @property
    def name(self) -> str:
        return self._host.name

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Tell the host to leave when the block ends."""
        try:
            yield
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(messages.BEAT):
                await self._host.send(messages.Leave())

    async def open(self, target: Target, reset_at_end: bool) -> None:
        """Have the host start its workers; Refused or WorkerFault where it can't."""
        there = messages.Place(list(target.addresses), target.asked, target.host, target.tls)
        place = None if self._finds_target else there
        ahead_ns = round(self._offset.ahead * 1e9)
        await self._host.send(messages.Open(place, reset_at_end, ahead_ns, self._marks))
        await self._host.expect_done("open")

    async def ramp(self, start: float) -> None:
        """Have it open all connections, from a time of this machine's clock on."""
        await self._host.send(messages.Ramp(start - self._offset.ahead))
        await self._host.wait_for_done("ramp")
        await self._host.fetch_columns()

    async def wait_until_empty(self) -> None:
        """Return when its latest reading has no open connections, or it is lost."""
        while self._host.why_lost is None and self._reading().states.open:
            await self._host.wait_for_change()

    async def wait_until_short(self) -> None:
        """Return when it says that its memory runs short."""
        while not self._host.is_short:
            await self._host.wait_for_change()

    async def halt(self) -> None:
        """Have it begin no more connections."""
        await self._host.send(messages.Halt())
        await self._host.wait_for_done("halt")

    async def close(self) -> None:
        """Have it close all connections, and fetch what it has written down of them."""
        if self._host.why_lost is not None:
            return
        self._is_closing = True
        await self._host.send(messages.Close())
        await self._host.wait_for_done("close")
        await self._host.fetch_columns()

    async def read(self, detail: Detail) -> Reading:
        """Return what it said last; once it is lost, that all its connections have ended."""
        await trio.lowlevel.checkpoint()
        return self.told_now()

    def told_now(self) -> Reading:
        """Return what `read` does."""
        if self._host.why_lost is None:
            return self._as_part(self._reading())
        if self._at_the_end is None:
            self._at_the_end = self._as_part(self._without_host())
            self._settle_states(self._at_the_end.states)
        return self._at_the_end

    def _reading(self) -> Reading:
        assert self._host.reading is not None, "it is read when it has opened"
        return self._host.reading

    def _as_part(self, reading: Reading) -> Reading:
        """Return a reading by this machine's clock, its reasons under its name, without what another host tells."""
        figures = reading.figures
        if figures is not None and self._not_told:
            zeros = {name: 0 for name in self._not_told if getattr(figures, name) is not None}
            figures = msgspec.structs.replace(figures, **zeros)
        reasons = [f"{self.name}: {reason}" for reason in reading.reasons]
        by_this = by_this_clock(reading, -round(self._offset.ahead * 1e9))
        return msgspec.structs.replace(by_this, figures=figures, reasons=reasons)

    def _without_host(self) -> Reading:
        """Return the last reading with all that was open or in flight counted as lost with the host."""
        last = self._reading()
        if self._is_closing:
            why = f"host lost: {self._host.why_lost}, while it closed its connections; its columns are not whole"
            return msgspec.structs.replace(last, reasons=[*last.reasons, why])
        before = last.states
        taken = counted(before.open + before.in_flight, "connections")
        why = f"host lost: {self._host.why_lost}; {taken} went with it ({self._host.address})"
        failed, closed_by = dict(last.failed), dict(last.closed_by)
        for counts, name, count in (
            (failed, f"{HOST_LOST}@host", before.in_flight),
            (closed_by, HOST_LOST, before.open),
        ):
            if count:
                counts[name] = counts.get(name, 0) + count
        states = States(before.not_reached, 0, 0, before.failed + before.in_flight, before.closed_early + before.open)
        return msgspec.structs.replace(
            last, states=states, failed=failed, closed_by=closed_by, reasons=[*last.reasons, why]
        )

    # Columns.

    def columns(self) -> tuple[bytes, bytes]:
        """Return its rows of both columns of the run."""
        return self._states.tobytes(), self._ports.tobytes()

    def _take_piece(self, piece: messages.Column) -> None:
        column = self._states if piece.name == STATES_FILE else self._ports
        values = np.frombuffer(piece.data, column.dtype)
        first = piece.offset // column.itemsize
        column[first : first + len(values)] = values[: max(0, len(column) - first)]

    def _settle_states(self, states: States) -> None:
        """Make the rows agree with the counts: what is known of single users stays, and who is too many is changed."""
        wanted = {
            State.NOT_REACHED: states.not_reached,
            State.IN_FLIGHT: states.in_flight,
            State.OPEN: states.open,
            State.FAILED: states.failed,
            State.CLOSED_EARLY: states.closed_early,
        }
        surplus = []
        for state, count in wanted.items():
            surplus.append(np.flatnonzero(self._states == state.value)[count:])
        free = np.concatenate(surplus)
        for state, count in wanted.items():
            missing = count - int(np.count_nonzero(self._states == state.value))
            if missing > 0:
                self._states[free[:missing]] = state.value
                free = free[missing:]
