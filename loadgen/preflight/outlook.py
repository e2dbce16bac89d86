"""The outlook of a run: its target, the machine, what it asks of it, and all that stands in its way before a start.

`run` refuses what stands in its way; `plan` and `doctor` only tell it. Opens nothing; looks up the target's name.
"""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from floodtest.flyweight.command.counted import counted
from floodtest.flyweight.errors import Refused
from floodtest.flyweight.machine.listeners import Listener, listeners_at
from floodtest.flyweight.machine.unix_listeners import find_listeners
from floodtest.loadgen.network.wish import HOST, Network
from floodtest.loadgen.plan.options import RunOptions
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.plan.request import file_of, parse_target, request_of, text_to_send, to_bytes
from floodtest.loadgen.preflight.checks import examine
from floodtest.loadgen.preflight.claims import claim_of, refuse_what_is_claimed
from floodtest.loadgen.preflight.demand import Demand, Forecast, demand_of, forecast
from floodtest.loadgen.preflight.fit import Fit, fit, refuse_what_does_not_fit
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.ports import note_on_kernel_ports
from floodtest.loadgen.preflight.server_files import files_of
from floodtest.loadgen.preflight.server_processes import ServerProcesses, find_server, named_server
from floodtest.loadgen.preflight.targets import (
    Target,
    addresses_elsewhere,
    check_addresses,
    check_consent,
    check_publishing,
    resolve_ring,
    resolve_target,
)
from floodtest.loadgen.preflight.users import Users, load_users, read_text
from floodtest.loadgen.preflight.verdicts import Verdict
from floodtest.wire.requests import MAX_USERS
from floodtest.wire.ring_servers import read_servers
from floodtest.wire.template import OWN, OWN_OF_POLLS
from floodtest.wire.tls.certificates import NAME
from floodtest.wire.tls.settings import ClientTls

LEAST_FILE, BYTES_A_USER = 48 << 20, 24
"""Bytes of the largest piece of memory that our server shares with its fronts: that of a turn of the router is 39 MiB,
and what tells where users are has up to 12 bytes for each of them, or for each file that its fronts may open."""


@dataclass(frozen=True)
class Outlook:
    """What can be known of a run before it starts."""

    options: RunOptions
    target: Target | None
    machine: Machine
    demand: Demand
    server: ServerProcesses | None = None
    """Whose memory is that of a server that is not ours; None: it is ours."""
    elsewhere: tuple[str, ...] = ()
    """Addresses of the target that are not on this machine."""

    @cached_property
    def users(self) -> Users | None:
        """Users' own values, if a file has them; Refused where it does not have what requests need."""
        options = self.options
        if options.users is None or self.target is None:
            return None
        return load_users(
            options.users, self.target.asked, options.plan.connections, options.reserve, _own_placeholders(options)
        )

    @property
    def opens_here(self) -> bool:
        """Whether connections are opened by this machine; where they are not, their hosts look for themselves."""
        return not self.options.cluster.is_asked

    def forecast(self) -> Forecast:
        return forecast(self.demand, self.machine)

    def verdicts(self) -> list[Verdict]:
        """Return what all checks find."""
        return examine(self.machine, self.demand)

    def fit(self) -> Fit:
        """Return how many of the planned connections this machine can hold."""
        return fit(self.machine, self.demand)

    def notes(self) -> list[str]:
        """Return what to say of a run before it starts, a sentence or more each."""
        is_known = self.opens_here and not self.demand.explicit_ports and not self.demand.isolated
        chosen = self.machine.port_range if is_known else None
        found = [
            None if chosen is None else note_on_kernel_ports(self.options.plan, chosen),
            None if self.target is None else self.target.note(),
            None if self.server is None else self.server.note(),
        ]
        return [note for note in found if note is not None]

    def refuse(self) -> None:
        """Refuse a run that would fail; each reason is said by the first that has one."""
        for check in self._checks():
            check()

    def refusals(self) -> list[str]:
        """Return all that stands in the way, a refusal each."""
        found = []
        for check in self._checks():
            try:
                check()
            except Refused as error:
                found.append(str(error))
        return found

    def _checks(self) -> list[Callable[[], None]]:
        plan, target = self.options.plan, self.target
        checks: list[Callable[[], None]] = []
        if self.opens_here and not self.demand.isolated:
            checks.append(partial(check_addresses, plan, target))
        if target is not None and self.options.target is not None:
            checks.append(partial(check_consent, self.options.target, target, self.options.allow_public_target))
        if self.options.latency is not None and self.options.clock_offset is None:
            checks.append(partial(_refuse_another_clock, self.elsewhere))
        if self.options.messages is not None and self.options.messages.publish is not None:
            _, url = self.options.messages.publish
            checks.append(partial(check_publishing, url, self.options.allow_public_target))
        if self.options.control is not None:
            checks.append(
                partial(check_publishing, self.options.control, self.options.allow_public_target, "--control")
            )
        checks.append(partial(_refuse_numbers_beyond_our_server, plan) if target is None else self._read_users)
        if self.opens_here and self.demand.explicit_ports and not self.demand.isolated:
            checks.append(lambda: refuse_what_is_claimed(claim_of(plan)))
        if self.options.friends is not None:
            checks.append(partial(_refuse_what_is_no_file, self.options.friends))
        if self.options.db is not None:
            checks.append(partial(_refuse_what_is_no_store, self.options.db))
        checks.append(partial(_refuse_what_is_not_ours_to_write, self.options.out))
        checks.append(partial(_refuse_small_files, self.demand))
        if self.opens_here:
            checks.append(partial(refuse_what_does_not_fit, self.machine, self.demand))
        return checks

    def _read_users(self) -> None:
        """Refuse what `users` refuses."""
        _ = self.users


def fitted(options: RunOptions, network: Network = HOST) -> tuple[RunOptions, Fit]:
    """Cut the plan to what this machine can hold; Refused when that is nothing."""
    found = look(options, network).fit()
    if found.connections < 1:
        raise Refused(f"Not one connection fits: {found.reason}.")
    return replace(options, plan=replace(options.plan, connections=found.connections)), found


def cut_to_fit(options: RunOptions, network: Network, say: Callable[[str], None]) -> RunOptions:
    """Cut the plan to what this machine can hold, and say so."""
    planned = counted(options.plan.connections, "planned connections")
    options, found = fitted(options, network)
    say(f"This machine can hold {found.connections:,} of the {planned}: {found.reason}.")
    return options


def look(options: RunOptions, network: Network = HOST) -> Outlook:
    """Return the outlook; Refused when the target or its process can't be found."""
    machine = Machine(reserve=options.reserve)
    if options.tls_of_publishing is not None:
        _try(options.tls_of_publishing, "--publish")
    if options.target is None:
        if options.speaks_tls:
            _try(options.tls.settings(NAME, is_http=True), "--server-name")
        return Outlook(options, None, machine, demand_of(options, None, network))
    target = target_of(options.target, options)
    elsewhere = addresses_elsewhere(target)
    listeners = [] if elsewhere else find_listeners(target.addresses)
    if options.server_pid is not None:
        server = named_server(options.server_pid)
    elif elsewhere:
        server = ServerProcesses(reason=f"{elsewhere[0]} is on another machine")
    else:
        server = find_server(target.addresses, listeners)
    files = files_of(server.holders) if server.holders else None
    demand = demand_of(options, target, network, files, _backlog(target, listeners))
    return Outlook(options, target, machine, demand, server, tuple(elsewhere))


def target_of(url: str, options: RunOptions) -> Target:
    """Look up a target, and read what is asked for there if it is in a file."""
    if options.ring is None:
        target = resolve_target(url, options.plan.base_ip, options.address)
    else:
        target = resolve_ring(url, options.plan.base_ip, read_servers(options.ring))
    body = _text_of(options.body, "--body", to_bytes)
    sent = _text_of(options.send, "--send", partial(text_to_send, asked=target.asked))
    asked = request_of(url, options.headers, options.method, body, sent)
    if problems := asked.problems(_own_placeholders(options) if options.users is None else None):
        raise Refused("\n".join(problems))
    tls = options.tls.settings(parse_target(url).host, bool(target.asked.path)) if options.speaks_tls else None
    if tls is not None:
        _try(tls, "--target" if options.tls.server_name is None else "--server-name")
    return replace(target, asked=asked, tls=tls)


def _try(tls: ClientTls, name_option: str) -> None:
    """Refuse what no worker could begin a handshake with."""
    # Not above: OpenSSL takes some MB, and a run without TLS has none.
    from floodtest.wire.tls.contexts import try_client

    try_client(tls, name_option)


def _own_placeholders(options: RunOptions) -> tuple[str, ...]:
    return OWN if options.cursor is None else OWN_OF_POLLS


def _refuse_numbers_beyond_our_server(plan: Plan) -> None:
    if plan.last_user > MAX_USERS:
        raise Refused(
            f"Our server takes users up to {MAX_USERS:,}, and the last one would be {plan.last_user:,}: choose another "
            "--first-user."
        )


def _text_of(text: str | None, name: str, to_bytes: Callable[[str], bytes]) -> bytes | None:
    """Return the bytes of an option that is a text, or in a file."""
    file = None if text is None else file_of(text)
    return read_text(file, name) if file is not None else None if text is None else to_bytes(text)


def _refuse_another_clock(elsewhere: tuple[str, ...]) -> None:
    if elsewhere:
        raise Refused(
            f"--latency: {elsewhere[0]} is on another machine, and the difference of its clock from this one's would "
            "pass for latency. Say by how much it is ahead: --clock-offset SECONDS, 0 if both are synchronized well."
        )


def _refuse_what_is_no_file(friends: Path) -> None:
    if not friends.is_file() and not friends.is_dir():  # a folder may have the parts of a parquet file
        raise Refused(f"There is no file {friends}. Make one: fakefriends gen")


def _refuse_what_is_no_store(db: Path) -> None:
    if not (db / "data.mdb").is_file():  # the file of LMDB
        raise Refused(f"There is no subscription store in {db}. Make one: comet load FRIENDS --db {db}")


def _refuse_what_is_not_ours_to_write(out: Path) -> None:
    place = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.exists(path))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise Refused(
            f"Can't write the run record to {out}: {place} is no folder that we may write to. Choose another --out."
        )


def _refuse_small_files(demand: Demand) -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    least = LEAST_FILE + BYTES_A_USER * demand.connections
    if demand.bundled and 0 <= most < least:  # RLIM_INFINITY is -1
        raise Refused(
            f"A file of this process, shared memory included, may have {most >> 10:,} KiB, and the server takes "
            f"{least >> 10:,} KiB: raise ulimit -f."
        )


def _backlog(target: Target, listeners: list[Listener]) -> int | None:
    """Return how many connections may wait at a target's listeners together; None where that is not known of each."""
    found = {one.inode: one for address, port in target.addresses for one in listeners_at(listeners, address, port)}
    known = [one.backlog for one in found.values() if one.backlog is not None]
    return sum(known) if known and len(known) == len(found) else None
