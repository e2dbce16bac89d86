"""Servers and proxies that nobody here wrote, and runs against them."""
