"""Processes of ours: how they are started, spoken to, and ended with whoever started them."""
