"""Numbers as a person reads them. Pure."""

KIB = 1024
NOT_MEASURED = "not measured"


def size(count: float | None) -> str:
    """Write an amount of memory in binary units."""
    if count is None:
        return NOT_MEASURED
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < KIB:
            return f"{count:,.0f} {unit}"
        count /= KIB
    return f"{count:,.1f} GiB"
