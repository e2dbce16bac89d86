"""What `comet router`, `comet front` and `comet serve --bus` do: they serve over a bus, having said where."""

import os

import msgspec
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.options import ClusterOptions, FrontOptions, Options
from floodtest.wire.control import Listening
from floodtest.wire.http import authority

try:
    from floodtest.server_under_test.serve_cluster import be_front, route, serve_over_bus
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("coredis", "anyio"):
        raise
    raise Refused("A bus takes the extra valkey: pip install 'floodtest[valkey]'.") from None


def serve_and_announce(options: Options, parent_fd: int | None) -> None:
    """Serve over a bus of its own until told to stop; say where, as `serving` does."""

    def announce(server: Server, control: int) -> None:
        if parent_fd is None:
            print(f"{_streams(server, options)} over a Valkey server of its own;")
            print(f"figures: http://{authority(options.control_host, control)}/stats", flush=True)
        else:
            _write(parent_fd, Listening(server.address[1], control))

    trio.run(serve_over_bus, options, parent_fd, announce)


def route_and_announce(options: ClusterOptions, parent_fd: int | None) -> None:
    """Route until told to stop; say where: on stdout, or in JSON on the descriptor `parent_fd`."""

    def announce(control: int) -> None:
        if parent_fd is None:
            print(f"comet routes to the front machines of {options.bus};")
            print(f"figures: http://{authority(options.control_host, control)}/stats", flush=True)
        else:
            _write(parent_fd, Listening(0, control))

    trio.run(route, options, parent_fd, announce)


def hold_and_announce(options: FrontOptions, parent_fd: int | None) -> None:
    """Be a front machine until told to stop; say where: on stdout, or in JSON on the descriptor `parent_fd`."""

    def announce(server: Server) -> None:
        if parent_fd is None:
            print(f"{_streams(server, options)}, driven as {options.machine} by {options.bus}", flush=True)
        else:
            _write(parent_fd, Listening(server.address[1], 0))

    trio.run(be_front, options, parent_fd, announce)


def _streams(server: Server, options: Options | FrontOptions) -> str:
    where, fronts = authority(options.host, server.address[1]), len(server.workers.all)
    scheme = "http" if options.tls.cert is None else "https"
    return f"comet serves {scheme}://{where}/test/<id> with {counted(fronts, 'fronts')}"


def _write(parent_fd: int, listening: Listening) -> None:
    os.write(parent_fd, msgspec.json.encode(listening) + b"\n")
