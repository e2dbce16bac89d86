"""The fleet: all hosts of a run, from the first word to their parts of the plan, and their sites in the run.

In: the options of the run. Out: parts of the plan, a `RemoteSite` for each, and what each host has said of itself. A
host is asked what it can hold, gets its part, and says what stands in its way, before anything is opened anywhere.
Fails: Refused where a host refuses, is lost before the run has begun, or where all of them can't hold the plan.
"""

import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import trio

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.client.accounts import create_columns
from floodtest.loadgen.cluster import host_messages as messages
from floodtest.loadgen.cluster.carriage import Carriage, carriage
from floodtest.loadgen.cluster.carrier_messages import Machine, Start
from floodtest.loadgen.cluster.clock import SAME_CLOCK, Echo, Offset, offset_of
from floodtest.loadgen.cluster.host_records import HostRecord, HostRecords
from floodtest.loadgen.cluster.remote_host import RemoteHost
from floodtest.loadgen.cluster.remote_site import RemoteSite
from floodtest.loadgen.cluster.sharing import Capacity, Part, refuse_too_many, rooms_of, share_out
from floodtest.loadgen.cluster.standing import standing
from floodtest.loadgen.plan.cluster import ClusterOptions
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.run.site import Site
from floodtest.loadgen.run.watch import Watcher

A = TypeVar("A")

START_SECONDS = 60.0
"""For hosts to come up, and for each of their answers before the run begins."""

LEAVE_SECONDS = 5.0
"""For hosts to end at the end."""

ECHOES = 20

LEAD_SECONDS = 0.5
"""From the order to ramp to the first connection, so that the order has reached all hosts by then."""


@dataclass
class Member:
    """A host that is part of a run."""

    host: RemoteHost
    hello: messages.Hello
    examined: messages.Examined
    part: Part
    prepared: messages.Prepared
    offset: Offset = SAME_CLOCK

    @property
    def facts(self) -> dict[str, Any]:
        """What a record has of the host; the offset is by how much the controller's CLOCK_MONOTONIC is ahead of its."""
        clock = {"clock_ahead_seconds": self.offset.ahead, "clock_bound_seconds": self.offset.bound}
        return {**self.examined.facts, "hostname": self.hello.standing.hostname, "address": self.host.address, **clock}


class Fleet:
    """The hosts of a run."""

    def __init__(self, options: RunOptions, way: Carriage, tasks: trio.Nursery, cuts_to_fit: bool = False) -> None:
        self.options = options
        self._cluster = options.cluster
        self._way = way
        self._tasks = tasks
        self._cuts_to_fit = cuts_to_fit
        self._hosts: list[RemoteHost] = []
        self._here = standing()
        self.members: list[Member] = []
        self.lead = LEAD_SECONDS

    # Before the run.

    async def prepare(self, say: Callable[[str], None]) -> None:
        """Give each host its part of the plan; Refused where a host can't do its part, or all of them not the whole."""
        await self.agree(say)
        if found := self.refusals():
            raise Refused("\n".join(found))
        await self._measure_clocks()

    async def agree(self, say: Callable[[str], None]) -> None:
        """Give each host its part of the plan, and hear what stands in its way; Refused where there is no such plan."""
        hellos = await self._gather()
        examined = await self._examine()
        capacities = [
            Capacity(host.name, hello.standing, one.connections, one.reason, one.base_ip, one.addresses)
            for host, hello, one in zip(self._hosts, hellos, examined, strict=True)
        ]
        self._cut_to_fit(capacities, say)
        refuse_too_many(self.options.plan, capacities)
        parts = {part.name: part for part in share_out(self.options, capacities)}
        chosen = [place for place, host in enumerate(self._hosts) if host.name in parts]
        prepared = await self._of_each(
            [self._hosts[place] for place in chosen],
            lambda host: host.ask(messages.Prepare(parts[host.name].options), messages.Prepared),
        )
        self.members = [
            Member(self._hosts[place], hellos[place], examined[place], parts[self._hosts[place].name], one)
            for place, one in zip(chosen, prepared, strict=True)
        ]

    def refusals(self) -> list[str]:
        """Return what stands in the way at hosts, under their names."""
        return [f"{member.host.name}: {text}" for member in self.members for text in member.prepared.refusals]

    async def described(self) -> list[messages.Described]:
        """Return what each member says at length of its part."""
        hosts = [member.host for member in self.members]
        return await self._of_each(hosts, lambda host: host.ask(messages.Describe(), messages.Described))

    async def _gather(self) -> list[messages.Hello]:
        """Find the hosts, and wait until each has said that it is up; from here on each is kept in touch with."""
        start = Start(secrets.token_hex(8), self._cluster.address, self._cluster.local, self._cluster.hosts)
        machines = await self._way.start(start)
        self._hosts = [
            RemoteHost(machine.address, "", partial(self._way.send, number)) for number, machine in enumerate(machines)
        ]
        for host, machine in zip(self._hosts, machines, strict=True):
            host.name = machine.name or machine.address
        self._tasks.start_soon(self._hear)
        hellos = await self._of_each(self._hosts, lambda host: host.expect(messages.Hello))
        for name, host in zip(_names(machines, hellos), self._hosts, strict=True):
            host.name = name
        ours = version("floodtest")
        for host, hello in zip(self._hosts, hellos, strict=True):
            if hello.version != ours:
                raise Refused(f"{host.name} has floodtest {hello.version} and this machine {ours}: have one on both.")
            if self.options.target is None and not hello.standing.shares_network_with(self._here):
                raise Refused(
                    f"{host.name} can't reach the bundled server, which listens on loopback of this machine only: "
                    "start comet serve where all hosts can reach it, and name it with --target."
                )
        for host in self._hosts:
            self._tasks.start_soon(host.keep_in_touch)
        return hellos

    async def _examine(self) -> list[messages.Examined]:
        base_ips = dict(self._cluster.host_base_ip)
        if unknown := base_ips.keys() - {host.name for host in self._hosts}:
            names = ", ".join(host.name for host in self._hosts)
            raise Refused(f"--host-base-ip: there is no host {', '.join(sorted(unknown))}; there are {names}.")

        async def ask(host: RemoteHost) -> messages.Examined:
            options = replace(self.options, cluster=ClusterOptions(), network="host", friends=None, db=None)
            if host.name in base_ips:
                options = replace(options, plan=replace(options.plan, base_ip=base_ips[host.name]))
            return await host.ask(messages.Examine(options, self._cluster.device), messages.Examined)

        return await self._of_each(self._hosts, ask)

    def _cut_to_fit(self, capacities: Sequence[Capacity], say: Callable[[str], None]) -> None:
        planned = self.options.plan.connections
        fits = sum(room.connections for room in rooms_of(self.options.plan, capacities))
        if self._cuts_to_fit and 0 < fits < planned:
            self.options = replace(self.options, plan=replace(self.options.plan, connections=fits))
            say(f"The hosts can hold {fits:,} of the {counted(planned, 'planned connections')}.")

    async def _measure_clocks(self) -> None:
        for member in self.members:
            if not member.hello.standing.shares_clock_with(self._here):
                member.offset = await self._measure(member.host)

    @staticmethod
    async def _measure(host: RemoteHost) -> Offset:
        echoes = []
        for _ in range(ECHOES):
            said = await host.ask(messages.Echo(time.monotonic()), messages.Echoed)
            echoes.append(Echo(said.sent, time.monotonic(), said.now))
        return offset_of(echoes)

    @staticmethod
    async def _of_each(hosts: Sequence[RemoteHost], ask: Callable[[RemoteHost], Awaitable[A]]) -> list[A]:
        """Return the answers of hosts that are asked at the same time; Refused with what all of them refuse."""
        answers: dict[int, A] = {}
        refusals: dict[int, str] = {}

        async def ask_one(place: int, host: RemoteHost) -> None:
            with trio.move_on_after(START_SECONDS):
                try:
                    answers[place] = await ask(host)
                except Refused as error:
                    refusals[place] = str(error)
                return
            refusals[place] = f"The host {host.name} ({host.address}) did not answer in {START_SECONDS:g} s."

        async with trio.open_nursery() as tasks:
            for place, host in enumerate(hosts):
                tasks.start_soon(ask_one, place, host)
        if refusals:
            raise Refused("\n".join(refusals[place] for place in sorted(refusals)))
        return [answers[place] for place in range(len(hosts))]

    # In the run.

    def settle(self, folder: Path, marks: str | None) -> tuple[Sequence[Site], Watcher]:
        """Return a site for each host, whose columns are parts of those in the folder of the run record, and who writes
        the records of single hosts.
        """
        create_columns(folder, self.options.plan.connections)
        sites = list[RemoteSite]()
        machines, networks = set[str](), set[tuple[str, str]]()
        for member in self.members:
            where = member.hello.standing
            site = RemoteSite(
                member.host,
                member.offset,
                folder,
                member.part.before,
                member.part.options.plan.connections,
                marks=marks,
                finds_target=self.options.target is not None,
                tells_machine=where.kernel not in machines,
                tells_network=(where.kernel, where.network) not in networks,
            )
            machines.add(where.kernel)
            networks.add((where.kernel, where.network))
            sites.append(site)
        hidden = self.options.hidden
        records = [
            HostRecord(folder, site, member.part.options, member.prepared.prediction, member.facts, hidden)
            for site, member in zip(sites, self.members, strict=True)
        ]
        return sites, HostRecords(records)

    async def _hear(self) -> None:
        """Hear what hosts say, and that they are gone, as long as anything comes."""
        why = await self._way.carry(
            lambda number, data: self._hosts[number].hear(data), lambda number, why: self._hosts[number].lose(why)
        )
        for host in self._hosts:
            host.lose(why)

    async def leave(self) -> None:
        """Tell all hosts to end, and wait until they have; those that can't be reached end by themselves."""
        with trio.move_on_after(LEAVE_SECONDS):
            for host in self._hosts:
                await host.send(messages.Leave())
            for host in self._hosts:
                await host.lost.wait()


@asynccontextmanager
async def assembled(options: RunOptions, cuts_to_fit: bool = False) -> AsyncIterator[Fleet]:
    """A fleet that has yet to be prepared; its hosts end with the block."""
    async with carriage() as way, trio.open_nursery() as tasks:
        fleet = Fleet(options, way, tasks, cuts_to_fit)
        try:
            yield fleet
        finally:
            with trio.CancelScope(shield=True):
                await fleet.leave()
            tasks.cancel_scope.cancel()


def _names(machines: Sequence[Machine], hellos: Sequence[messages.Hello]) -> list[str]:
    """Return a name for each host, fit for a folder: that of its worker if somebody gave it one, or the machine's.

    Several of one name are numbered.
    """
    given = [
        hello.standing.hostname if not machine.name or machine.name.isdigit() else machine.name
        for machine, hello in zip(machines, hellos, strict=True)
    ]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "host" for name in given]
    return [
        name if plain.count(name) == 1 else f"{name}-{plain[: place + 1].count(name)}"
        for place, name in enumerate(plain)
    ]
