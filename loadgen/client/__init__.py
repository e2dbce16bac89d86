"""The client's side of connections, in worker threads: opening, reading, accounts."""
