"""`python -m benchmarks.isolate CONNECTIONS PROGRAM ARGUMENTS...`: a program in a network like an isolated run's."""

import os
import sys

from floodtest.loadgen.network.namespaces import enter
from floodtest.loadgen.network.wish import wish_of
from floodtest.loadgen.plan.plan import Plan


def main() -> None:
    connections = int(sys.argv[1])
    enter(wish_of(Plan(17, 62_000, "127.0.1.1", 1024, connections), explicit_ports=True))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
