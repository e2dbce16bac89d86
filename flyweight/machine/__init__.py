"""What the kernel says of this machine and its processes: files, memory, CPU time, sockets, cgroups, ports."""
