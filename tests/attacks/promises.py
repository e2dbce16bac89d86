"""What floodtest promises of a run, whatever is done to it, held against what came of one.

In: an `Outcome`. Out: a sentence for each promise that was broken. It reads the run record through `analysis.load`, as
anybody would.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from floodtest.analysis import Record, load
from floodtest.analysis.record import RecordError
from floodtest.loadgen.client.accounts import State
from tests.attacks import parts
from tests.attacks.trial import VARIANTS, Outcome

_FILES = {
    "run.json", "samples.csv", "states.u8", "ports.u16", "latency.csv", "answers.json", "messages.log", "server.log",
}  # fmt: skip

_UNFINISHED = {".run.json", ".latency.csv", ".answers.json"}
"""What a run that is killed may have been writing."""


def broken(outcome: Outcome, misjudged: Callable[[Outcome], Iterator[str]]) -> Iterator[str]:
    """Say which promises were broken, those that hold for every run and those of an attack, with all that is needed to
    look into it.
    """
    for what in (*_broken(outcome), *misjudged(outcome)):
        yield _in_words(outcome, what)


def _in_words(outcome: Outcome, what: str) -> str:
    """Say what was wrong, and of which run."""
    stage = outcome.stage or "time before the record"
    where = f"process {outcome.pid}, at {outcome.seconds:.1f} s, in the {stage}" if outcome.pid else "it was not hit"
    last = " / ".join(outcome.errors.splitlines()[-4:])
    return f"run {outcome.plan}, {where}: {what}. Exit code {outcome.code}; its last words: {last}."


def _broken(outcome: Outcome) -> Iterator[str]:
    if outcome.code is None:
        yield "it did not end"
    if outcome.left:
        yield f"processes were left: {', '.join(outcome.left)}"
    if "Traceback" in outcome.errors:
        yield f"a traceback on stderr: {outcome.errors[outcome.errors.index('Traceback') :]}"
    if left := sorted(outcome.temporary.iterdir()):
        yield f"temporary files were left: {', '.join(map(str, left))}"
    try:
        record, summary = record_of(outcome), summary_of(outcome)
    except (RecordError, ValueError) as error:
        yield f"its record, or what it printed, can't be read: {error}"
        return
    if record is not None:
        yield from _broken_in_record(outcome, record)
    if summary is not None:
        yield from _broken_in_accounts(summary, None if record is None else record.read_states())
        if record is None or record.run["summary"] != summary:
            yield "what it printed is not the summary of its record"


def record_of(outcome: Outcome) -> Record | None:
    """Return the record of a run; None if it had not begun one."""
    folders = list(outcome.out.iterdir()) if outcome.out.exists() else []
    if not folders or (outcome.plan.part == parts.FLOODTEST and not (folders[0] / "run.json").exists()):
        return None
    return load(folders[0])


def summary_of(outcome: Outcome) -> dict[str, Any] | None:
    """Return the summary that a run printed; None if it printed none, or one of a run that was refused."""
    summary: dict[str, Any] = json.loads(outcome.output or "{}")
    return summary if summary.get("connections") else None


def _broken_in_record(outcome: Outcome, record: Record) -> Iterator[str]:
    names = {path.name for path in record.folder.iterdir()}
    unknown = names - _FILES - (_UNFINISHED if outcome.plan.part == parts.FLOODTEST else set())
    if unknown:
        yield f"left in its record: {', '.join(sorted(unknown))}"
    for name in ("server.log", "messages.log"):
        if name in names and "Traceback" in (text := (record.folder / name).read_text()):
            yield f"a traceback in {name}: {text[text.index('Traceback') :]}"
    planned = record.run["options"]["plan"]["connections"]
    if "states.u8" in names and len(record.read_states()) not in (0, planned):
        yield f"{len(record.read_states())} states for {planned} connections"
    for sample in record.samples:
        total = sample.not_reached + sample.in_flight + sample.open + sample.failed + sample.closed_early
        if total != planned:
            yield f"the states of the sample at {sample.time} s add up to {total} of {planned}"
    if record.run["summary"] is not None and record.summary is None:
        yield f"its summary can't be understood: {record.summary_fault}"


def _broken_in_accounts(summary: dict[str, Any], states: Any) -> Iterator[str]:
    connections, messages = summary["connections"], summary["messages"]
    failed, closed_early = sum(connections["failed"].values()), connections["closed_early"]
    if connections["planned"] != connections["opened"] + failed + connections["not_reached"]:
        yield f"connections do not add up: {connections}"
    if closed_early != sum(connections["closed_by"].values()):
        yield f"the causes of {closed_early} closed early do not add up: {connections['closed_by']}"
    if states is not None:
        count = {state: int(np.count_nonzero(states == state.value)) for state in State}
        told = {
            "failed": (count[State.FAILED], failed),
            "closed early": (count[State.CLOSED_EARLY], closed_early),
            "opened": (count[State.OPEN] + count[State.CLOSED_EARLY], connections["opened"]),
        }
        for what, (there, said) in told.items():
            if there != said:
                yield f"{what}: {there} in states.u8, {said} in the summary"
    if messages is not None:
        if messages["expected"] != messages["received"] - messages["duplicated"] + messages["lost"]:
            yield f"messages do not add up: {messages}"
        if messages["duplicated"] or messages["lost"] < 0 or messages["published"] > messages["planned"]:
            yield f"messages that nobody sent: {messages}"


def was_whole(summary: dict[str, Any]) -> bool:
    """Whether nothing was lost in a run, by its own figures: what exit code 0 says. Packets that the kernel dropped are
    those of all programs of the machine, and TCP sends them again.
    """
    connections, messages = summary["connections"], summary["messages"]
    reasons = [reason for reason in summary["reasons"] if not reason.startswith("packets: ")]
    return (
        summary["outcome"] == "ok"
        and not reasons
        and connections["opened"] == connections["planned"]
        and not connections["closed_early"]
        and summary["missing"] == summary["repeated"] == summary["jumps"] == 0
        and all(tick["sent"] == tick["received"] == connections["planned"] for tick in summary["ticks"])
        and (messages is None or (messages["published"] == messages["planned"] and not messages["lost"]))
    )


def has_ticks(outcome: Outcome) -> bool:
    """Whether ticks were asked for."""
    return "--tick" in VARIANTS[outcome.plan.variant]


def host() -> dict[str, Any]:
    """Return what a run must leave as it was: devices with their addresses, and settings of the kernel."""
    addresses = psutil.net_if_addrs()
    found: dict[str, Any] = {
        f"addresses of {device}": sorted(each.address for each in addresses[device]) for device in addresses
    }
    for setting in (
        "net/ipv4/ip_local_port_range", "net/ipv4/tcp_child_ehash_entries", "net/ipv4/tcp_max_syn_backlog",
        "net/core/somaxconn", "fs/nr_open", "fs/file-max",
    ):  # fmt: skip
        file = Path("/proc/sys") / setting
        found[setting] = file.read_text() if file.exists() else None
    return found


def changed(before: dict[str, Any]) -> list[str]:
    """Say what of the host is not as it was."""
    after = host()
    return [
        f"{what} was {before.get(what)} and is {after.get(what)}"
        for what in before.keys() | after.keys()
        if before.get(what) != after.get(what)
    ]
