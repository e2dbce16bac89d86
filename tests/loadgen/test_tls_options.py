"""loadgen.plan.tls and what a plan predicts: which options belong together, and what handshakes cost here."""

from typing import Any

import pytest

from floodtest.loadgen.plan.options import PlanOptions, RunOptions
from floodtest.loadgen.plan.rules import problems
from floodtest.loadgen.plan.tls import TlsOptions
from floodtest.loadgen.preflight.demand import demand_of, forecast
from floodtest.loadgen.preflight.handshake_cost import measure_handshakes
from floodtest.loadgen.preflight.machine import Machine

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
        (options("https://h/", key="k"), "--key is for a certificate of the client's: name it with --cert."),
        (options("wss://h/", insecure=True, cafile="f"), "--insecure takes any certificate, and --cafile says"),
        (options("http://h/", is_asked=True), "--tls is for our own server and for tcp://: name a target of https://"),
        (options("unix:/run/a", is_asked=True), "--tls is for our own server and for tcp://: name a target of a host"),
        (options(is_asked=True, server_name="h"), "--server-name is for a server that was named with --target."),
    ],
)
def test_what_makes_no_sense_is_named(given: RunOptions, words: str) -> None:
    assert [one for one in problems(given) if one.startswith(words)]


@pytest.mark.parametrize("target", ["https://h/", "wss://h/"])
def test_the_scheme_says_it(target: str) -> None:
    assert options(target).speaks_tls
    assert not [one for one in problems(options(target, insecure=True)) if "TLS" in one]


def test_tls_without_http_is_asked_for() -> None:
    assert not options("tcp://h:1").speaks_tls
    assert options("tcp://h:1", is_asked=True).speaks_tls
    assert not [one for one in problems(options("tcp://h:1", is_asked=True)) if "tls" in one]


def test_a_plan_knows_what_handshakes_and_keys_take() -> None:
    cost = measure_handshakes(0.0)
    assert 0 < cost.server < 1
    assert 0 < cost.client < 1
    machine = Machine()
    plain = forecast(demand_of(options(), None), machine)
    secured = forecast(demand_of(options(is_asked=True), None), machine)
    assert plain.handshake_us is None
    assert secured.handshake_us is not None
    assert secured.client_user >= plain.client_user + 201 * PLAN.connections
    assert secured.ramp_seconds > plain.ramp_seconds
