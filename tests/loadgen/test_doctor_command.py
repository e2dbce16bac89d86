"""`floodtest doctor`, on this machine, for a size that it can hold."""

import json
import os
import shlex
import ssl
import subprocess
from pathlib import Path

import pytest

from floodtest.loadgen.preflight.checkup import render_checkup
from floodtest.loadgen.preflight.machine import KernelTls
from floodtest.loadgen.preflight.tls_support import TlsSupport
from tests.rigs.support import command, run_forked, run_here

FEW = ("--connections", "1000")


def test_the_command_shows_every_check_with_its_reason() -> None:
    done = run_forked("floodtest", "doctor", *FEW)
    assert done.returncode == 0, done.stdout
    assert "open files, hard limit" in done.stdout
    assert "getrlimit(2)" in done.stdout
    assert f"TLS     Python's {ssl.OPENSSL_VERSION} has TLS 1.3\n" in done.stdout
    assert "handshakes a second at a client, and " in done.stdout
    assert "kTLS: this kernel has " in done.stdout


@pytest.mark.parametrize(
    ("has_tls_1_3", "kernel", "words"),
    [
        (True, "there", ["has TLS 1.3", "kTLS: this kernel has it; it is not used"]),
        (False, "module", ["has no TLS 1.3, and each", "kTLS: this kernel has it as a module, which is not loaded;"]),
        (True, "none", ["has TLS 1.3", "kTLS: this kernel has none, as far as can be seen"]),
    ],
)
def test_what_a_machine_has_for_tls_is_said(has_tls_1_3: bool, kernel: KernelTls, words: list[str]) -> None:
    found = TlsSupport(
        openssl="OpenSSL 9.9",
        has_tls_1_3=has_tls_1_3,
        client_handshakes_per_second=1852,
        server_handshakes_per_second=3676,
        kernel_tls=kernel,
    )
    lines = render_checkup(1000, [], found).splitlines()[3:6]
    assert lines[0].startswith(f"TLS     Python's OpenSSL 9.9 {words[0]}")
    assert lines[1].endswith(
        "a core does 1,852 handshakes a second at a client, and 3,676 at a server with a key of P-256"
    )
    assert words[1] in lines[2]


def test_the_command_as_json() -> None:
    told = json.loads(run_here("floodtest", "doctor", *FEW, "--network", "host", "--json").stdout)
    rows, tls = told["checks"], told["tls"]
    assert (tls["openssl"], tls["has_tls_1_3"]) == (ssl.OPENSSL_VERSION, True)
    assert 20 < tls["client_handshakes_per_second"] < tls["server_handshakes_per_second"] < 100_000
    (row,) = [row for row in rows if row["name"] == "net.core.somaxconn"]
    assert row["needed"] == 1000
    assert (row["sysctl"], row["relation"]) == ("net.core.somaxconn", ">=")


def test_what_stops_a_run_is_exit_code_3() -> None:
    done = run_here("floodtest", "doctor", "--network", "host", "--reserve", "1000000GiB")
    assert done.returncode == 3
    assert "NO" in done.stdout


def test_the_command_says_of_which_network_it_speaks() -> None:
    rows = run_here("floodtest", "doctor", *FEW, "--network", "host", "--json")
    assert "Network: the host's (as asked for)." in rows.stderr
    assert "net.core.somaxconn" in rows.stdout


def test_what_a_run_would_be_refused_for_is_exit_code_3_of_doctor_too() -> None:
    done = run_here("floodtest", "doctor", *FEW, "--network", "host", "--base-ip", "198.51.100.7")
    assert done.returncode == 3
    assert "A run would be refused:" in done.stdout
    assert "198.51.100.7" in done.stdout


@pytest.mark.parametrize("both", [("--apply", "--revert"), ("--sysctl", "--apply"), ("--revert", "--sysctl")])
def test_one_thing_at_a_time(both: tuple[str, str]) -> None:
    done = run_here("floodtest", "doctor", *both)
    assert done.returncode == 2
    assert "one of --apply, --revert and --sysctl" in done.stderr


def test_nothing_to_revert_is_said(tmp_path: Path) -> None:
    done = run_here("floodtest", "doctor", "--revert", "--state", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (0, "Nothing to revert.\n")


def test_the_command_changes_this_network_and_puts_it_back(tmp_path: Path) -> None:
    """In a network of its own, so that nothing of the machine changes; without root it must refuse and say why."""
    if os.geteuid() != 0:
        done = run_here(
            "floodtest", "doctor", "--apply", "--network", "host", "--in-flight", "60000", "--connections", "60000"
        )
        assert (done.returncode, "takes root" in done.stderr) == (3, True)
        return
    arguments = (*FEW[:1], "9000", "--in-flight", "9000", "--network", "host", "--state", str(tmp_path / "state"))
    rows = json.loads(run_here("floodtest", "doctor", *arguments, "--json").stdout)["checks"]
    to_change = {row["sysctl"] for row in rows if not row["ok"]} - {None}
    assert to_change <= {"net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"}  # each network has its own
    show = "cat /proc/sys/net/core/somaxconn"
    change = shlex.join(command("floodtest", "doctor", *arguments, "--apply"))
    put_back = shlex.join(command("floodtest", "doctor", "--revert", *arguments[-2:]))
    steps = f"{show}; {change} >/dev/null; {show}; {put_back} >/dev/null; {show}"
    done = subprocess.run(["unshare", "-n", "sh", "-c", steps], capture_output=True, text=True)
    before, applied, after = done.stdout.split()
    assert (applied, after) == ("9000", before), done.stderr
    assert int(before) < 9000
