"""`comet router` and `comet front`, put together; and `comet serve --bus valkey:`, both over a server of its own.

In: options. Each ends in order on SIGTERM, on SIGINT, or when the process that started it is gone. A bus that is lost
ends nothing: it is tried again. Fails: Refused where the bus can't be had at the start, where another router is on it,
or another machine of that name, and where the router has no place for a machine. Only the command imports this.
"""

import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import fields

import trio

from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import need_proc
from floodtest.flyweight.machine.reasons import memory_is_a_fault
from floodtest.server_under_test.bus_options import BusAddress
from floodtest.server_under_test.cluster.dialogue import ROUTER, channel_of
from floodtest.server_under_test.cluster.front_machine import FrontMachine
from floodtest.server_under_test.cluster.head import Head
from floodtest.server_under_test.cluster.private_valkey import private_valkey
from floodtest.server_under_test.control import api as control
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.fronts.hosting import Host, end_with, open_host
from floodtest.server_under_test.fronts.listener import listen
from floodtest.server_under_test.options import ClusterOptions, FrontOptions, Options, RouterOptions
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.control import ServerPids

OWN_MACHINE = "here"
"""What the one machine of `comet serve --bus valkey:` is called."""

GOODBYE_SECONDS = 1.0
"""That the end of a machine waits for the router to be told of it."""


def notice(sentence: str) -> None:
    """Tell a person what has become of the bus, or of a machine."""
    print(f"comet: {sentence}.", file=sys.stderr, flush=True)


def _say_nothing(sentence: str) -> None:
    """Of a bus and a machine of one's own there is nothing to tell: what becomes of them ends the command."""


async def route(options: ClusterOptions, parent: int | None, announce: Callable[[int], None]) -> None:
    """Route until told to stop; `announce` is called with the control port once the bus is there."""
    need_proc()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with _open_head(options, parent, announce):
            async for _ in signals:
                return


async def be_front(options: FrontOptions, parent: int | None, announce: Callable[[Server], None]) -> None:
    """Hold connections until told to stop; `announce` is called once they are accepted and the bus is there."""
    with memory_is_a_fault(lambda: None):
        async with open_host(options.served, None, parent) as host, _on_bus(options.machine, options.bus, host):
            announce(host.server)
            await host.wait_for_the_end()


async def serve_over_bus(options: Options, parent: int | None, announce: Callable[[Server, int], None]) -> None:
    """Serve as `comet serve` does, by a router and a front machine over a bus of their own."""
    async with private_valkey() as address, open_host(options, None, parent) as host:
        of_router = {one.name: getattr(options, one.name) for one in fields(RouterOptions)}
        cluster = ClusterOptions(**of_router, bus=address, max_users=options.max_users, machines=1)
        ports: list[int] = []
        async with (
            _open_head(cluster, None, ports.append, _say_nothing, lambda: host.server.pids) as head,
            _on_bus(OWN_MACHINE, address, host, _say_nothing),
        ):
            await head.wait_for_a_machine()  # so that who is welcomed from now on is known to the router
            announce(host.server, ports[0])
            await host.wait_for_the_end()


@asynccontextmanager
async def _open_head(
    options: ClusterOptions,
    parent: int | None,
    announce: Callable[[int], None],
    tell: Callable[[str], None] = notice,
    here: Callable[[], ServerPids] | None = None,
) -> AsyncIterator[Head]:
    """Have a router on the bus as long as the block lasts; `here` is as a `Head` has it."""
    with (
        memory_is_a_fault(lambda: None),
        nullcontext(None) if options.db is None else Store(options.db) as store,
        listen(options.control_host, options.control_port) as api,
    ):
        head = Head(options, store, tell, here)
        async with trio.open_nursery() as tasks:
            if parent is not None:
                tasks.start_soon(end_with, parent, tasks.cancel_scope)
            tasks.start_soon(head.run)
            await tasks.start(head.link.run)
            if await head.link.count_subscribers(ROUTER) > 1:
                raise Refused(f"The bus {options.bus} has a router already: end it, or name another --bus.")
            tasks.start_soon(control.serve, head, api)
            announce(api.getsockname()[1])
            yield head
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _on_bus(
    name: str, address: BusAddress, host: Host, tell: Callable[[str], None] = notice
) -> AsyncIterator[FrontMachine]:
    """Have the fronts of this machine driven over a bus as long as the block lasts."""
    machine = FrontMachine(name, address, host.server, host.whereabouts, tell)
    async with trio.open_nursery() as tasks:
        await tasks.start(machine.link.run)
        if await machine.link.count_subscribers(channel_of(name)) > 1:
            raise Refused(
                f"The bus {address} has a front machine {name} already: choose another --machine. "
                "One whose connection has broken is forgotten by Valkey after its tcp-keepalive."
            )
        tasks.start_soon(machine.run)
        yield machine
        with trio.move_on_after(GOODBYE_SECONDS):
            await machine.say_goodbye()
        tasks.cancel_scope.cancel()
