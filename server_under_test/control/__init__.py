"""The control API: a server of its own, which web pages can't reach."""
