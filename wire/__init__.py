"""What the two ends say to each other, as types: no clock, and no I/O but in the one client of the control API."""
