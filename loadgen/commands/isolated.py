"""`python -m floodtest.loadgen.commands.isolated WISH ARGV...`: `floodtest`, started anew in a network of its own.

By the time a command line is parsed a library may have threads, as numpy's often has, and a process that has some may
not enter a user namespace. So `floodtest run` replaces itself (execve: the same process id, the same standard streams)
by this module, which enters the network while it has one thread and then is that command again. Without ARGV it only
says on stdout what network there would be, as JSON.
"""

import sys

from floodtest.flyweight.command.inherited import put_right

if __name__ == "__main__":
    put_right("floodtest")

import msgspec

from floodtest.flyweight.command.run import print_json, run_command
from floodtest.loadgen.network.namespaces import try_to_enter
from floodtest.loadgen.network.wish import Wish


def _start() -> None:
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    network = try_to_enter(wish)
    if not sys.argv[2:]:
        print_json(network)
        return
    sys.argv = sys.argv[2:]
    from floodtest.loadgen.commands.floodtest import main

    main(network)


if __name__ == "__main__":
    run_command("floodtest", _start)
