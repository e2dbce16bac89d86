"""Hosts that vanish: without a word from their machine, connections end, and are counted."""

import errno
import json
import os
import socket
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pyroute2 import IPRoute

from floodtest.flyweight.command import parsers
from floodtest.flyweight.machine.own_addresses import is_own
from floodtest.loadgen.network.link import CLIENT_DEVICE
from floodtest.loadgen.network.namespaces import enter, enter_namespace
from floodtest.loadgen.network.wish import VETH_SERVERS, Wish
from floodtest.server_under_test.fronts.listener import listen, notice_silence
from tests.rigs.forking import forked
from tests.rigs.namespaces import in_a_namespace
from tests.rigs.server import ServerRig
from tests.rigs.support import command, wait_until

CLIENT, SERVER = "198.19.0.1", VETH_SERVERS[4]

ESTABLISHED = "01"
NONE, KEEPALIVE = "00", "02"
"""A state and timers in /proc/net/tcp."""


def test_what_is_accepted_has_the_options_of_the_listener() -> None:
    with listen("127.0.0.1", 0) as listener:
        notice_silence(listener, 30)
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


@pytest.mark.parametrize(
    ("address", "own"),
    [
        (("127.0.0.1", 7), True),
        (("127.3.2.1", 7), True),
        (("::1", 7, 0, 0), True),
        (("::ffff:127.0.0.1", 7, 0, 0), True),
        (("192.0.2.1", 7), False),
        (("2001:db8::1", 7, 0, 0), False),
        (("no address", 7), False),
        ("", True),
        (b"\0of a Unix socket", True),
    ],
)
def test_addresses_of_this_machine_are_known(address: tuple[str | int, ...] | str | bytes, own: bool) -> None:
    assert is_own(address) == own


@pytest.mark.parametrize("text", ["3", "3.5s", "18h"])
def test_the_kernel_takes_whatever_the_option_takes(text: str) -> None:
    with listen("127.0.0.1", 0) as listener:
        notice_silence(listener, parsers.silence.parse(text))


@pytest.mark.parametrize("text", ["2.9", "64801", "24h", "99999999999h"])
def test_what_the_kernel_does_not_take_is_refused_with_the_bound(text: str) -> None:
    assert parsers.silence.expected == "a duration of 3 s to 18 h, such as 30s or 5m"
    with pytest.raises(ValueError, match=text):
        parsers.silence.parse(text)


@pytest.mark.parametrize("plain", [True, False])
def test_an_end_by_the_kernel_is_counted(plain: bool, front: ServerRig, monkeypatch: pytest.MonkeyPatch) -> None:
    front.login(7)

    def gone(fd: int, size: int) -> bytes:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(os, "read", gone)
    front.handle([(front.descriptors[7], 1 if plain else 8)])
    monkeypatch.undo()
    assert (front.figure("silent"), front.figure("open")) == (1, 0)


def _serve(model: str, namespace: int) -> tuple["subprocess.Popen[str]", dict[str, int]]:
    """Start a server in the other namespace that gives up after 3 s."""
    ours, theirs = socket.socketpair()
    fixed = ("--host", SERVER, "--port", "0", "--control-port", "0", "--parent-fd", str(theirs.fileno()))
    process = forked(
        command("comet", "serve", *fixed, "--limit-silence", "3", "--model", model),
        pass_fds=[theirs.fileno()],
        preexec_fn=partial(enter_namespace, namespace),
        text=True,
    )
    theirs.close()
    where: dict[str, int] = json.loads(ours.recv(4096))
    ours.detach()  # left open: the server ends with it
    return process, where


def _timers_of(port: int) -> list[str]:
    """Return the kernel's timer of each connection that a port has, as proc_net_tcp(5) numbers them."""
    rows = [row.split() for row in Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]]
    return [row[5][:2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == ESTABLISHED]


def _vanish(model: str) -> None:
    network = enter(Wish(sockets=1, port_range=None, first_address=CLIENT, count=1, link="veth"))
    assert network.server_namespace is not None
    process, where = _serve(model, network.server_namespace)
    with process, ExitStack() as clients:
        for user in range(1, 6):
            client = clients.enter_context(socket.create_connection((SERVER, where["port"])))
            client.sendall(b"GET /test/%d HTTP/1.1\r\nHost: x\r\n\r\n" % user)
            assert b"Welcome" in client.recv(4096)
        with IPRoute() as ip:
            ip.link("set", index=ip.link_lookup(ifname=CLIENT_DEVICE)[0], state="down")
        enter_namespace(network.server_namespace)

        def stats() -> dict[str, Any]:
            figures: dict[str, Any] = httpx.get(
                f"http://127.0.0.1:{where['control']}/stats", trust_env=False, verify=False, timeout=60
            ).json()
            return figures

        assert _timers_of(where["port"]) == [KEEPALIVE] * 5
        local = clients.enter_context(socket.create_connection((SERVER, where["port"])))
        local.sendall(b"GET /test/6 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Welcome" in local.recv(4096)
        assert sorted(_timers_of(where["port"])) == [NONE] + [KEEPALIVE] * 5  # who is on this machine is not probed
        wait_until(lambda: stats()["connections"] == 1, "the others have ended")
        assert (stats()["silent"], stats()["slow"]) == (5, 0)
        process.terminate()


@in_a_namespace
def test_a_host_that_vanishes_leaves_no_connection_in_columns() -> None:
    _vanish("columns")


@in_a_namespace
def test_a_host_that_vanishes_leaves_no_connection_in_tasks() -> None:
    _vanish("tasks")
