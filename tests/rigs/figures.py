"""Samples, figures and summaries of a run that went well, for tests that change one thing about them."""

from pathlib import Path
from typing import Any

import msgspec

from floodtest.analysis import Findings, Record, Sample, Summary, read_findings
from floodtest.analysis.figures.compare import Comparison, compare
from floodtest.analysis.record.summary import (
    CauseInWords,
    ClientShare,
    Connections,
    Cost,
    Cpu,
    Latency,
    Lifetimes,
    Memory,
    Messages,
    Network,
    Percentiles,
    Ramp,
    ServerTimes,
    Timing,
    Workers,
)
from floodtest.loadgen.run.reading import Counters, Reading, Sent, States
from floodtest.wire.control import ApiFigures, Generated, MachineFigures, ServerMemory, ServerPids, Stats, StoreSize

MIB = 1 << 20
EACH = 1000


def sample(**changes: Any) -> Sample:
    """A sample in the middle of a hold of 1,000 connections."""
    figures: dict[str, Any] = {
        "time": 12.5,
        "stage": "hold",
        "not_reached": 0,
        "in_flight": 0,
        "open": EACH,
        "failed": 0,
        "closed_early": 0,
        "received": EACH,
        "bytes": 152 * EACH,
        "missing": 0,
        "repeated": 0,
        "server_private": 20 * MIB,
        "client_private": 10 * MIB,
        "server_cpu": 1.25,
        "client_cpu": 0.75,
        "mem_available": 2000 * MIB,
        "slab": 110 * MIB,
        "kernel_stack": 3 * MIB,
        "page_tables": 4 * MIB,
        "percpu": 5 * MIB,
        "sockets": 2100,
        "tcp_inuse": 2050,
        "tcp_time_wait": 3,
        "tcp_queued": 4096,
    }
    return Sample(**{**figures, **changes})


def start(**changes: Any) -> Sample:
    """The last sample before the ramp."""
    before = {
        "time": 0.5,
        "stage": "start",
        "not_reached": EACH,
        "open": 0,
        "received": 0,
        "bytes": 0,
        "server_private": 15 * MIB,
        "client_private": 8 * MIB,
        "mem_available": 2020 * MIB,
        "slab": 100 * MIB,
    }
    return sample(**{**before, **changes})


def machine(name: str, **changes: Any) -> MachineFigures:
    """What a router says of a front machine that is there, and with which all is well."""
    counts = ("connections", "times_lost", "connections_lost", "frames", "gaps", "malformed", "rows_lost", "in_window")
    return MachineFigures(**{"name": name, "is_there": True, "fronts": [None], **dict.fromkeys(counts, 0), **changes})


def stats(**changes: Any) -> Stats:
    """What a server with two fronts says of itself in the middle of a hold of 1,000 connections."""
    figures: dict[str, Any] = {
        "model": "columns",
        "connections": EACH,
        "logins": EACH + 2,
        "bytes": 152 * EACH,
        "dropped": 0,
        "slow": 1,
        "excess": 0,
        "silent": 0,
        "deliveries": 0,
        "undeliverable": 0,
        "accept_errors": 0,
        "rejected": {404: 3, 431: 1},
        "violations": {},
        "unanswered": 0,
        "tls": None,
        "control": ApiFigures(connections=1, bytes=0, given_up=0, rejected={400: 2}),
        "pids": ServerPids(parent=10, nursery=11, fronts=[12, 13]),
        "fronts": [None, None],
        "fronts_begun": 2,
        "fronts_given_up": 0,
        "fronts_left_out": 0,
        "memory": ServerMemory(private=20 * MIB, available=2000 * MIB, total=4000 * MIB),
        "tick_seconds": None,
        "ticking": False,
        "ticks_skipped": 0,
        "messages": 0,
        "routed": 0,
        "subscriptions": StoreSize(subjects=7, pairs=70),
        "history": None,
        "ticks": [],
    }
    return Stats(**{**figures, **changes})


def reading(planned: int = EACH, **changes: Any) -> Reading:
    """What a site says of itself that has opened all of its connections, and read no figures."""
    said: dict[str, Any] = {
        "states": States(not_reached=0, in_flight=0, open=planned, failed=0, closed_early=0),
        "counters": Counters(received=planned, bytes=152 * planned, missing=0, repeated=0, jumps=0, messages=0),
        "attempts": planned,
        "opens": planned,
        "begun": 2,
        "put_off": 0,
        "protocols": {"chunked": planned},
        "failed": {},
        "closed_by": {},
        "durations": {},
        "answers": [],
        "ticks": {},
        "latency": {},
        "latency_published": {},
        "watched": 0,
        "watched_read": {},
        "watched_arrival": {},
        "watched_shared": 0,
        "sent": Sent(0, 0, 0),
        "first_message_ns": 0,
        "last_message_ns": 0,
        "replaced_ports": 0,
        "workers": 2,
        "files_limit": 20_000,
        "reasons": [],
        "figures": None,
    }
    return Reading(**{**said, **changes})


def generated(**changes: Any) -> Generated:
    """What a generator says of 100 messages that it published, three of them late."""
    figures: dict[str, Any] = {
        "planned": 100,
        "published": 100,
        "deliveries": 1600,
        "late": 3,
        "most_behind": 0.25,
        "seconds": 60.1,
        "error": None,
    }
    return Generated(**{**figures, **changes})


NOT_MEASURED = Memory(
    server_user_bytes_per_connection=None,
    client_user_bytes_per_connection=None,
    kernel_bytes_per_connection=None,
    kernel_source="/proc/meminfo",
    server_fixed_bytes=None,
    client_fixed_bytes=None,
    server_marginal_bytes_per_connection=None,
    client_marginal_bytes_per_connection=None,
    available_bytes_per_connection=None,
    measured_bytes=None,
    predicted_bytes=None,
)


def connections(**changes: Any) -> Connections:
    figures: dict[str, Any] = {
        "planned": 1_054_000,
        "opened": 1_054_000,
        "peak_open": 1_054_000,
        "closed_early": 0,
        "not_reached": 0,
        "failed": {},
        "closed_by": {},
        "replaced_ports": 0,
    }
    return Connections(**{**figures, **changes})


def messages(**changes: Any) -> Messages:
    """A minute of messages, all of which arrived."""
    figures: dict[str, Any] = {
        "planned": 60_000,
        "published": 60_000,
        "expected": 960_000,
        "received": 960_000,
        "lost": 0,
        "duplicated": 0,
        "undeliverable": 0,
        "late": 12,
        "most_behind_seconds": 0.123,
        "seconds": 60.1,
        "per_second": 15_973.4,
        "latency_ms": Latency(12.1, 17.5, 22.9, 29.9, 37.1),
        "uncorrected_latency_ms": Latency(7.0, 10.6, 15.9, 22.6, 29.1),
    }
    return Messages(**{**figures, **changes})


def server_times(**changes: Any) -> ServerTimes:
    """Times in a server's messages, of which a few are not what they should be."""
    figures: dict[str, Any] = {
        "timed": 4000,
        "ahead": 3,
        "old": 2,
        "unreadable": 1,
        "without": 1000,
        "clock_offset_seconds": 0.0,
        "latency_ms": Latency(10.0, 20.0, 31.0, 42.0, 53.0),
    }
    return ServerTimes(**{**figures, **changes})


def cost(one_more: float, low: float, high: float) -> Cost:
    """What one more connection costs, where growth and slope are one."""
    return Cost(one_more=one_more, low=low, high=high, slope=one_more, growth=one_more, doubt=None)


def summary(**changes: Any) -> Summary:
    """The summary of a million opened and held."""
    figures: dict[str, Any] = {
        "format": 1,
        "run": "runs/20250615-120000",
        "outcome": "ok",
        "reasons": [],
        "connections": connections(),
        "ramp": Ramp(37.4, 28_181.8),
        "workers": Workers(54, 54, 20_000),
        "network": Network("host", "loopback", None),
        "memory": Memory(
            server_user_bytes_per_connection=181.0,
            client_user_bytes_per_connection=171.0,
            kernel_bytes_per_connection=10_100.0,
            kernel_source="/proc/meminfo",
            server_fixed_bytes=160 * MIB,
            client_fixed_bytes=150 * MIB,
            server_marginal_bytes_per_connection=21.0,
            client_marginal_bytes_per_connection=20.0,
            available_bytes_per_connection=10_500.0,
            server=cost(21.0, 17.0, 25.0),
            client=cost(20.0, -5.0, 30.0),
            kernel=cost(8365.0, 8300.0, 8420.0),
            measured_bytes=11_016_408_000,
            predicted_bytes=10_900_000_000,
        ),
        "cpu": Cpu(0.004, 0.003),
        "ticks": [],
        "messages": None,
        "received": 1_054_000,
        "bytes": 160_208_000,
        "missing": 0,
        "repeated": 0,
    }
    return Summary(**{**figures, **changes})


def troubled() -> dict[str, Any]:
    """Fields of a summary with early ends, and answers that opened nothing and have long words in them."""
    times = Percentiles(0.012, 2.4, 30.7, 11_034.2)
    note = "180 of 200 connections ended 60 s after their last byte: an idle time-out of a proxy, or of the server?"
    return {
        "protocol": "sse",
        "opened_when": f"text:{'x' * 150}",
        "timing": Timing(times, None, times),
        "lifetimes": Lifetimes(200, Percentiles(60.1, 65.0, 81.0, 100.0), Percentiles(60.0, 60.1, 60.3, 61.0), note),
        "causes": [
            CauseInWords(
                "HTTP_302@response",
                1200,
                "It moved.",
                "Follow it.",
                rf"HTTP/1.1 302 Found\r\nLocation: /{'a' * 100}\r\n\r\n<b>moved\x1b</b>",
                f"Location: /{'a' * 180}",
            ),
            CauseInWords("cut", 200, "It was cut.", "Look at the lifetimes."),
        ],
    }


def record_of(samples: list[Sample], folder: Path = Path("runs/20250615-120000"), **run: Any) -> Record:
    """A record as it would be read back."""
    return Record(folder, {"format": 1, **run}, samples)


def findings_of(samples: list[Sample], **run: Any) -> Findings:
    """What such a record shows."""
    return read_findings(record_of(samples, **run))


def compared(records: list[Record], force: bool = False) -> Comparison:
    """What a comparison of single runs says."""
    return compare([[record] for record in records], force)


def client_share(**changes: object) -> ClientShare:
    """A sample of arrivals, of whose latency the client's own is large at the 99% percentile only."""
    told = ClientShare(
        sampled_connections=149,
        sampled_messages=1500,
        shared=20,
        read_ms=Latency(10.0, 11.0, 12.0, 50.0, 60.0),
        arrival_ms=Latency(9.5, 10.5, 3.0, 4.0, 5.0),
    )
    return msgspec.structs.replace(told, **changes)
