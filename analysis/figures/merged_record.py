"""One record of many: the records of hosts that took part in one run, as `hosts/NAME` of a record of the whole.

In: records by the name of their host, and where the new one goes. Out: the folder of a record with run.json,
samples.csv, latency.csv, states.u8 and ports.u16 of the whole, and a copy of each host's record; whatever reads a
record takes it like any other. Cost: a copy of all of it. Fails: Refused where there is too little to be one record, or
no room; RecordError for a host that can't be read.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from floodtest.analysis.figures.merged_summary import merged_summary
from floodtest.analysis.record import LatencyCounts, Record, RecordWriter, Sample
from floodtest.analysis.record.format import ANSWERS_FILE, HOSTS_FOLDER, PORTS_FILE, STATES_FILE, DiskFault
from floodtest.analysis.record.hosts import Host, HostFacts, first_user
from floodtest.analysis.record.merging import Track, merged_latency, merged_samples
from floodtest.analysis.record.reader import mapping
from floodtest.analysis.record.text import read_text
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.reasons import reason

ANSWERS = 5
"""Of each cause, as a record of one machine has them (docs/run-record.md)."""


def merge_records(
    records: Mapping[str, Record], out: Path, name: str, facts: Mapping[str, HostFacts] | None = None
) -> Path:
    """Write the record of the whole into a folder of its own in `out`; return it.

    `facts` says when each host began, and how far its clock is off; by default that is taken from CLOCK_REALTIME, which
    somebody is to synchronize.
    """
    facts = facts or began_by_realtime(records)
    hosts = [Host(host, facts[host], record) for host, record in records.items()]
    hosts.sort(key=lambda host: first_user(host.record))
    if len(hosts) < 2 or all(host.is_lost for host in hosts):
        raise Refused("A run on several hosts has two records at the least, and one of them has a summary.")
    for record in records.values():
        if out.resolve().is_relative_to(record.folder.resolve()):
            raise Refused(f"{out} is within the record {record.folder}, of which there is to be a copy: name another.")
    writer = RecordWriter(out, name)
    try:
        _write(writer, hosts, {host.name: records[host.name] for host in hosts})
    except BaseException as error:  # an interrupt as well leaves no half of a record behind
        shutil.rmtree(writer.folder, ignore_errors=True)
        if isinstance(error, OSError | DiskFault):
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise Refused(f"The record of the whole can't be written to {out}: {why}.") from error
        raise
    finally:
        writer.close()
    return writer.folder


def began_by_realtime(records: Mapping[str, Record]) -> dict[str, HostFacts]:
    """Return when each host began, by its CLOCK_REALTIME; all of them at once if one has not noted that."""
    told = {name: record.part("began").get("realtime") for name, record in records.items()}
    times = {name: float(time) for name, time in told.items() if isinstance(time, int | float)}
    if len(times) < len(told):
        return dict.fromkeys(told, HostFacts())
    first = min(times.values(), default=0.0)
    return {name: HostFacts(round(time - first, 3), "realtime") for name, time in times.items()}


def _write(writer: RecordWriter, hosts: Sequence[Host], records: Mapping[str, Record]) -> None:
    tracks = [Track(records[host.name].samples, host.facts.began, host.is_lost) for host in hosts]
    samples = merged_samples(tracks)
    for sample in samples:
        writer.write_sample(sample)
    latency = merged_latency([record.read_latency() for record in records.values()])
    if len(latency.rows):
        writer.write_latency((top, *map(int, counts)) for top, *counts in latency.rows.tolist())
    if answers := _answers(records.values()):
        writer.write_answers(answers)
    for file in (STATES_FILE, PORTS_FILE):
        _join([record.folder / file for record in records.values()], writer.folder / file)
    for name, record in records.items():
        shutil.copytree(record.folder, writer.folder / HOSTS_FOLDER / name)
    writer.write_run(_run(writer.folder, hosts, records, samples, latency))


def _run(
    folder: Path,
    hosts: Sequence[Host],
    records: Mapping[str, Record],
    samples: list[Sample],
    latency: LatencyCounts,
) -> dict[str, Any]:
    """Return run.json of the whole."""
    first, *_ = runs = [record.run for record in records.values()]
    options = _alike([run.get("options") for run in runs])
    plans = [mapping(mapping(run.get("options")).get("plan")) for run in runs]
    options["plan"] = {
        **_alike(plans),
        "connections": sum(plan.get("connections", 0) for plan in plans),
        "first_user": min(plan.get("first_user", 1) for plan in plans),
    }
    options["name"] = folder.name
    conditions = mapping(first.get("options")).get("fail_if") or ()
    return {
        "command": first.get("command"),
        "options": options,
        "prediction": _added([run.get("prediction") for run in runs]),
        "host": {
            **_alike([run.get("host") for run in runs]),
            **{part: sum(mapping(run.get("host")).get(part) or 0 for run in runs) for part in ("cores", "memory")},
        },
        "versions": _alike([run.get("versions") for run in runs]),
        "stages": _stages(hosts, records),
        "hosts": {host.name: msgspec.to_builtins(host.facts) for host in hosts},
        "summary": msgspec.to_builtins(merged_summary(str(folder), hosts, samples, latency, conditions)),
    }


def _alike(parts: Sequence[Any]) -> dict[str, Any]:
    """Return a part of several run.json: what all have, and where they differ each value once, with a slash between."""
    tables = [mapping(part) for part in parts]
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name) for table in tables]
        is_one = all(value == values[0] for value in values)
        found[name] = values[0] if is_one else " / ".join(dict.fromkeys(map(str, values)))
    return found


def _added(parts: Sequence[Any]) -> dict[str, Any]:
    """Add up predictions number by number; of limits of files the least is taken, of times the longest."""
    tables = [mapping(part) for part in parts]
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [value for table in tables if (value := table.get(name)) is not None]
        if values and all(isinstance(value, dict) for value in values):
            found[name] = _added(values)
        elif values and all(isinstance(value, int | float) for value in values):
            how = {"files_limit": min, "ramp_seconds": max}.get(name, sum)
            found[name] = how(values)
        else:
            found[name] = values[0] if values else None
    return found


def _stages(hosts: Sequence[Host], records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """Return the stages of the whole: each begins with the first host that begins it, and ends with the last."""
    found: dict[str, dict[str, Any]] = {}
    for host in hosts:
        for stage in records[host.name].run.get("stages") or ():
            start, end = (
                None if (at := stage.get(key)) is None else round(at + host.facts.began, 3) for key in ("start", "end")
            )
            known = found.setdefault(stage["name"], {"name": stage["name"], "start": start, "end": end})
            known["start"] = min((at for at in (known["start"], start) if at is not None), default=None)
            known["end"] = None if None in (known["end"], end) else max(known["end"], end)
    return list(found.values())


def _answers(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the first few answers of each cause."""
    found: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for record in records:
        for answer in _read_answers(record.folder / ANSWERS_FILE):
            counts[answer["name"]] += 1
            if counts[answer["name"]] <= ANSWERS:
                found.append(answer)
    return found


def _read_answers(path: Path) -> list[dict[str, Any]]:
    """Read a file of answers; none where there is no such file, or it is something else."""
    try:
        answers = json.loads(read_text(path))
    except (OSError, ValueError):
        return []
    return [answer for answer in answers if isinstance(answer, dict) and isinstance(answer.get("name"), str)]


def _join(files: Sequence[Path], into: Path) -> None:
    """Write files one behind the other; nothing where a host has not got its own."""
    if all(file.exists() for file in files):
        with open(into, "wb") as joined:
            for file in files:
                with open(file, "rb") as part:
                    shutil.copyfileobj(part, joined)
