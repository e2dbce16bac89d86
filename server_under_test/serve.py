"""`comet serve`, put together: the listeners, the fronts and the parent that directs them, and the control API.

In: `Options`. It ends in order on SIGTERM, on SIGINT, or when the process that started it is gone. Only the command
imports this.
"""

import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.machine.core_files import forbid_core_files
from floodtest.flyweight.machine.files import need_proc, raise_files_limit
from floodtest.flyweight.machine.reasons import memory_is_a_fault
from floodtest.flyweight.processes.worker_count import workers_for
from floodtest.flyweight.processes.workers import open_workers
from floodtest.server_under_test.control import api as control
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


async def serve(options: Options, parent: int | None, announce: Callable[[Server, int], None]) -> None:
    """Serve until told to stop; `announce` is called with the server and its control port once it accepts.

    `parent`, if given, is a descriptor: when its other end is closed, the server ends.
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
    serves = False
    with (
        memory_is_a_fault(lambda: "The server was serving, and all its connections end with it." if serves else None),
        nullcontext(None) if options.db is None else Store(options.db) as store,
        listen(options.host, options.port) as listener,
        listen(options.control_host, options.control_port) as api,
    ):
        wait_for_requests(listener)
        notice_silence(listener, options.limits.silence)
        ledger, whereabouts = Ledger(FRONT_LEDGER, count), SharedWhereabouts(options.max_users, count, files_limit)
        async with open_workers(MODELS[options.model].worker) as workers, trio.open_nursery() as tasks:
            server = Server(options, listener, workers, ledger, whereabouts, SharedBus(count), store)
            heard = (signal.SIGTERM, signal.SIGINT) if tls is None else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            with trio.open_signal_receiver(*heard) as signals:
                if parent is not None:
                    tasks.start_soon(_end_with, parent, tasks.cancel_scope)
                await server.start_fronts(count, tasks)
                tasks.start_soon(server.ticker.run)
                tasks.start_soon(server.router.run)
                tasks.start_soon(control.serve, server, api)
                serves = True
                announce(server, api.getsockname()[1])
                async for number in signals:
                    if tls is None or number != signal.SIGHUP:
                        break
                    if read_again(tls) is not None:
                        server.renew()
            listener.close()
            await server.stop()
            tasks.cancel_scope.cancel()


async def _end_with(parent: int, scope: trio.CancelScope) -> None:
    """End everything when the other end of a socket or pipe is closed."""
    await trio.lowlevel.wait_readable(parent)
    scope.cancel()
