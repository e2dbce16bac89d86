"""`python -m floodtest.server_under_test.cluster.valkey_program BINARY ARGS...`: becomes another program.

It is launched as one of our modules, so that the kernel ends it with the process that launched it (see
`flyweight.processes.launch`), which execve(2) leaves as it is.
"""

import os
import sys

if __name__ == "__main__":
    os.execve(sys.argv[1], sys.argv[1:], os.environ)
