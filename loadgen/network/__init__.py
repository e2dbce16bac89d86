"""The network of a run: the host's or one of its own, and the addresses in it."""
