"""The preview of a run: what `floodtest plan` shows of an outlook, for a program and for a person. Pure."""

import msgspec

from floodtest.analysis import FORMAT
from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.command.units import size
from floodtest.flyweight.machine.headroom import Room
from floodtest.loadgen.plan.plan import LAST_PORT, Plan
from floodtest.loadgen.preflight.demand import Forecast
from floodtest.loadgen.preflight.outlook import Outlook

SHOWN_ADDRESSES = 20


class Source(msgspec.Struct, frozen=True):
    """A source address: its users and the ports planned for them, first and last, and how many spares it has."""

    address: str
    first_user: int
    last_user: int
    first_port: int
    last_port: int
    spares: int


class Available(msgspec.Struct, frozen=True):
    """Memory that is there, and what of it may be used: what is available less a reserve."""

    source: str
    total: int
    available: int
    reserve: int
    free: int


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `floodtest plan --json`."""

    format: int
    target: str | None
    """None: a server of our own."""
    sources: list[Source]
    prediction: Forecast
    available: list[Available]
    fits: int
    """How many of the planned connections this machine can hold."""
    obstacles: list[str]
    """What would stop the run, a sentence or more each."""


def preview(outlook: Outlook) -> Preview:
    """Draw up the preview."""
    return Preview(
        format=FORMAT,
        target=outlook.options.shown_target,
        sources=sources(outlook.options.plan),
        prediction=outlook.forecast(),
        available=[_available(room) for room in outlook.machine.rooms],
        fits=outlook.fit().connections,
        obstacles=outlook.refusals(),
    )


def sources(plan: Plan) -> list[Source]:
    """Return who is where: 2008's table of addresses, users and ports; an empty one where there are none."""
    rows = list[Source]()
    if plan.is_anonymous:
        return rows
    for number, address in enumerate(plan.addresses):
        first = plan.first_user + number * plan.each
        last = plan.first_user - 1 + min((number + 1) * plan.each, plan.connections)
        last_port = plan.first_port + last - first
        rows.append(Source(address, first, last, plan.first_port, last_port, LAST_PORT - last_port))
    return rows


def _available(room: Room) -> Available:
    return Available(room.source, room.total, room.available, room.reserve, max(0, room.free))


def render_preview(shown: Preview) -> str:
    """Write the preview for a person."""
    found = shown.prediction
    server = "the server is not ours" if found.server_workers is None else f"{found.server_workers} server"
    lines = [
        f"{counted(found.connections, 'connections')} to {shown.target or 'a server of our own'}",
        "",
        *_source_lines(shown.sources),
        "",
        f"workers  {found.client_workers} client, {server}; {found.files_limit:,} files each",
        f"ramp     about {found.ramp_seconds:,.0f} s{_handshakes(found)}",
        "",
        "memory",
        *_memory_lines(found),
        "",
        *(
            f"  {size(room.free):>10}  free of {size(room.available)} available in {room.source}, beyond a reserve of "
            f"{size(room.reserve)}"
            for room in shown.available
        ),
        "",
    ]
    if not shown.obstacles:
        return "\n".join([*lines, "A run would start."])
    sentences = [f"  {line}" for obstacle in shown.obstacles for line in obstacle.splitlines()]
    return "\n".join([*lines, "A run would be refused:", *sentences])


def _handshakes(found: Forecast) -> str:
    if found.handshake_us is None:
        return ""
    client, server = found.handshake_us
    return (
        f"; a handshake of TLS takes the client {client:,.0f} µs of CPU, and a server with a key of P-256 {server:,.0f}"
        ", as measured just now"
    )


def _source_lines(rows: list[Source]) -> list[str]:
    if not rows:
        return ["from no addresses and ports: the target is a Unix socket"]
    table = [("address", "users", "ports", "spares")]
    table += [
        (
            row.address,
            f"{row.first_user:,} to {row.last_user:,}",
            f"{row.first_port} to {row.last_port}",
            f"{row.spares:,}",
        )
        for row in rows[:SHOWN_ADDRESSES]
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return lines if len(rows) <= SHOWN_ADDRESSES else [*lines, f"and {len(rows) - SHOWN_ADDRESSES:,} more addresses"]


def _memory_lines(found: Forecast) -> list[str]:
    rows: list[tuple[int | None, str]] = [
        (found.server_user, "server, user memory"),
        (found.client_user, "client, user memory"),
    ]
    rows += [(count, f"kernel, {kind}") for kind, count in sorted(found.kernel.items(), key=lambda item: -item[1])]
    rows += [
        (count, name)
        for count, name in (
            (found.hash_table, "kernel, table of established connections"),
            (found.queued, "kernel, messages that wait to be read, at the most"),
            (found.store, "page cache, store of subscriptions"),
        )
        if count
    ]
    rows.append((found.total, f"in all, {found.total / found.connections:,.0f} B a connection"))
    lines = [f"  {size(count):>10}  {name}" for count, name in rows if count is not None]
    if found.loading:
        lines.append(f"  {size(found.loading):>10}  before that, while friends are loaded")
    return [*lines, f"sizes of kernel objects: {found.kernel_source}"]
