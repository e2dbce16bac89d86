"""`floodtest plan`: the table of 2008, memory by kind, and what would stop a run; it opens nothing."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.preview import Source, sources
from tests.rigs.confinement import forbid_netlink
from tests.rigs.support import OURS, run_here, run_in_child


def test_the_table_of_2008() -> None:
    rows = sources(Plan(17, 62_000, "10.0.0.1", 1024, 1_054_000))
    assert len(rows) == 17
    assert rows[0] == Source("10.0.0.1", 1, 62_000, 1024, 63_023, 2512)
    assert rows[16] == Source("10.0.0.17", 992_001, 1_054_000, 1024, 63_023, 2512)


def test_the_last_address_has_what_is_left() -> None:
    assert sources(Plan(2, 100, "127.0.1.1", 2000, 101))[1] == Source("127.0.1.2", 101, 101, 2000, 2000, 63_535)


def test_users_are_shown_by_their_numbers() -> None:
    rows = sources(Plan(2, 100, "127.0.1.1", 2000, 150, first_user=1001))
    assert [(row.first_user, row.last_user, row.last_port) for row in rows] == [(1001, 1100, 2099), (1101, 1150, 2049)]


def plan(*arguments: str, cwd: Path | str = ".", notes: Sequence[str] = ()) -> tuple[int, str]:
    done = run_here("floodtest", "plan", "--network", "host", *arguments, cwd=cwd)
    line, *told = done.stderr.splitlines()
    assert line.startswith("Network: ")
    assert told == list(notes)
    return done.returncode, done.stdout


def test_users_beyond_those_of_our_server_are_refused() -> None:
    code, text = plan(*OURS, "--connections", "10", "--first-user", "999999990")
    assert (code, "999,999,990 to 999,999,999" in text) == (0, True)
    code, text = plan(*OURS, "--connections", "10", "--first-user", "999999991")
    assert code == 3
    assert "Our server takes users up to 999,999,999, and the last one would be 1,000,000,000: choose" in text


def test_a_plan_for_a_person(tmp_path: Path) -> None:
    code, text = plan("--connections", "65000", cwd=tmp_path)
    assert code == 0, text
    assert "127.0.1.1  1 to 62,000       1024 to 63023  2,512" in text
    assert "127.0.1.2  62,001 to 65,000  1024 to 4023" in text
    assert "kernel, TCP sockets" in text
    assert text.endswith("A run would start.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_for_a_program() -> None:
    code, text = plan("--connections", "1000", "--rate", "100", "--json")
    shown = json.loads(text)
    assert (code, shown["fits"], shown["obstacles"]) == (0, 1000, [])
    assert shown["prediction"]["connections"] == 1000
    assert shown["prediction"]["ramp_seconds"] == pytest.approx(9.99, abs=0.1)
    assert shown["available"][0]["source"] == "this machine"


def test_all_that_would_stop_a_run_is_told_and_the_code_is_3() -> None:
    asked = ("--base-ip", "203.0.113.1", "--target", "http://8.8.8.8/{user}", "--connections", "10", "--json")
    code, text = plan(*asked, notes=["The server's memory and CPU are not measured: 8.8.8.8 is on another machine."])
    shown = json.loads(text)
    assert code == 3
    assert ["No interface" in shown["obstacles"][0], "public" in shown["obstacles"][1]] == [True, True]


def test_models_and_the_ports_that_go_with_them_are_checked_as_for_a_run() -> None:
    done = run_here("floodtest", "plan", "--client", "httpx", "--ports", "explicit", "--server-model", "threads")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2), done.stderr
    host = ("--network", "host", "--client", "httpx", "--first-port", "1", "--connections", "65535", "--each", "65535")
    done = run_here("floodtest", "plan", *host)
    assert "The kernel chooses the source ports" in done.stderr
    assert "127.0.1.1  1 to 65,535" in done.stdout
    assert "kernel chooses" not in run_here("floodtest", "plan", *host[2:], "--network", "auto").stderr


def test_many_addresses_are_cut_short() -> None:
    _, text = plan("--ips", "100", "--each", "10")
    assert "and 80 more addresses" in text


def test_what_does_not_fit_is_told_with_the_number_that_does() -> None:
    code, text = plan("--reserve", "1000000GiB")
    assert code == 3
    assert "10,000 connections don't fit on this machine. Not even one connection fits." in text


def test_mistakes_are_all_named() -> None:
    done = run_here("floodtest", "plan", "--ips", "0", "--reserve", "lots", "--allow-public-target", "x")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 3


def test_friends_that_are_not_there_are_an_obstacle(tmp_path: Path) -> None:
    missing = tmp_path / "friends.txt"
    code, text = plan("--connections", "50", "--messages", "10/s", "--friends", str(missing))
    assert code == 3
    assert f"A run would be refused:\n  There is no file {missing}. Make one: fakefriends gen" in text


def test_a_folder_of_parts_is_no_obstacle(tmp_path: Path) -> None:
    done = run_here(
        "floodtest",
        "plan",
        "--network",
        "host",
        "--json",
        "--connections",
        "10",
        "--messages",
        "5",
        "--friends",
        str(tmp_path),
    )
    assert (done.returncode, json.loads(done.stdout)["obstacles"]) == (0, []), done.stderr


def test_a_store_that_is_not_there_is_an_obstacle(tmp_path: Path) -> None:
    code, text = plan("--connections", "50", "--messages", "10/s", "--db", str(tmp_path))
    assert code == 3
    assert f"A run would be refused:\n  There is no subscription store in {tmp_path}. Make one: comet load" in text


def test_a_place_that_takes_no_record_is_an_obstacle(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    code, text = plan("--connections", "50", "--out", str(file / "runs"))
    assert code == 3
    assert f"A run would be refused:\n  Can't write the run record to {file}/runs: {file} is no folder" in text


def without_netlink(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of floodtest in the network of the host, with 50 connections, where nobody tells addresses."""
    return run_in_child(forbid_netlink, "floodtest", name, *arguments, "--network", "host", "--connections", "50")


def test_loopback_needs_nobody_to_tell_addresses(tmp_path: Path) -> None:
    for name in ("plan", "doctor"):
        assert (done := without_netlink(name)).returncode == 0, done.stdout + done.stderr
    done = without_netlink("run", *OURS, "--hold", "0", "--no-report", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("address", [("--base-ip", "10.0.0.1"), ("--target", "http://10.0.0.1/{user}")])
@pytest.mark.parametrize("name", ["plan", "doctor", "run"])
def test_where_nobody_tells_addresses_others_are_refused(name: str, address: tuple[str, str], tmp_path: Path) -> None:
    done = without_netlink(name, *address, "--out", str(tmp_path))
    assert done.returncode == 3
    assert "Some containers forbid it. Loopback needs no asking: --base-ip 127.0.1.1" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
