"""loadgen.plan.tls and what a plan predicts: which options belong together, and what handshakes cost here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from floodtest.flyweight.errors import Refused, UsageError
from floodtest.flyweight.processes import worker_count
from floodtest.loadgen.plan.messages import MessageOptions
from floodtest.loadgen.plan.models import TLS_OBJECT_BYTES
from floodtest.loadgen.plan.options import PlanOptions, RunOptions
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.plan.tls import TlsOptions
from floodtest.loadgen.preflight.checks import examine
from floodtest.loadgen.preflight.demand import Demand, demand_of, forecast
from floodtest.loadgen.preflight.fit import fit, refuse_what_does_not_fit
from floodtest.loadgen.preflight.handshake_cost import HandshakeCost, measure_handshakes
from floodtest.loadgen.preflight.machine import Machine
from floodtest.loadgen.preflight.outlook import look
from floodtest.wire.tls.settings import ClientTls
from tests.rigs.host import FakeMachine

PLAN = PlanOptions(connections=50_000).plan()


def options(target: str | None = None, **tls: Any) -> RunOptions:
    return RunOptions(plan=PLAN, target=target, tls=TlsOptions(**tls))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            options("http://h/", insecure=True),
            "--insecure is for TLS: name a target of https:// or wss://",
        ),
        (options("ws://h/", tls_version="1.2"), "--tls-version is for TLS"),
        (options(server_name="h"), "--server-name is for TLS"),
        (options("https://h/", server_name=""), "--server-name is empty"),
        (options("https://h/", key="k"), "--key is for a certificate of the client's: name it with --cert."),
        (options("wss://h/", insecure=True, cafile="f"), "--insecure takes any certificate, and --cafile says"),
        (options("http://h/", is_asked=True), "--tls is for our own server and for tcp://: name a target of https://"),
        (options("unix:/run/a", is_asked=True), "--tls is for our own server and for tcp://: name a target of a host"),
        (replace(options("https://h/", tls_resume=0.5), client="httpx"), "--client httpx takes up no session of TLS"),
        (options(is_asked=True, server_name="h"), "--server-name is for a server that was named with --target."),
    ],
)
def test_what_makes_no_sense_is_named(given: RunOptions, words: str) -> None:
    assert [one for one in problems(given) if one.startswith(words)]


@pytest.mark.parametrize("target", ["https://h/", "wss://h/"])
def test_the_scheme_says_it(target: str) -> None:
    assert options(target).speaks_tls
    assert not [one for one in problems(options(target, insecure=True)) if "TLS" in one]


def publishing(url: str, target: str = "ws://h/{user}", **tls: Any) -> RunOptions:
    return replace(options(target, **tls), messages=MessageOptions(rate=1.0, publish=("POST", url)))


def test_options_of_tls_are_for_an_api_of_https_as_well() -> None:
    assert problems(publishing("https://h/{user}", cafile="f", cert="c", key="k")) == []
    assert [one for one in problems(publishing("http://h/{user}", cafile="f")) if one.startswith("--cafile is for TLS")]
    found = publishing("https://h/{user}", cafile="f", cert="c", tls_version="1.3").tls_of_publishing
    assert found == ClientTls("h", cafile="f", cert="c", version="1.3")


@pytest.mark.parametrize(
    ("url", "target", "name"),
    [
        ("https://API:9/{user}", "wss://api/{user}", "other"),
        ("https://[::1]/{user}", "tcp://[::1]:9", "other"),
        ("https://api/{user}", "wss://h/{user}", "api"),
        ("https://api/{user}", "wss://[/{user}", "api"),
    ],
)
def test_the_server_name_is_for_an_api_of_the_targets_host(url: str, target: str, name: str) -> None:
    found = publishing(url, target, server_name="other").tls_of_publishing
    assert found is not None
    assert found.server_name == name


def test_files_for_the_api_are_read_before_anything_begins() -> None:
    with pytest.raises(UsageError, match="--cafile /nonexistent can't be read"):
        look(publishing("https://127.0.0.1:9/{user}", "http://127.0.0.1:9/{user}", cafile="/nonexistent"))


def test_tls_without_http_is_asked_for() -> None:
    assert not options("tcp://h:1").speaks_tls
    assert options("tcp://h:1", is_asked=True).speaks_tls
    assert not [one for one in problems(options("tcp://h:1", is_asked=True)) if "tls" in one]


def test_a_certificate_authority_is_for_a_server_of_others() -> None:
    assert [one for one in problems(options(is_asked=True, cafile="f")) if one.startswith("--cafile is for a server")]


@pytest.mark.parametrize("name", [".x.example", "a..b", "x" * 64 + ".example", "a\0b"])
@pytest.mark.parametrize("target", ["https://127.0.0.1:9/", "tcp://127.0.0.1:9"])
def test_a_name_that_no_server_can_be_asked_for_is_said_before_anything_begins(name: str, target: str) -> None:
    given = options(target, server_name=name, is_asked=target.startswith("tcp"), insecure=True)
    with pytest.raises(UsageError, match=r"--server-name .* is no name that a server can be asked for"):
        look(replace(given, plan=replace(PLAN, connections=1)))


def test_files_of_our_own_servers_clients_are_read_before_anything_begins() -> None:
    with pytest.raises(UsageError, match="--cert /nonexistent can't be read"):
        look(options(is_asked=True, cert="/nonexistent"))


def cheap_machine(folder: Path) -> Machine:
    """Return a machine made of files, whose handshakes need not be measured, which takes a while."""
    machine = FakeMachine(folder).machine()
    machine.handshakes = HandshakeCost(0.001, 0.001)
    return machine


def test_more_objects_of_tls_1_2_than_are_kept_are_refused_and_fit_finds_how_many_are(tmp_path: Path) -> None:
    machine = cheap_machine(tmp_path)
    demand = Demand(PLAN, tls=True, tls_objects=True)
    found = fit(machine, demand)
    with pytest.raises(Refused) as caught:
        refuse_what_does_not_fit(machine, demand)
    first, reason = str(caught.value).splitlines()
    would = f"{found.connections:,} would fit: --connections {found.connections}, or --fit."
    assert first == f"50,000 connections don't fit on this machine. {would}"
    assert reason.startswith("connections of TLS 1.2 that a worker keeps: 4,096, and at least ")
    assert found.reason.startswith("connections of TLS 1.2 that a worker keeps: 4,096, ")
    refuse_what_does_not_fit(machine, demand.of(found.connections))
    refuse_what_does_not_fit(machine, replace(demand, tls_objects=False))


@pytest.mark.parametrize(
    ("ends", "connections", "fits"),
    [
        ({}, 4096, True),  # a worker each
        ({}, 7000, False),  # two
        ({}, 6554, True),
        ({"bundled": False}, 8192, True),
        ({"bundled": False}, 8193, False),
        ({"server_model": "tasks"}, 8192, True),
        ({"client_model": "httpx", "bundled": False}, 8193, True),
        ({"client_model": "httpx"}, 7000, False),
        ({"client_model": "httpx", "server_model": "tasks"}, 7000, True),
    ],
)
def test_each_end_of_columns_keeps_so_many_objects(
    ends: dict[str, Any], connections: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two cores, of which the second has a worker from 1,001 connections on."""
    monkeypatch.setattr(worker_count, "cores", lambda: 1 if connections == 4096 else 2)
    machine = cheap_machine(tmp_path)
    demand = Demand(PLAN, tls=True, tls_objects=True, **ends).of(connections)
    found = [one for one in examine(machine, demand) if one.check.name.startswith("connections of TLS 1.2")]
    assert all(one.ok for one in found) is fits


def test_fit_leaves_room_for_keys(tmp_path: Path) -> None:
    fake = FakeMachine(tmp_path)
    fake.memory(total=8, available=2)
    machine = fake.machine()
    machine.handshakes = HandshakeCost(0.001, 0.001)  # to measure it takes a while
    demand = Demand(PLAN).of(1_000_000)
    plain, secured = (fit(machine, replace(demand, tls=tls)).connections for tls in (False, True))
    assert 0.8 * plain < secured < plain


def test_what_keeps_objects_is_planned_with_them() -> None:
    machine, count = Machine(), PLAN.connections

    def more(**given: Any) -> tuple[int, int]:
        plain, secured = (
            forecast(demand_of(replace(options(is_asked=is_asked), **given), None), machine)
            for is_asked in (False, True)
        )
        assert plain.server_user is not None
        assert secured.server_user is not None
        return secured.client_user - plain.client_user, secured.server_user - plain.server_user

    assert max(more()) < count * TLS_OBJECT_BYTES
    assert more(client="httpx")[0] >= count * TLS_OBJECT_BYTES
    assert more(server_model="tasks")[1] >= count * TLS_OBJECT_BYTES


def test_a_plan_knows_what_handshakes_and_keys_take() -> None:
    cost = measure_handshakes(0.0)
    assert 0 < cost.server < 1
    assert 0 < cost.client < 1
    machine = Machine()
    plain = forecast(demand_of(options(), None), machine)
    secured = forecast(demand_of(options(is_asked=True), None), machine)
    assert plain.handshake_us is None
    assert secured.handshake_us is not None
    assert secured.client_user >= plain.client_user + 202 * PLAN.connections
    assert secured.ramp_seconds > plain.ramp_seconds
