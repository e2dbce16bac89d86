"""`comet serve`, put together: the listeners, the fronts and the parent that directs them, and the control API.

In: `Options`. It ends in order on SIGTERM, on SIGINT, or when the process that started it is gone. Only the command
imports this.
"""

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import trio

from floodtest.flyweight.engine.ledger import Ledger
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.files import need_proc, raise_files_limit, workers_for
from floodtest.flyweight.machine.reasons import memory_is_a_fault
from floodtest.flyweight.processes.workers import open_workers
from floodtest.server_under_test.control import api as control
from floodtest.server_under_test.fronts.accounts import FRONT_LEDGER
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.models import MODELS
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.routing.bus import Bus
from floodtest.server_under_test.routing.subscriptions import Store
from floodtest.server_under_test.routing.whereabouts import Whereabouts
from floodtest.wire.http import authority
from floodtest.wire.requests import MAX_USERS

BACKLOG = 65535
"""Asked for; the kernel takes at most net.core.somaxconn."""

DEFER_SECONDS = 5
"""How long the kernel waits for a request before it wakes a front for a silent client (TCP_DEFER_ACCEPT)."""


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; Refused when the address can't be had."""
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, _, _, address = found[0]
            sock = stack.enter_context(socket.socket(family, kind | socket.SOCK_NONBLOCK))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no such name"
            raise Refused(f"Can't listen on {authority(host, port)}: {why}. Choose another --host or port.") from error
        stack.pop_all()  # it stays open
    return sock


def notice_silence(listener: socket.socket, seconds: float) -> None:
    """Have the kernel end each connection accepted from a listener whose peer has not answered for so long.

    Accepted sockets inherit these options (tcp(7)), so that a connection costs no call. The first probe of an idle
    connection is sent after half of the time; TCP_USER_TIMEOUT decides the end, for data and probes alike.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, int(seconds / 2)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 6)))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


async def serve(options: Options, parent: int | None, announce: Callable[[Server, int], None]) -> None:
    """Serve until told to stop; `announce` is called with the server and its control port once it accepts.

    `parent`, if given, is a descriptor: when its other end is closed, the server ends.
    """
    need_proc()
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
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        notice_silence(listener, options.limits.silence)
        ledger, whereabouts = Ledger(FRONT_LEDGER, count), Whereabouts(options.max_users, count, files_limit)
        async with open_workers(MODELS[options.model].worker) as workers, trio.open_nursery() as tasks:
            server = Server(options, listener, workers, ledger, whereabouts, Bus(count), store)
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                if parent is not None:
                    tasks.start_soon(_end_with, parent, tasks.cancel_scope)
                await server.start_fronts(count, tasks)
                tasks.start_soon(server.tick_on)
                tasks.start_soon(server.router.run)
                tasks.start_soon(control.serve, server, api)
                serves = True
                announce(server, api.getsockname()[1])
                async for _ in signals:
                    break
            listener.close()
            await server.stop()
            tasks.cancel_scope.cancel()


async def _end_with(parent: int, scope: trio.CancelScope) -> None:
    """End everything when the other end of a socket or pipe is closed."""
    await trio.lowlevel.wait_readable(parent)
    scope.cancel()
