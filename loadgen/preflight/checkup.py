"""The checkup: what `floodtest doctor` shows of the checks, for a program and for a person. Pure."""

import textwrap
from collections.abc import Sequence

import msgspec

from floodtest.analysis import FORMAT
from floodtest.flyweight.command.counted import counted
from floodtest.loadgen.preflight.machine import KernelTls
from floodtest.loadgen.preflight.tls_support import TlsSupport
from floodtest.loadgen.preflight.verdicts import Relation, Verdict, show

WIDTH = 110
INDENT = " " * 8
_KERNEL_TLS: dict[KernelTls, str] = {
    "there": "this kernel has it; it is not used, as it saves CPU and no memory",
    "module": "this kernel has it as a module, which is not loaded; it is not used, as it saves CPU and no memory",
    "none": "this kernel has none, as far as can be seen",
}
_SIGNS = {">=": "at least", "<=": "at most", "==": ""}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A check: its value, what is needed, whether that holds, whether a run fails without it, why, and who says so."""

    name: str
    value: int | str | None
    relation: Relation
    needed: int | str | None
    unit: str
    ok: bool
    stops: bool
    reason: str
    source: str
    sysctl: str | None
    """What to change, if it is a sysctl."""


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `floodtest doctor --json`."""

    format: int
    connections: int
    ready: bool
    """Whether nothing would stop a run."""
    checks: list[Row]
    obstacles: list[str]
    """What would have the run refused, a sentence or more each; with what the checks do not see."""
    tls: TlsSupport


def checkup(connections: int, verdicts: list[Verdict], tls: TlsSupport, obstacles: Sequence[str] = ()) -> Checkup:
    """Draw up the table."""
    return Checkup(
        format=FORMAT,
        connections=connections,
        ready=not obstacles and not any(verdict.stops for verdict in verdicts),
        checks=list(map(_row, verdicts)),
        obstacles=list(obstacles),
        tls=tls,
    )


def _row(verdict: Verdict) -> Row:
    check = verdict.check
    return Row(
        name=check.name,
        value=verdict.value,
        relation=check.relation,
        needed=verdict.needed,
        unit="B" if check.unit == "MiB" else check.unit.strip(),
        ok=verdict.ok,
        stops=verdict.stops,
        reason=check.reason,
        source=check.source,
        sysctl=None if check.setting is None else check.setting.name,
    )


def render_checkup(connections: int, verdicts: list[Verdict], tls: TlsSupport, obstacles: Sequence[str] = ()) -> str:
    """Write the table for a person: what stops a run first, then what is advice, then what is well, then TLS."""
    verdicts = sorted(verdicts, key=lambda verdict: (verdict.ok, not verdict.stops))
    lines = [
        f"For {counted(connections, 'connections')}",
        "",
        *(line for verdict in verdicts for line in _lines(verdict)),
        "",
        *_tls_lines(tls),
        "",
    ]
    if obstacles:
        lines += ["A run would be refused:", *(f"  {line}" for text in obstacles for line in text.splitlines()), ""]
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    if not wrong and obstacles:
        return "\n".join(lines[:-1])
    if not wrong:
        return "\n".join([*lines, "All is well."])
    stopping = sum(verdict.stops for verdict in wrong)
    said = f"{stopping} would stop a run" if stopping else "Nothing in the table would stop a run"
    if len(wrong) > stopping:
        said += f"; {len(wrong) - stopping} could be better"
    if any(verdict.check.setting is not None for verdict in wrong):
        said += ". floodtest doctor --apply changes what is a sysctl, --sysctl prints it"
    return "\n".join([*lines, f"{said}."])


def _tls_lines(tls: TlsSupport) -> list[str]:
    version = "has TLS 1.3" if tls.has_tls_1_3 else "has no TLS 1.3, and each connection over TLS keeps an object"
    client, server = f"{tls.client_handshakes_per_second:,}", f"{tls.server_handshakes_per_second:,}"
    return [
        f"TLS     Python's {tls.openssl} {version}",
        f"{INDENT}a core does {client} handshakes a second at a client, and {server} at a server with a key of P-256",
        f"{INDENT}kTLS: {_KERNEL_TLS[tls.kernel_tls]}",
    ]


def _lines(verdict: Verdict) -> list[str]:
    check = verdict.check
    mark = "ok" if verdict.ok else "NO" if verdict.stops else "better"
    needed = f"{_SIGNS[check.relation]} {show(verdict.needed, check.unit)}".strip()
    asked = "none needed" if needed == "at least 0" else f"needed {needed}"
    head = f"{mark:6}  {check.name}: {show(verdict.value, check.unit)}, {asked}"
    return [
        head,
        *textwrap.wrap(f"{check.reason} [{check.source}]", WIDTH, initial_indent=INDENT, subsequent_indent=INDENT),
    ]
