"""`floodtest run --network`: a network of the run's own, with and without root, forbidden, killed; the host's stays."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from floodtest.analysis import load
from floodtest.loadgen.network.choice import _foresee
from floodtest.loadgen.network.namespaces import own_entries
from floodtest.loadgen.network.wish import MAX_ENTRIES, Network, Wish, entries_for, wish_of
from floodtest.loadgen.plan.plan import Plan
from tests.rigs.confinement import (
    CAP_SETUID,
    CAP_SYS_ADMIN,
    allow_one_network_namespace,
    drop,
    forbid_unshare,
    forbid_user_namespaces,
)
from tests.rigs.namespaces import in_a_namespace
from tests.rigs.support import (
    OUR_NETWORK,
    command,
    descendants,
    flood,
    open_now,
    processes_of,
    run_forked,
    run_here,
    started,
    wait_until,
)

ISOLATED = ("--network", "isolated")
QUIET = ("--json", "--no-report")

SYSCTLS = [
    "user/max_user_namespaces",
    "net/core/somaxconn",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_child_ehash_entries",
    "net/ipv4/tcp_ehash_entries",
    "net/ipv4/tcp_max_syn_backlog",
]


def namespace(pid: int | str = "self", kind: str = "net") -> str | None:
    """Return which namespace a process is in, None when it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None


def processes_in(namespaces: set[str | None]) -> list[int]:
    return [pid for pid in psutil.pids() if namespace(pid) in namespaces - {None}]


def host() -> tuple[dict[str, str], set[str]]:
    """Return all of the host that a run might have changed: sysctls and addresses."""
    values = {key: path.read_text() for key in SYSCTLS if (path := Path("/proc/sys") / key).exists()}
    return values, {entry.address for card in psutil.net_if_addrs().values() for entry in card}


@contextmanager
def the_same_host() -> Iterator[None]:
    before = host()
    yield
    assert host() == before


# What is wished for.


@pytest.mark.parametrize(
    ("sockets", "of_host", "entries"),
    [
        (2_108_000, 262_144, 1 << 22),
        (262_144, 262_144, None),  # the host's is large enough
        (262_145, 262_144, 1 << 19),
        (1, 262_144, None),
        (10**9, 262_144, MAX_ENTRIES),
        (2_108_000, 0, 1 << 22),  # a kernel that does not say
    ],
)
def test_the_table_has_an_entry_for_each_socket(sockets: int, of_host: int, entries: int | None) -> None:
    assert entries_for(sockets, of_host) == entries


def test_the_kernel_chooses_ports_above_the_planned_ones() -> None:
    assert wish_of(Plan(2, 62_000, "127.0.1.1", 1024, 100_000), True) == Wish(200_000, (63_024, 65_535))
    assert wish_of(Plan(1, 64_000, "127.0.1.1", 1024, 64_000), True).port_range is None
    assert wish_of(Plan(1, 62_000, "127.0.1.1", 1024, 62_000), False).port_range == (1024, 65_535)


def test_addresses_are_wished_for_that_loopback_has_not_got() -> None:
    assert wish_of(Plan(2, 100, "10.0.0.1", 1024, 200), True).addresses == ["10.0.0.1", "10.0.0.2"]
    assert wish_of(Plan(1, 100, "::1", 1024, 100), True).addresses == []
    assert wish_of(Plan(2, 100, "127.0.1.1", 1024, 200), True).addresses == []
    assert wish_of(Plan(3, 100, "::1", 1024, 300), True).addresses == ["::2", "::3"]
    assert wish_of(Plan(2, 100, "126.255.255.255", 1024, 200), True).addresses == ["126.255.255.255"]


def test_a_wish_fits_into_a_command_line() -> None:
    """MAX_ARG_STRLEN is 128 KiB."""
    assert len(msgspec.json.encode(wish_of(Plan(8_192, 123, "fd00::1", 1024, 1_000_000), True))) < 1000


# What there is then.


def test_a_run_in_a_network_of_its_own(tmp_path: Path) -> None:
    with (
        the_same_host(),
        started(
            tmp_path, *ISOLATED, "--connections", "500", "--hold", "3", "--tick", "0.5", is_forked=False
        ) as process,
    ):
        wait_until(lambda: open_now(tmp_path) == 500, "500 connections")
        tree = [process.pid, *(child.pid for child in descendants(process))]
        assert len({namespace(pid) for pid in tree}) == 1
        assert namespace(process.pid) not in (namespace(), None)
        of_host = [c for c in psutil.net_connections("tcp4") if c.laddr and c.laddr.ip.startswith(f"{OUR_NETWORK}.")]
        assert not [c for c in of_host if c.status == psutil.CONN_ESTABLISHED]  # others are of runs that are over
        output, errors = process.communicate(timeout=60)
    summary = json.loads(output)
    assert (process.returncode, summary["connections"]["opened"]) == (0, 500), errors
    assert summary["network"]["kind"] == "isolated"
    assert "Network: one of its own, gone with the run" in errors
    assert summary["connections"]["replaced_ports"] == 0
    record = load(summary["run"])
    assert record.run["host"]["somaxconn"] == 65535
    assert record.run["command"].split()[1:3] == ["run", "--json"]
    held = [sample for sample in record.samples if sample.stage == "hold"]
    assert 1000 <= max(sample.tcp_inuse for sample in held) < 1050  # nobody else's are counted


def test_a_table_of_its_own() -> None:
    of_host = abs(int(Path("/proc/sys/net/ipv4/tcp_ehash_entries").read_text()))
    with the_same_host():
        found = _foresee(Wish(sockets=of_host + 1, port_range=None))
    assert (found.kind, found.hash_entries) == ("isolated", 2 * of_host)


@in_a_namespace
def test_a_table_that_is_shared_is_not_said_to_be_its_own() -> None:
    assert own_entries() is None


def test_addresses_that_no_device_has(tmp_path: Path) -> None:
    with the_same_host():
        code, summary, errors = flood(
            tmp_path, *ISOLATED, "--base-ip", "10.0.0.1", "--each", "50", "--connections", "100", "--hold", "0"
        )
    assert (code, summary["connections"]["opened"]) == (0, 100), errors


def test_without_root_in_a_user_namespace(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("floodtest", "run", *ISOLATED, *QUIET, "--connections", "300", "--hold", "2", "--out", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: drop(CAP_SYS_ADMIN),
    ) as process:
        wait_until(lambda: open_now(tmp_path) == 300, "300 connections")
        users = namespace(process.pid, "user"), namespace(kind="user")
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, json.loads(output)["network"]["kind"]) == (0, "isolated"), errors
    assert users[0] != users[1]
    assert Path(json.loads(output)["run"]).stat().st_uid == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_root_without_the_right_to_make_namespaces_keeps_its_rights_to_files(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    arguments = ["--connections", "50", "--hold", "0", "--no-report", "--json", "--out", str(theirs)]
    done = run_forked("floodtest", "run", *ISOLATED, *arguments, preexec_fn=lambda: drop(CAP_SYS_ADMIN))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["network"]["kind"] == "isolated"


@pytest.mark.skipif(os.geteuid() != 0, reason="somebody who is not root maps nobody else")
def test_root_that_would_lose_its_rights_to_files_stays_in_the_hosts_network() -> None:
    done = run_forked("floodtest", "plan", "--connections", "50", preexec_fn=lambda: drop(CAP_SYS_ADMIN, CAP_SETUID))
    assert done.returncode == 0, done.stderr
    assert "Network: the host's (the kernel permits no other: the users of a user namespace can't be" in done.stderr


def test_one_network_namespace_is_enough_for_a_run_that_needs_no_table(tmp_path: Path) -> None:
    arguments = ["--connections", "50", "--hold", "0", "--no-report", "--json", "--out", str(tmp_path)]
    done = run_forked("floodtest", "run", *ISOLATED, *arguments, preexec_fn=allow_one_network_namespace)
    assert (done.returncode, json.loads(done.stdout)["network"]["kind"]) == (0, "isolated"), done.stderr


@pytest.mark.parametrize(("asked", "code"), [((), 0), (ISOLATED, 3)], ids=["auto", "isolated"])
def test_a_second_namespace_that_is_forbidden_is_no_fault(asked: tuple[str, ...], code: int) -> None:
    """The table of a large run takes two."""
    of_host = abs(int(Path("/proc/sys/net/ipv4/tcp_ehash_entries").read_text()))
    done = run_forked(
        "floodtest", "plan", "--connections", str(of_host), *asked, preexec_fn=allow_one_network_namespace
    )
    assert done.returncode == code, done.stderr
    used_up = "the kernel permits no other: unshare: user.max_user_namespaces or user.max_net_namespaces are used up"
    assert used_up in done.stderr


def confined(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run where unshare is forbidden."""
    return run_forked(
        "floodtest", "run", *QUIET, "--connections", "50", "--hold", "0", "--out", str(tmp_path), *arguments,
        preexec_fn=forbid_unshare,
    )  # fmt: skip


def test_auto_takes_the_hosts_where_the_kernel_forbids_another(tmp_path: Path) -> None:
    done = confined(tmp_path)
    assert done.returncode == 0, done.stderr
    network = json.loads(done.stdout)["network"]
    assert (network["kind"], network["reason"]) == (
        "host", "the kernel permits no other: unshare: Operation not permitted",
    )  # fmt: skip
    assert "Network: the host's (the kernel permits no other: unshare: Operation not permitted)." in done.stderr


@pytest.mark.parametrize("asked", [ISOLATED, ("--link", "veth")])
def test_isolated_is_refused_where_the_kernel_forbids_it(asked: tuple[str, ...], tmp_path: Path) -> None:
    done = confined(tmp_path, *asked)
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (3, "refused")
    assert "unshare: Operation not permitted. Become root, or" in done.stderr
    assert "--network host" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_user_namespaces_that_are_used_up_are_named(tmp_path: Path) -> None:
    arguments = ["run", *ISOLATED, "--connections", "50", "--hold", "0", "--out", str(tmp_path)]
    with the_same_host():
        done = run_forked("floodtest", *arguments, preexec_fn=forbid_user_namespaces)
    assert done.returncode == 3
    assert "unshare: user.max_user_namespaces or user.max_net_namespaces are used up. Become root" in done.stderr


def test_auto_takes_the_hosts_where_the_target_is(tmp_path: Path) -> None:
    target = ("--network", "auto", "--target", "http://127.0.0.1:9/{user}")
    _, summary, errors = flood(tmp_path, *target, "--connections", "1", "--hold", "0")
    assert summary["network"] == {
        "kind": "host", "link": "loopback", "hash_entries": None, "reason": "which is where --target is",
    }  # fmt: skip
    assert "Network: the host's (which is where --target is)." in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--network", "moon"), "--network takes auto, host or isolated, not 'moon'."),
        (("--link", "tin"), "--link takes loopback or veth, not 'tin'."),
        (
            (*ISOLATED, "--target", "http://127.0.0.1:9/{user}"),
            "--target can't be reached from a network of the run's own",
        ),
        (("--network", "host", "--link", "veth"), "leave --network host out"),
        (("--link", "veth", "--base-ip", "127.0.1.1"), "--link veth takes a --base-ip that is routed"),
        (("--link", "veth", "--base-ip", "198.18.0.0", "--ips", "2"), "--link veth has its server at 198.18.0.1"),
        (("--link", "veth", "--base-ip", "2001:2::1"), "--link veth has its server at 2001:2::1"),
        (("--target", "http://127.0.0.1:9/{user}", "--server-pid", "-1"), "--server-pid takes a whole number from 1"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run_here("floodtest", "run", "--out", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_plan_says_which_network_it_would_be() -> None:
    done = run_forked("floodtest", "plan", "--connections", "100", *ISOLATED)
    assert done.returncode == 0, done.stderr
    assert "Network: one of its own, gone with the run (as asked for)" in done.stderr


# Two namespaces.


@pytest.mark.parametrize("base", ["198.19.0.1", "fd00::1"])
def test_client_and_server_joined_by_a_veth_pair(base: str, tmp_path: Path) -> None:
    arguments = ["--network", "auto", "--link", "veth", "--base-ip", base, "--each", "100", "--connections", "300"]
    sending = ["--hold", "3", "--tick", "0.4", "--messages", "100", "--message-seconds", "0.5"]
    with the_same_host(), started(tmp_path, *arguments, *sending) as process:
        wait_until(lambda: open_now(tmp_path) == 300, "300 connections")
        servers = {namespace(child.pid) for child in descendants(process, "floodtest.server_under_test")}
        clients = {namespace(child.pid) for child in descendants(process, "floodtest.loadgen.client.columns")}
        assert len(servers) == len(clients) == 1
        assert clients == {namespace(process.pid)} != servers
        assert namespace() not in servers | clients
        output, errors = process.communicate(timeout=60)
    summary = json.loads(output)
    assert (process.returncode, summary["connections"]["opened"]) == (0, 300), errors
    assert (summary["network"]["kind"], summary["network"]["link"]) == ("isolated", "veth")
    assert [(tick["sent"], tick["received"]) for tick in summary["ticks"]] == [(300, 300)] * len(summary["ticks"])
    assert summary["messages"]["received"] == summary["messages"]["published"] == 50


@in_a_namespace
def test_each_of_the_two_gets_a_table() -> None:
    from floodtest.loadgen.network.namespaces import enter, enter_namespace

    of_host = abs(int(Path("/proc/sys/net/ipv4/tcp_ehash_entries").read_text()))
    network = enter(Wish(sockets=of_host + 1, port_range=None, first_address="198.19.0.1", count=1, link="veth"))
    assert own_entries() == network.hash_entries == 2 * of_host
    assert network.server_namespace is not None
    enter_namespace(network.server_namespace)
    assert own_entries() == 2 * of_host


def test_ipv6_addresses_against_the_bundled_server(tmp_path: Path) -> None:
    code, summary, errors = flood(
        tmp_path, *ISOLATED, "--base-ip", "fd00::1", "--each", "50", "--connections", "100", "--hold", "0"
    )
    assert (code, summary["connections"]["opened"]) == (0, 100), errors


# Killed.


def stages_of(tmp_path: Path) -> list[str]:
    for record in tmp_path.glob("*/run.json"):
        return [stage["name"] for stage in json.loads(record.read_text())["stages"]]
    return []


def is_launcher(process: "subprocess.Popen[str]") -> bool:
    return b"floodtest.loadgen.commands.isolated" in Path(f"/proc/{process.pid}/cmdline").read_bytes()


Stage = Callable[["subprocess.Popen[str]", Path], Any]

LINKS = {"loopback": (), "veth": ("--link", "veth", "--base-ip", "198.19.0.1")}

STAGES: dict[str, Stage] = {
    "started anew": lambda process, folder: is_launcher(process),
    "in its network": lambda process, folder: namespace(process.pid) != namespace(),
    "starting": lambda process, folder: "start" in stages_of(folder),
    "ramping": lambda process, folder: open_now(folder) > 200,
    "holding": lambda process, folder: "hold" in stages_of(folder),
    "sending messages": lambda process, folder: "messages" in stages_of(folder),
    "closing": lambda process, folder: "close" in stages_of(folder),
}


@pytest.mark.parametrize(
    ("stage", "link"), [*((stage, "loopback") for stage in STAGES), ("in its network", "veth"), ("holding", "veth")]
)
def test_killed_it_leaves_nothing_on_the_host(stage: str, link: str, tmp_path: Path) -> None:
    arguments = ["--connections", "1000", "--rate", "2000", "--hold", "0.3"]
    messages = ["--messages", "50", "--message-seconds", "0.5"]
    with the_same_host():
        with started(tmp_path, *ISOLATED, *LINKS[link], *arguments, *messages) as process:
            wait_until(lambda: STAGES[stage](process, tmp_path), stage)
            tree = [process.pid, *(child.pid for child in descendants(process))]
            networks = {namespace(pid) for pid in tree} - {namespace()}
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        wait_until(lambda: not processes_of(tree), "no process of the run is left")
        wait_until(lambda: not processes_in(networks), "nobody is in its networks")


def test_ctrl_c_is_heard_as_ever(tmp_path: Path) -> None:
    with started(tmp_path, *ISOLATED, "--connections", "300", "--hold", "30") as process:
        wait_until(lambda: open_now(tmp_path) == 300, "300 connections")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(output)["outcome"]) == (130, "interrupted")


def test_words_for_a_network() -> None:
    assert Network(reason="as asked for").in_words == "the host's (as asked for)"
    assert "a table of 4,194,304 entries" in Network("isolated", hash_entries=1 << 22).in_words
