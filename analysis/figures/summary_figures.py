"""The figures of a summary that are made from samples: memory a connection, and CPU while connections are held. Pure.

In: the samples of a run, in order of time. Out: parts of a `Summary`; None for what the samples do not tell.
"""

import numpy as np

from floodtest.analysis.figures.fits import fit_memory
from floodtest.analysis.record.samples import Sample, filling
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Memory

LEAST_IDLE_SECONDS = 2.0
"""Of a hold that tells of idle CPU: what the ramp left to do takes its first moments."""


def per_connection(value: float | None, connections: int) -> float | None:
    return None if value is None or connections <= 0 else round(value / connections, 1)


def summarize_memory(
    samples: list[Sample], kernel_source: str, predicted: int | None = None, server_is_ours: bool = True
) -> Memory:
    """Compare the last sample before the ramp with the last of the hold.

    What was predicted has the memory of a server of ours in it, and so has what is held against that.
    """
    before = [sample for sample in samples if sample.stage == Stage.START]
    held = [sample for sample in samples if sample.stage == Stage.HOLD] or [s for s in samples if s.stage == Stage.RAMP]
    if not before or not held:
        return Memory(
            server_user_bytes_per_connection=None,
            client_user_bytes_per_connection=None,
            kernel_bytes_per_connection=None,
            kernel_source=kernel_source,
            server_fixed_bytes=None,
            client_fixed_bytes=None,
            server_marginal_bytes_per_connection=None,
            client_marginal_bytes_per_connection=None,
            available_bytes_per_connection=None,
            measured_bytes=None,
            predicted_bytes=predicted,
        )
    first, last = before[-1], max(held, key=lambda sample: (sample.open, sample.time))
    return Memory(
        server_user_bytes_per_connection=per_connection(last.server_private, last.open),
        client_user_bytes_per_connection=per_connection(last.client_private, last.open),
        kernel_bytes_per_connection=per_connection(last.kernel - first.kernel, last.open),
        kernel_source=kernel_source,
        server_fixed_bytes=first.server_private,
        client_fixed_bytes=first.client_private,
        server_marginal_bytes_per_connection=_marginal(samples, "server_private"),
        client_marginal_bytes_per_connection=_marginal(samples, "client_private"),
        available_bytes_per_connection=per_connection(first.mem_available - last.mem_available, last.open),
        measured_bytes=_measured(first, last, server_is_ours),
        predicted_bytes=predicted,
    )


def _measured(first: Sample, last: Sample, server_is_ours: bool) -> int | None:
    """The bytes of a run's own; None where the kernel had less memory than before, so that its part is not known."""
    kernel = last.kernel - first.kernel
    server = (last.server_private or 0) if server_is_ours else 0
    return None if kernel <= 0 else server + last.client_private + kernel


def _marginal(samples: list[Sample], field: str) -> float | None:
    """The slope that a report shows (it has the interval as well), some 20 ms; None where there is too little."""
    points = [(samples[at].open, getattr(samples[at], field)) for at in filling(samples)]
    known = np.array([point for point in points if point[1] is not None], np.float64).reshape(-1, 2)
    fit = fit_memory(known[:, 0], known[:, 1])
    return None if fit is None else round(fit.slope.value, 1)


def idle_share(samples: list[Sample], field: str) -> float | None:
    """Return the share of a core used between the first and the last sample of a hold without ticks, if long enough."""
    held = [sample for sample in samples if sample.stage == Stage.HOLD and getattr(sample, field) is not None]
    if len(held) < 2 or held[-1].time - held[0].time < LEAST_IDLE_SECONDS or held[-1].received != held[0].received:
        return None
    used: float = getattr(held[-1], field) - getattr(held[0], field)
    return round(used / (held[-1].time - held[0].time), 4)
