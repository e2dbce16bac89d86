"""Numbers for a person: bytes as MiB, bytes a connection as B or KB, thousands separated. Pure."""

from floodtest.analysis.figures.fits import Estimate
from floodtest.flyweight.command.units import KIB, NOT_MEASURED


def plain(text: object) -> str:
    """Return text on one line that can't steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def each(count: float | None) -> str:
    """Write bytes a connection: B to a thousand of them, then KB (1,000 B)."""
    if count is None:
        return NOT_MEASURED
    return f"{count:,.0f} B" if abs(count) < 1000 else f"{count / 1000:,.2f} KB"


def each_between(estimate: Estimate | float) -> str:
    """Write bytes a connection, with the ends of their interval where they have one, all in one unit."""
    if not isinstance(estimate, Estimate):
        return each(estimate)
    if max(abs(estimate.value), abs(estimate.high)) < 1000:
        return f"{estimate.value:,.0f} B ({estimate.low:,.0f} to {estimate.high:,.0f})"
    value, low, high = (figure / 1000 for figure in (estimate.value, estimate.low, estimate.high))
    return f"{value:,.2f} KB ({low:,.2f} to {high:,.2f})"


def size_between(estimate: Estimate) -> str:
    """Write an amount of memory with the ends of its interval, in MiB or GiB."""
    unit, scale = ("GiB", KIB**3) if abs(estimate.value) >= KIB**3 else ("MiB", KIB**2)
    value, low, high = (figure / scale for figure in (estimate.value, estimate.low, estimate.high))
    return f"{value:,.1f} {unit} ({low:,.1f} to {high:,.1f})"


WHAT = {"server": "the server", "client": "the client", "kernel": "the kernel"}
"""Whose memory it is, in a sentence."""


def listed(parts: list[str]) -> str:
    """Write a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def number(value: float | None, unit: str = "") -> str:
    """Write a count or a rate, to as many digits as it is worth."""
    if value is None:
        return NOT_MEASURED
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{unit}"
