"""Sockets and memory by the column: readiness, system calls over many rows, counters that processes share."""
