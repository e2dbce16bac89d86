"""Numbers for a person: bytes in binary units, as everywhere, and thousands separated. Pure."""

from floodtest.analysis.figures.fits import Estimate
from floodtest.flyweight.command.units import KIB, NOT_MEASURED


def plain(text: object) -> str:
    """Return text on one line that can't steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(text))


def each(count: float | None) -> str:
    """Write bytes a connection: B up to one KiB, then KiB."""
    return NOT_MEASURED if count is None else " ".join(_written(count))


def each_between(estimate: Estimate | float, of: str = "") -> str:
    """Write bytes a connection, with the ends of their interval where they have one, all in one unit.

    `of` stands behind the unit. An amount that may be nothing, by its interval, is written as less than the upper end.
    """
    beside = f" {of}" if of else ""
    if not isinstance(estimate, Estimate):
        return f"{each(estimate)}{beside}"
    if estimate.low <= 0 < estimate.high:
        return f"less than {each(estimate.high)}{beside}"
    scale = max(abs(estimate.value), abs(estimate.high))
    (value, unit), (low, _), (high, _) = (_written(end, scale) for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} {unit}{beside} ({low} to {high})"


def _written(count: float, scale: float | None = None) -> tuple[str, str]:
    """Return a number of bytes and its unit, as an amount of that scale is written."""
    scale = abs(count) if scale is None else scale
    if scale < KIB:
        return f"{count:,.0f}", "B"
    return f"{count / KIB:,.{2 if scale < 10 * KIB else 1}f}", "KiB"


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
