"""`comet serve`, put together: the fronts and the parent that directs them, its router, and the control API.

In: `Options`. It ends in order on SIGTERM, on SIGINT, or when the process that started it is gone. Only the command
imports this.
"""

from collections.abc import Callable
from contextlib import nullcontext

from floodtest.flyweight.machine.reasons import memory_is_a_fault
from floodtest.server_under_test.control import api as control
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.fronts.hosting import open_host
from floodtest.server_under_test.fronts.listener import listen
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.subscriptions import Store


async def serve(options: Options, parent: int | None, announce: Callable[[Server, int], None]) -> None:
    """Serve until told to stop; `announce` is called with the server and its control port once it accepts.

    `parent`, if given, is a descriptor: when its other end is closed, the server ends.
    """
    serves = False
    with (
        memory_is_a_fault(lambda: "The server was serving, and all its connections end with it." if serves else None),
        nullcontext(None) if options.db is None else Store(options.db) as store,
        listen(options.control_host, options.control_port) as api,
    ):
        async with open_host(options, store, parent) as host:
            host.tasks.start_soon(host.server.ticker.run)
            host.tasks.start_soon(host.server.router.run)
            host.tasks.start_soon(control.serve, host.server, api)
            serves = True
            announce(host.server, api.getsockname()[1])
            await host.wait_for_the_end()
