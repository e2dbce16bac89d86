"""The figures of a summary that are made from samples: memory a connection, and CPU while connections are held. Pure.

In: the samples of a run, in order of time. Out: parts of a `Summary`; None for what the samples do not tell.
"""

from floodtest.analysis.figures.fits import Estimate
from floodtest.analysis.figures.memory import MemoryFinding, doubt_of_cost
from floodtest.analysis.record.samples import Sample, filling, memory_left
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Cost, Memory

LEAST_IDLE_SECONDS = 2.0
"""Of a hold that tells of idle CPU: what the ramp left to do takes its first moments."""


def per_connection(value: float | None, connections: int) -> float | None:
    return None if value is None or connections <= 0 else round(value / connections, 1)


def summarize_memory(
    samples: list[Sample],
    found: dict[str, MemoryFinding],
    kernel_source: str,
    predicted: int | None = None,
    server_is_ours: bool = True,
) -> Memory:
    """Put what `memory_of_samples` found into a summary: before the ramp, and at the last moment with the most open.

    What was predicted has the memory of a server of ours in it, and so has what is held against that.
    """
    costs = {end: _cost(finding, end) for end, finding in found.items()}
    kept = [samples[at] for at in filling(samples)]
    has_both = bool(kept) and kept[0].stage == Stage.START and max(sample.open for sample in kept) > 0
    first, full = (kept[0], max(reversed(kept), key=lambda sample: sample.open)) if has_both else (None, None)
    fallen = None if first is None or full is None else memory_left(first) - memory_left(full)
    return Memory(
        server_user_bytes_per_connection=_measured(found["server"]),
        client_user_bytes_per_connection=_measured(found["client"]),
        kernel_bytes_per_connection=_measured(found["kernel"]),
        kernel_source=kernel_source,
        server_fixed_bytes=_fixed(found["server"]),
        client_fixed_bytes=_fixed(found["client"]),
        server_marginal_bytes_per_connection=None if (cost := costs["server"]) is None else cost.one_more,
        client_marginal_bytes_per_connection=None if (cost := costs["client"]) is None else cost.one_more,
        available_bytes_per_connection=per_connection(fallen, 0 if full is None else full.open),
        server=costs["server"],
        client=costs["client"],
        kernel=costs["kernel"],
        measured_bytes=_in_all(found, server_is_ours),
        predicted_bytes=predicted,
    )


def _cost(finding: MemoryFinding, end: str) -> Cost | None:
    """Return the cost at one end; None where nothing was measured before the ramp and in it."""
    if _measured(finding) is None:
        return None
    one_more, fit, growth = finding.one_more, finding.fit, finding.growth
    low, high = (one_more.low, one_more.high) if isinstance(one_more, Estimate) else (None, None)
    return Cost(
        one_more=one_more.value if isinstance(one_more, Estimate) else one_more,
        low=low,
        high=high,
        slope=_rounded(None if fit is None else fit.slope.value),
        growth=_rounded(None if growth is None else growth.value),
        doubt=doubt_of_cost(finding, end),
    )


def one_more_of(cost: Cost) -> Estimate | float | None:
    """Return the figure that was put into a summary as `MemoryFinding.one_more`."""
    if cost.one_more is None or cost.low is None or cost.high is None:
        return cost.one_more
    return Estimate(cost.one_more, cost.low, cost.high)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _fixed(finding: MemoryFinding) -> int | None:
    return None if finding.before is None or finding.measured is None else round(finding.before)


def _measured(finding: MemoryFinding) -> float | None:
    return None if finding.measured is None or finding.before is None else round(finding.measured.value, 1)


def _in_all(found: dict[str, MemoryFinding], server_is_ours: bool) -> int | None:
    """The bytes of a run's own; None where the kernel had less memory than before, so that its part is not known."""
    ends = ("server", "client", "kernel") if server_is_ours else ("client", "kernel")
    sizes = {end: finding.measured.value * finding.most for end in ends if (finding := found[end]).measured is not None}
    return None if sizes.get("kernel", 0.0) <= 0 else round(sum(sizes.values()))


def idle_share(samples: list[Sample], field: str) -> float | None:
    """Return the share of a core used between the first and the last sample of a hold without ticks, if long enough."""
    held = [sample for sample in samples if sample.stage == Stage.HOLD and getattr(sample, field) is not None]
    if len(held) < 2 or held[-1].time - held[0].time < LEAST_IDLE_SECONDS or held[-1].received != held[0].received:
        return None
    used: float = getattr(held[-1], field) - getattr(held[0], field)
    return round(used / (held[-1].time - held[0].time), 4)
