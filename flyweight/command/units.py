"""Numbers as a person reads them."""

KIB = 1024


def size(count: float | None) -> str:
    """Write a number of bytes for a person."""
    if count is None:
        return "not measured"
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < KIB:
            return f"{count:,.0f} {unit}"
        count /= KIB
    return f"{count:,.1f} GiB"
