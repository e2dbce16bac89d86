"""`floodtest run --ring`: each user is connected to its own server, whatever the client, and the record says so."""

import socket
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from floodtest.analysis import load
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.client.target_choice import TargetChoice, write_choices
from floodtest.loadgen.plan.plan import Plan
from floodtest.loadgen.preflight.targets import check_consent, resolve_ring
from floodtest.wire.ring import Ring, RingServer
from floodtest.wire.ring_servers import parse_list
from tests.rigs.support import HEAD, chunk, flood, run_here, scripted_server, user_of

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
URL = "http://comet.example:8000/test/{user}"


@pytest.mark.parametrize("client", ["columns", "httpx"])
def test_each_user_is_connected_to_its_own_server(client: str, tmp_path: Path) -> None:
    got: defaultdict[str, set[int]] = defaultdict(set)

    def handle(connection: socket.socket) -> None:
        user = user_of(connection.recv(4096))
        got[connection.getsockname()[0]].add(int(user))
        connection.sendall(HEAD + chunk(b"Welcome, user %s\n" % user))

    with scripted_server(handle, "0.0.0.0") as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        servers = [RingServer(f"{host}:{port}", memory) for host, memory in zip(HOSTS, (1, 1, 2), strict=True)]
        file = tmp_path / "fronts.servers"
        file.write_text("".join(f"{name}\t{memory}\n" for name, memory in servers))
        where = ("--target", "http://nobody.example/test/{user}", "--ring", str(file), "--first-user", "1001")
        code, summary, errors = flood(
            tmp_path, *where, "--client", client, "--connections", "60", "--ips", "3", "--each", "20", "--hold", "0"
        )
    assert code == 0, errors
    users = range(1001, 1061)
    owners = Ring(servers).owners_of_users(users).tolist()
    assert got == {host: {u for u, at in zip(users, owners, strict=True) if HOSTS[at] == host} for host in HOSTS}
    assert "Each user goes to its own of 3 servers on the ring: 127.0.0.1:" in errors
    found = load(summary["run"])
    assert found.summary is not None
    assert found.summary.server is not None
    assert (found.summary.server.placed, found.run["options"]["ring"]) == ("by ring", str(file))
    assert found.summary.server.addresses == [server.name for server in servers]
    assert np.fromfile(found.folder / "targets.u16", "<u2").tolist() == owners


def test_without_a_column_users_go_to_the_addresses_in_turn() -> None:
    assert TargetChoice(3, None, 1).of([1, 2, 3, 4, 1000]) == [0, 1, 2, 0, 0]
    assert (TargetChoice(1, None, 1).is_one, TargetChoice(2, None, 1).is_one) == (True, False)


def test_each_share_has_its_users_part_of_the_column(tmp_path: Path) -> None:
    plan, ring = Plan(4, 3000, "127.0.1.1", 1024, 10_000, 500), Ring(parse_list("a,b,c"))
    write_choices(tmp_path, ring.owners_of_users(plan.users))
    for share in plan.shares(7):
        choice = TargetChoice.of_share(3, True, tmp_path, share)
        users = range(share.first_user, share.first_user + share.count)
        assert choice.of(users) == ring.owners_of_users(users).tolist()
        assert choice.of(users[5:3:-1]) == ring.owners_of_users(users[5:3:-1]).tolist()
    with pytest.raises(Refused, match="Can't write the run record"):
        write_choices(tmp_path / "nowhere", ring.owners_of_users(plan.users))


def test_a_target_on_a_ring_is_at_its_servers() -> None:
    target = resolve_ring(URL, "127.0.1.1", parse_list("127.0.0.1,127.0.0.2:9000"))
    assert target.addresses == (("127.0.0.1", 8000), ("127.0.0.2", 9000))
    assert target.ring is not None
    assert target.host == "comet.example:8000"
    assert {target.address_of(user) for user in range(1, 50)} == set(target.addresses)
    assert target.address_of(7) == target.addresses[target.ring.owners_of_users([7])[0]]


@pytest.mark.parametrize(
    ("servers", "words"),
    [
        ("127.0.0.1:x", "The server 127.0.0.1:x of --ring can't be connected to: name it HOST:PORT"),
        ("127.0.0.1:0,b:1", "The server 127.0.0.1:0 of --ring can't be connected to"),
        ("127.0.0.1:99999,b:1", "The server 127.0.0.1:99999 of --ring can't be connected to"),
        ("http://127.0.0.1:8000,b", "The server http://127.0.0.1:8000 of --ring can't be connected to"),
        ("a@127.0.0.1,b", "The server a@127.0.0.1 of --ring can't be connected to"),
        ("127.0.0.1,127.0.0.1:8000", "The servers 127.0.0.1 and 127.0.0.1:8000 of --ring are one: 127.0.0.1:8000"),
        ("[::1]:8000,127.0.0.1", "The target ::1 is an IPv6 address, and the source addresses are IPv4"),
    ],
)
def test_servers_that_can_not_be_connected_to_are_refused(servers: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        resolve_ring(URL, "127.0.1.1", parse_list(servers))
    assert str(caught.value).startswith(words)


def test_public_servers_of_a_ring_are_allowed_each_by_its_own_name() -> None:
    target = resolve_ring(URL, "127.0.1.1", parse_list("127.0.0.1,9.9.9.9,8.8.8.8"))
    for allowed, public in ((None, "9.9.9.9, 8.8.8.8"), ("comet.example,9.9.9.9", "8.8.8.8")):
        with pytest.raises(Refused) as caught:
            check_consent(URL, target, allowed)
        assert f"The target on the ring ({public}) " in str(caught.value)
        assert str(caught.value).endswith(f"--allow-public-target {public.replace(' ', '')}.")
    check_consent(URL, target, "9.9.9.9,8.8.8.8")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--ring", "a,b"], 2, "--ring is for a server that was named with --target."),
        (["--ring", "a,b", "--target", URL, "--address", "first"], 2, "--address is about the target's host"),
        (["--ring", "a,b", "--target", "http://unix:/s:/", "--ips", "1"], 2, "--ring is for servers with a host"),
        (["--ring", "nothing", "--target", URL], 3, "There is no file nothing."),
        (["--ring", "127.0.0.1,127.0.0.1", "--target", URL], 2, "The server 127.0.0.1 is named 2 times"),
    ],
)
def test_what_makes_no_sense_is_told(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    done = run_here("floodtest", "plan", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
