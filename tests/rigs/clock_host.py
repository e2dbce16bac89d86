"""A host whose clocks somebody asks for, as a program: `python -m tests.rigs.clock_host FD`."""

import socket
import sys

from floodtest.flyweight.machine.clock_echo import answer

if __name__ == "__main__":
    answer(socket.socket(fileno=int(sys.argv[1])))
