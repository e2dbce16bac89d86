"""What `comet serve` does: it serves, having said where."""

import os

import msgspec
import trio

from floodtest.flyweight.command.counted import counted
from floodtest.server_under_test.fronts.director import Server
from floodtest.server_under_test.options import Options
from floodtest.server_under_test.serve import serve
from floodtest.wire.control import Listening
from floodtest.wire.http import authority


def serve_and_announce(options: Options, parent_fd: int | None) -> None:
    """Serve until told to stop; say where: on stdout, or in JSON on the descriptor `parent_fd`."""

    def announce(server: Server, control: int) -> None:
        if parent_fd is None:
            where, fronts = authority(options.host, server.address[1]), len(server.workers.all)
            scheme = "http" if options.tls.cert is None else "https"
            print(f"comet serves {scheme}://{where}/test/<id> with {counted(fronts, 'fronts')};")
            print(f"figures: http://{authority(options.control_host, control)}/stats", flush=True)
        else:
            os.write(parent_fd, msgspec.json.encode(Listening(server.address[1], control)) + b"\n")

    trio.run(serve, options, parent_fd, announce)
