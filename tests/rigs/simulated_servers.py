"""Servers that take memory as servers do, simulated: samples of their ramps, with what a connection truly costs.

In: a random generator. Out: a `Ramp`, sampled as a run samples it (ten times a second at first, then each twentieth of
the time so far). Nothing is opened; a ramp takes a millisecond.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from floodtest.analysis import Sample
from tests.rigs.figures import sample, start

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Ramp:
    """Connections open and bytes at each sample, from before the first connection to when all are open."""

    opened: Floats
    size: Floats
    cost: float
    """Bytes that one more connection truly costs."""
    fixed: float
    """Bytes before the first."""
    begun: Floats | None = None
    """Workers that have begun, where the record says so."""

    def samples(self) -> list[Sample]:
        """Return what a record would have of it, with ticks in the hold that touch memory and open nothing."""
        total = int(self.opened[-1])
        begun = [None] * len(self.size) if self.begun is None else self.begun.astype(int).tolist()
        rows = list(zip(self.opened.astype(int).tolist(), self.size.round().astype(int).tolist(), begun, strict=True))
        found = [start(server_private=rows[0][1], server_begun=rows[0][2])]
        for at, (opened, size, count) in enumerate(rows[1:], 1):
            stage = "ramp" if at < len(rows) - 1 else "hold"
            found.append(sample(time=at, stage=stage, open=opened, server_private=size, server_begun=count))
        size, count = rows[-1][1:]
        for tick in range(1, 4):
            figures = {"server_private": size + tick * 500_000, "received": total * tick, "server_begun": count}
            found.append(sample(time=len(rows) + tick, open=total, **figures))
        return found


@dataclass(frozen=True)
class _Plan:
    """What ramps of all kinds have in common."""

    total: int
    cost: float
    fixed: float
    times: Floats
    """Seconds, of each sample."""
    accepted_by: Callable[[Floats], Floats]
    """Connections that the server has accepted by so many seconds."""

    @property
    def accepted(self) -> Floats:
        return np.round(self.accepted_by(self.times))


def _plan(rng: Rng) -> _Plan:
    """A ramp of 1,000 to 100,000 connections, of 1.5 to 60 s, at a rate that wavers."""
    total = int(10 ** rng.uniform(3, 5))
    seconds = float(np.clip(total / 10 ** rng.uniform(2.7, 3.9), 1.5, 60))
    times = [0.0]
    while times[-1] < seconds:
        times.append(times[-1] + max(0.1, 0.05 * times[-1]) * rng.uniform(0.8, 1.2))
    times[-1] = seconds
    parts = np.append(0, np.cumsum(rng.gamma(4, 1, 60)))
    ends, shares = np.linspace(0, seconds, len(parts)), parts / parts[-1] * total
    cost, fixed = 10 ** rng.uniform(3, 4.8), rng.uniform(10e6, 100e6)
    return _Plan(total, cost, fixed, np.array(times), lambda at: np.interp(at, ends, shares))


def lasting_noise(rng: Rng, n: int, correlation: float, deviation: float) -> Floats:
    """Noise each of whose values resembles the one before."""
    noise = rng.normal(0, deviation, n)
    for at in range(1, n):
        noise[at] = correlation * noise[at - 1] + np.sqrt(1 - correlation**2) * noise[at]
    return noise


def _ramp(
    rng: Rng, plan: _Plan, opened: Floats, size: Floats, cost: float | None = None, begun: Floats | None = None
) -> Ramp:
    """Return a ramp with a little noise, in whole pages."""
    noisy = plan.fixed + size + lasting_noise(rng, len(size), 0.3, 4e4)
    return Ramp(opened, np.round(noisy / 4096) * 4096, plan.cost if cost is None else cost, plan.fixed, begun)


def straight(rng: Rng) -> Ramp:
    """Memory that follows the connections, with more or less noise."""
    plan = _plan(rng)
    noise = lasting_noise(rng, len(plan.times), rng.uniform(0, 0.8), 10 ** rng.uniform(3.5, 5.7))
    return _ramp(rng, plan, plan.accepted, plan.cost * plan.accepted + noise)


def line(rng: Rng, count: int, deviation: float, correlation: float) -> Ramp:
    """A straight line of so many samples, evenly spaced, with noise of so many bytes and that correlation."""
    opened, cost, fixed = np.round(np.linspace(0, 20_000, count)), 1000.0, 50e6
    size = fixed + cost * opened + lasting_noise(rng, count, correlation, deviation)
    return Ramp(opened, np.round(size / 4096) * 4096, cost, fixed)


def workers(rng: Rng) -> Ramp:
    """Workers that begin one after another and take memory of their own; the record says when."""
    plan = _plan(rng)
    cost, opened, count = 10 ** rng.uniform(1, 4), plan.accepted, int(rng.integers(1, 9))
    even = rng.random() < 0.5
    starts = plan.total * np.arange(count) / count if even else rng.uniform(0, plan.total, count)
    begun: Floats = (opened[:, None] > starts).sum(axis=1).astype(np.float64)
    size = cost * opened + (opened[:, None] > starts) @ rng.uniform(0.2e6, 4e6, count)
    return _ramp(rng, plan, opened, size, cost, begun)


def bursts(rng: Rng) -> Ramp:
    """An event loop that accepts all that wait, and answers them later: open counts stand still, and memory grows."""
    plan = _plan(rng)
    most = min(1024, plan.total / 3) * rng.uniform(0.2, 1)
    at = np.linspace(0, plan.times[-1], 2000)
    accepted, opened = plan.accepted_by(at), np.zeros(len(at))
    burst = 0.0
    for index in range(1, len(at)):
        is_due = accepted[index] - opened[index - 1] >= burst or index == len(at) - 1
        opened[index] = accepted[index] if is_due else opened[index - 1]
        burst = most * rng.uniform(0.2, 1) if is_due else burst
    sampled = np.minimum(np.searchsorted(at, plan.times), len(at) - 1)
    return _ramp(rng, plan, np.round(opened[sampled]), plan.cost * accepted[sampled])


def late(rng: Rng) -> Ramp:
    """Memory that is taken some time after a connection is open."""
    plan = _plan(rng)
    behind = np.maximum(0, plan.times - rng.uniform(0.05, 0.4))
    return _ramp(rng, plan, plan.accepted, plan.cost * plan.accepted_by(behind))


def pools(rng: Rng) -> Ramp:
    """A part of the cost in tables that double; the truth is the mean over all numbers of connections."""
    plan = _plan(rng)
    opened, part = plan.accepted, plan.cost * rng.uniform(0.05, 0.4)
    room = np.where(opened > 0, 2 ** np.ceil(np.log2(np.maximum(opened, 1))), 0)
    return _ramp(rng, plan, opened, (plan.cost - part) * opened + part * room, plan.cost - part + part / np.log(2))


def collected(rng: Rng) -> Ramp:
    """Garbage that grows with the connections opened, and is collected when it has come to a number of bytes."""
    plan = _plan(rng)
    period, each = plan.total / rng.uniform(3, 60), plan.cost * rng.uniform(0.3, 2)
    garbage = each * ((plan.accepted + rng.uniform(0, period)) % period)
    return _ramp(rng, plan, plan.accepted, plan.cost * plan.accepted + garbage)


def threads(rng: Rng) -> Ramp:
    """Stacks in lumps, for so many connections each, more or less; the truth is what they took in all."""
    plan = _plan(rng)
    each, share = plan.total / rng.uniform(5, 100), rng.uniform(0.2, 0.9)
    count = np.searchsorted(np.cumsum(rng.gamma(6, each / 6, 400)), plan.accepted)
    cost = plan.cost * (1 - share + share * each * count[-1] / plan.total)
    return _ramp(rng, plan, plan.accepted, plan.cost * ((1 - share) * plan.accepted + share * each * count), cost)


def lumps(rng: Rng) -> Ramp:
    """A small cost, and an allocator that takes pages or arenas."""
    plan = _plan(rng)
    cost = 10 ** rng.uniform(1.3, 3)
    lump = min(float(rng.choice([4096, 65536, 262144])), cost * plan.total / 6)
    return Ramp(plan.accepted, np.floor((plan.fixed + cost * plan.accepted) / lump) * lump, cost, plan.fixed)


def warming(rng: Rng) -> Ramp:
    """A server that takes up to 20 MB once, with its first connection; nothing says that it does."""
    plan = _plan(rng)
    once = 10 ** rng.uniform(5.5, 7.3) * (plan.accepted > 0)
    return _ramp(rng, plan, plan.accepted, plan.cost * plan.accepted + once)


KINDS: tuple[Callable[[Rng], Ramp], ...] = (
    straight,
    workers,
    bursts,
    late,
    pools,
    collected,
    threads,
    lumps,
    warming,
)
