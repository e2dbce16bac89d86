"""Counts for a person: thousands separated, and one of a thing is no plural. Pure."""


def counted(count: int, things: str) -> str:
    """Write "1 connection" or "2 connections"; `things` is a plural that ends with an s, as all of ours do."""
    return f"{count:,} {_singular(things) if count == 1 else things}"


def was(count: float) -> str:
    """Return the verb that goes with so many."""
    return "was" if count == 1 else "were"


def _singular(things: str) -> str:
    return f"{things[:-3]}y" if things.endswith("ies") else things.removesuffix("s")
