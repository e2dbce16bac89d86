"""Doubts: what a reader should hold against a run's figures. In: its findings. Out: sentences, gravest first. Pure."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from floodtest.analysis.figures.client_share import doubt_of
from floodtest.analysis.figures.findings import Findings
from floodtest.analysis.figures.formatting import plain
from floodtest.analysis.figures.memory import doubt_of_cost
from floodtest.analysis.figures.series import rate_of
from floodtest.analysis.record import LATENCY_FILE, Record
from floodtest.analysis.record.reader import mapping
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import Summary
from floodtest.flyweight.command.units import size

OTHERS = 0.15
"""Cores busy with something else, on average, that are worth a word."""

MOVED = 0.1
"""Share of what the kernel's memory grew by in the ramp, by which it may move in the hold without a word."""

MORE = 1.3
"""Times the prediction, up to which the kernel's growth is taken for the run's."""


def doubts(findings: Findings) -> list[str]:
    """Return everything there is to be said against the record; nothing if all is well."""
    return [*_of_outcome(findings), *_of_unknown(findings), *_of_kernel_at_all(findings), *doubts_of_figures(findings)]


def doubts_of_figures(findings: Findings) -> list[str]:
    """Return what changes how figures of this run are to be read; what is not known at all is not among it."""
    return [
        *_of_costs(findings),
        *_of_kernel(findings),
        *_of_machine(findings.record),
        *_of_latency(findings.record.summary),
        *_of_messages(findings),
    ]


def _of_outcome(findings: Findings) -> Iterator[str]:
    record = findings.record
    summary = record.summary
    if record.summary_fault is not None:
        fault = plain(record.summary_fault)
        yield f"The run ended, but its summary can't be understood: {fault}. What the samples show is shown."
    elif summary is None:
        last = findings.stages[-1][0] if record.samples else Stage.START
        yield f"The run has no summary: it was killed, or still goes on, in the stage {last}. What there is is shown."
    elif summary.outcome != "ok":
        yield f"The run ended as {summary.outcome}: {'; '.join(summary.reasons) or 'it gives no reason'}."
    if len(record.samples) < 2:
        yield f"There are {len(record.samples)} samples: nothing can be drawn against time."


def _of_unknown(findings: Findings) -> Iterator[str]:
    """Name figures that the run should have, and has not."""
    record = findings.record
    unread, samples = sum(sample.server_private is None for sample in record.samples), len(record.samples)
    if 0 < unread == samples:
        told = None if record.summary is None else record.summary.server
        why = "it is not ours, and --server-pid did not name it" if told is None else told.found
        yield f"The server's memory and CPU were not measured: {why}."
    elif unread:
        yield f"The server's memory was not read in {unread:,} of {samples:,} samples."
    share = None if record.summary is None else record.summary.client_share
    if share is not None and share.note is not None:
        yield f"How much of the latency is this client's own is not known: {plain(share.note)}."


def _of_costs(findings: Findings) -> Iterator[str]:
    for end, found in findings.memory.items():
        doubt = doubt_of_cost(found, end)
        if doubt is not None:
            yield doubt


def _of_kernel_at_all(findings: Findings) -> Iterator[str]:
    """Say whose the kernel's figures are, in any run."""
    record = findings.record
    if not record.samples:
        return
    unread = all(sample.slab_tcp is None for sample in record.samples)
    by_kind = "; its figures by kind of object could not be read (/proc/slabinfo is for root)" if unread else ""
    yield (
        "The kernel's memory is the whole machine's (/proc/meminfo), in whatever network the run was: what else the "
        f"machine did in that time is counted as well{by_kind}."
    )


def _of_kernel(findings: Findings) -> Iterator[str]:
    record = findings.record
    found = findings.memory["kernel"]
    if found.measured is None:
        return
    grown = found.measured.value * found.most
    if grown < 0:
        yield f"The kernel's memory fell by {size(-grown)} in the ramp: others gave back more than connections took."
        return
    moved = _moved(record, found.most)
    if moved > MOVED * grown:
        yield (
            f"The kernel's memory moved by {size(moved)} in the hold, with no connection opened; the ramp took "
            f"{size(grown)}. Ticks, or others on the machine, move its figures by so much."
        )
    expected = findings.predicted.get("kernel", 0.0) * _opened_share(record, found.most)
    if 0 < MORE * expected < grown:
        yield (
            f"The kernel's memory grew by {size(grown)}, and {size(expected)} were predicted: others on the machine "
            "are likely to be in it."
        )


def _moved(record: Record, most: float) -> float:
    """Bytes between the least and the most the kernel had in the hold, while all but 1% were open."""
    held = [sample.kernel for sample in record.samples if sample.stage == Stage.HOLD and sample.open >= 0.99 * most]
    return float(max(held) - min(held)) if held else 0.0


def _opened_share(record: Record, most: float) -> float:
    planned = mapping(record.part("options").get("plan")).get("connections")
    return min(1.0, most / planned) if isinstance(planned, int) and planned > 0 else 1.0


def _of_machine(record: Record) -> Iterator[str]:
    swapped = record.column("swapped")
    swapped = swapped[np.isfinite(swapped)]
    grown = swapped.max() - swapped[0] if len(swapped) else 0.0
    if grown > 0:
        yield f"The machine swapped {size(grown)} out in the run: that is missing in these figures."
    others = _others(record)
    if others is not None and others > OTHERS:
        yield f"Something else kept {others:.1f} cores busy on average: speed and latency are the worse for it."
    time = record.column("time")
    interval = _option(record, "interval", 1.0)
    late = [second - first for first, second in pairwise(time.tolist()) if second - first > 2.5 * interval]
    if late:
        yield (
            f"{len(late)} samples came late, the latest {max(late):,.1f} s after the one before: the machine had no "
            "time for them, or was stopped."
        )
    cores = _host(record, "cores")
    at, busy = rate_of(record, "machine_cpu")
    if cores and len(at) and float(np.mean(busy > 0.95 * cores)) > 0.3:
        shared = (
            " Both ends share this machine, so its speed is that of both together, and not the server's alone."
            if not record.part("hosts")
            else " The hosts that open connections are the limit then, or share their machines with the server."
        )
        yield f"All {cores} cores were busy for much of the run.{shared}"


def _others(record: Record) -> float | None:
    """Cores that neither end used, on average over the run, the kernel's interrupts included where they fell."""
    columns = [record.column(name) for name in ("machine_cpu", "server_cpu", "client_cpu", "time")]
    known = np.isfinite(columns).all(axis=0)
    if known.sum() < 2:
        return None
    machine, server, client, seconds = (float(column[known][-1] - column[known][0]) for column in columns)
    return (machine - server - client) / seconds if seconds > 0 else None


def _of_latency(summary: Summary | None) -> Iterator[str]:
    share = None if summary is None else summary.client_share
    if share is not None and (doubt := doubt_of(share)) is not None:
        yield doubt


def _of_messages(findings: Findings) -> Iterator[str]:
    if findings.latency.fault is not None:
        yield f"{LATENCY_FILE} {plain(findings.latency.fault)}."
    summary = findings.record.summary
    messages = None if summary is None else summary.messages
    if messages is None:
        return
    if messages.most_behind_seconds is not None and messages.most_behind_seconds > 1:
        yield (
            f"Messages were published up to {messages.most_behind_seconds:,.1f} s after their time: the machine "
            "could not carry the rate that was asked for, and latency shows the queue."
        )
    if messages.received < 1000:
        yield f"Only {messages.received:,} deliveries arrived: percentiles above 99% rest on a handful of them."


def _option(record: Record, name: str, default: float) -> float:
    value = record.part("options").get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else default


def _host(record: Record, name: str) -> int | None:
    value = record.part("host").get(name)
    return value if isinstance(value, int) else None
