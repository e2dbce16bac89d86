"""A server's streams on this machine: the listener, the fronts and the parent that directs them, while a block lasts.

In: `Options`, and a store if there is one. Out: a `Host` whose fronts are up; the block ends it in order. Fails:
Refused where an address, files of a certificate or descriptors can't be had, before anything is served.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.core_files import forbid_core_files
from floodtest.flyweight.machine.files import need_proc, raise_files_limit
from floodtest.flyweight.processes.worker_count import workers_for
from floodtest.flyweight.processes.workers import open_workers
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.fronts.listener import listen, notice_silence, wait_for_requests
from floodtest.server_under_test.fronts.renewal import read_again
from floodtest.server_under_test.models import MODELS
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.shared_bus import SharedBus
from floodtest.server_under_test.routing.shared_whereabouts import SharedWhereabouts
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.wire.requests import MAX_USERS


@dataclass(frozen=True)
class Host:
    """A server whose fronts are up, its whereabouts, and the tasks that live as long as it does."""

    server: Server
    whereabouts: SharedWhereabouts
    tasks: trio.Nursery
    signals: AsyncIterator[int]

    async def wait_for_the_end(self) -> None:
        """Wait for SIGTERM or SIGINT; SIGHUP has the certificate read again."""
        tls = self.server.options.tls.of_server
        async for number in self.signals:
            if tls is None or number != signal.SIGHUP:
                return
            if read_again(tls) is not None:
                self.server.renew()


@asynccontextmanager
async def open_host(options: Options, store: Store | None, parent: int | None) -> AsyncIterator[Host]:
    """Start fronts, and stop them in order at the end of the block.

    `parent`, if given, is a descriptor: when its other end is closed, all of it is cancelled.
    """
    need_proc()
    tls = options.tls.of_server
    if tls is not None:
        from floodtest.wire.tls.contexts import server_context

        server_context(tls)  # each front reads these files itself; what is wrong with them is said here, and once
        forbid_core_files()
    files_limit = raise_files_limit()
    options = replace(options, max_users=min(options.max_users, MAX_USERS))
    count = workers_for(options.max_connections or options.max_users, files_limit, options.workers)
    with listen(options.host, options.port) as listener:
        wait_for_requests(listener)
        notice_silence(listener, options.limits.silence)
        ledger, whereabouts = Ledger(FRONT_LEDGER, count), SharedWhereabouts(options.max_users, count, files_limit)
        async with open_workers(MODELS[options.model].worker) as workers, trio.open_nursery() as tasks:
            server = Server(options, listener, workers, ledger, whereabouts, SharedBus(count), store)
            heard = (signal.SIGTERM, signal.SIGINT) if tls is None else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            with trio.open_signal_receiver(*heard) as signals:
                if parent is not None:
                    tasks.start_soon(end_with, parent, tasks.cancel_scope)
                await server.start_fronts(count, tasks)
                yield Host(server, whereabouts, tasks, signals)
            listener.close()
            await server.stop()
            tasks.cancel_scope.cancel()


async def end_with(parent: int, scope: trio.CancelScope) -> None:
    """End everything when the other end of a socket or pipe is closed."""
    await trio.lowlevel.wait_readable(parent)
    scope.cancel()
