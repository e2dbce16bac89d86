"""What the host offers a run and what a run needs of it: targets, ports, memory, checks, addresses, networks."""
