"""loadgen.run.conclusion: the outcome and its reasons, from facts made by hand."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from floodtest.analysis.record.summary import ListenQueue, Models, Network, Server, ServerTls
from floodtest.analysis.record.thresholds import parse
from floodtest.flyweight.engine.ledger import Ledger
from floodtest.loadgen.client import histogram
from floodtest.loadgen.client.accounts import LEDGER, Phase, State
from floodtest.loadgen.client.kept_answers import KeptAnswers
from floodtest.loadgen.run.conclusion import Facts, MessageFacts, conclude
from floodtest.loadgen.run.reading import LOST, Negative, read_accounts
from floodtest.wire.causes import Cause
from floodtest.wire.control import Generated, SentTick, Stats, TlsFigures
from floodtest.wire.names import PROTOCOLS
from tests.rigs.figures import generated, machine, sample, start, stats

PLANNED = 1000


def counts(**changes: int) -> dict[State, int]:
    """Count connections by state; those that are not named are open."""
    counted = {state: changes.get(state.name.lower(), 0) for state in State}
    counted[State.OPEN] = PLANNED - sum(counted.values())
    return counted


def ledger(fill: Callable[[Ledger], None] | None = None) -> Ledger:
    made = Ledger(LEDGER, 2)
    os.close(made.descriptor)  # its memory stays mapped
    made.rows["received"], made.rows["bytes"] = 500, 76_000
    if fill is not None:
        fill(made)
    return made


def facts(**changes: Any) -> Facts:
    """Facts of a run that went well; accounts and what else a site says may be changed by name."""
    site = {
        "counts": changes.pop("counts", counts()),
        "ledger": changes.pop("ledger", ledger()),
        "lost": changes.pop("lost", {}),
        "files_limit": 20_000,
    }
    well: dict[str, Any] = {
        "folder": "runs/one",
        "reading": read_accounts(**site),
        "samples": [start(), sample()],
        "server": stats(fronts=[None] * 3),
        "server_ended": False,
        "server_silent": False,
        "ramp_seconds": 2.0,
        "interrupted": False,
        "reasons": [],
        "network": Network("host", "loopback", None),
        "predicted_bytes": 9_000_000,
    }
    return Facts(**{**well, **changes})


def failures(*entries: tuple[Phase, int, int]) -> Ledger:
    def fill(made: Ledger) -> None:
        for phase, code, count in entries:
            made.row(1)["failures"][0, phase, code] += count

    return ledger(fill)


def test_all_that_was_planned_was_done() -> None:
    summary = conclude(facts())
    assert (summary.outcome, summary.reasons, summary.run) == ("ok", [], "runs/one")
    c = summary.connections
    assert (c.planned, c.opened, c.peak_open, c.closed_early, c.not_reached) == (1000, 1000, 1000, 0, 0)
    assert (c.failed, c.closed_by, c.replaced_ports) == ({}, {}, 0)
    assert (summary.ramp.seconds, summary.ramp.per_second) == (2.0, 500.0)
    assert (summary.workers.client, summary.workers.server, summary.workers.files_limit) == (2, 3, 20_000)
    assert (summary.received, summary.bytes, summary.missing, summary.repeated) == (1000, 152_000, 0, 0)
    assert summary.memory.server_user_bytes_per_connection is not None
    assert summary.ticks == []


def test_failures_are_a_shortfall_and_the_most_frequent_comes_first() -> None:
    table = failures((Phase.BIND, errno.EADDRINUSE, 3), (Phase.RESPONSE, 503, 1200), (Phase.CONNECT, errno.EMFILE, 7))
    summary = conclude(facts(counts=counts(failed=210), ledger=table))
    assert summary.outcome == "shortfall"
    assert summary.connections.failed == {"EADDRINUSE@bind": 3, "EMFILE@connect": 7, "HTTP_503@response": 1200}
    (reason,) = summary.reasons
    assert reason == "1,210 connections failed: HTTP_503@response 1,200, EMFILE@connect 7, EADDRINUSE@bind 3"


def test_a_cause_of_which_only_a_note_was_kept_has_no_answer() -> None:
    table = failures((Phase.TLS, Cause.TLS_UNKNOWN_ISSUER, 2))
    KeptAnswers(table.row(1)).add(1, Phase.TLS, Cause.TLS_UNKNOWN_ISSUER, b"", "self-signed certificate")
    (cause,) = conclude(facts(counts=counts(failed=2), ledger=table)).causes
    assert (cause.name, cause.answer, cause.note) == ("tls_unknown_issuer@tls", None, "self-signed certificate")


def test_connections_that_closed_early_were_opened() -> None:
    table = failures((Phase.OPEN, Cause.CUT, 20), (Phase.OPEN, errno.ECONNRESET, 10))
    summary = conclude(facts(counts=counts(closed_early=30), ledger=table))
    c = summary.connections
    assert (c.opened, c.closed_early, c.closed_by, c.peak_open) == (1000, 30, {"cut": 20, "ECONNRESET": 10}, 1000)
    assert summary.outcome == "shortfall"
    assert summary.reasons == ["30 connections closed early: cut 20, ECONNRESET 10"]


def test_connections_that_were_lost_with_their_worker_are_named() -> None:
    lost = {State.OPEN: 40, State.IN_FLIGHT: 5}
    summary = conclude(facts(counts=counts(closed_early=40, failed=5), lost=lost))
    assert summary.connections.failed == {f"{LOST}@worker": 5}
    assert summary.connections.closed_by == {LOST: 40}
    assert summary.outcome == "shortfall"


def test_what_is_in_flight_at_the_end_was_not_reached() -> None:
    summary = conclude(facts(counts=counts(not_reached=100, in_flight=11)))
    assert (summary.connections.not_reached, summary.connections.opened) == (111, 889)
    assert summary.reasons == ["111 planned connections not reached"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"failed": 5},
        {"failed": 1, "closed_early": 2, "not_reached": 3, "in_flight": 4},
        {"not_reached": 1000},
    ],
)
def test_planned_is_opened_and_failed_and_not_reached(changes: dict[str, int]) -> None:
    table = failures((Phase.CONNECT, errno.ETIMEDOUT, changes.get("failed", 0)))
    c = conclude(facts(counts=counts(**changes), ledger=table)).connections
    assert c.planned == c.opened + sum(c.failed.values()) + c.not_reached
    assert c.closed_early <= c.opened


@pytest.mark.parametrize(
    ("opened", "protocol"),
    [({}, "auto"), ({"lines": 1000}, "lines"), ({"lines": 400, "sse": 600}, "sse, lines")],
)
def test_a_summary_names_the_protocol_that_answers_were_of(opened: dict[str, int], protocol: str) -> None:
    def fill(made: Ledger) -> None:
        for name, count in opened.items():
            made.row(1)["protocols"][0, list(PROTOCOLS).index(name)] = count

    summary = conclude(facts(ledger=ledger(fill), protocol="auto", opened_when="text:hi"))
    assert (summary.protocol, summary.opened_when) == (protocol, "text:hi")


def test_connections_of_all_lives_are_counted_beside_users() -> None:
    def fill(made: Ledger) -> None:
        made.rows["attempts"], made.rows["opens"] = [700, 550], [650, 540]

    c = conclude(facts(ledger=ledger(fill))).connections
    assert (c.planned, c.opened, c.attempts, c.opens) == (1000, 1000, 1250, 1190)


def test_the_peak_is_the_most_that_any_sample_saw() -> None:
    samples = [start(), sample(open=998), sample(open=990)]
    summary = conclude(facts(counts=counts(closed_early=50), samples=samples))
    assert summary.connections.peak_open == 998


def test_an_interrupted_run_is_interrupted_whatever_else_it_lacks() -> None:
    summary = conclude(facts(interrupted=True, counts=counts(not_reached=700)))
    assert summary.outcome == "interrupted"
    assert summary.reasons == ["700 planned connections not reached"]


def test_reasons_that_came_up_on_the_way_come_first() -> None:
    summary = conclude(facts(reasons=["memory: the ramp was ended"], counts=counts(not_reached=1000)))
    assert summary.reasons[0] == "memory: the ramp was ended"
    assert len(summary.reasons) == 2
    assert summary.outcome == "shortfall"


def test_what_went_wrong_at_a_site_comes_before_what_did_elsewhere() -> None:
    site = read_accounts(counts(), ledger(), {}, files_limit=20_000, reasons=["memory: the ramp was ended"])
    summary = conclude(facts(reading=site, reasons=["record: the disk is full"]))
    assert summary.reasons == ["memory: the ramp was ended", "record: the disk is full"]


def test_remarks_are_told_last_and_leave_the_outcome_as_it_is() -> None:
    summary = conclude(facts(remarks=["watcher Page: it failed"]))
    assert (summary.outcome, summary.reasons) == ("ok", ["watcher Page: it failed"])
    summary = conclude(facts(remarks=["watcher Page: it failed"], conditions=[parse("opened < 1001")]))
    assert (summary.outcome, summary.reasons[-1]) == ("shortfall", "watcher Page: it failed")
    assert len(summary.reasons) == 2


def test_a_server_that_ended_is_a_reason() -> None:
    summary = conclude(facts(server_ended=True))
    assert summary.outcome == "shortfall"
    assert "server.log" in summary.reasons[0]


def test_the_facts_are_not_changed() -> None:
    reasons: list[str] = ["memory: the ramp was ended"]
    conclude(facts(reasons=reasons, server_ended=True))
    assert reasons == ["memory: the ramp was ended"]


def test_a_ramp_of_no_time_has_no_rate() -> None:
    assert conclude(facts(ramp_seconds=0.0)).ramp.per_second == 0.0


# -- ticks and messages ----------------------------------------------------------------------------------------------


def ticked(*ticks: tuple[int, int, float, float]) -> Ledger:
    """A ledger whose second worker received ticks: number, count, first and last in seconds."""

    def fill(made: Ledger) -> None:
        for number, count, first, last in ticks:
            cell = made.row(1)["ticks"][0, number]
            cell["number"], cell["count"] = number, count
            cell["first_ns"], cell["last_ns"] = int(first * 1e9), int(last * 1e9)

    return ledger(fill)


def server(*ticks: tuple[int, int, float]) -> Stats:
    return stats(ticks=[SentTick(number, first, count, first, first + 1) for number, count, first in ticks])


@pytest.mark.parametrize(
    ("to_resume", "resumed", "tickets", "words"),
    [
        (
            50,
            0,
            0,
            "the server sent no ticket",
        ),
        (
            50,
            0,
            7,
            "7 tickets came, either when all",
        ),
        (50, 1, 7, None),
        (0, 0, 7, None),
    ],
)
def test_a_run_that_could_resume_nothing_says_why(
    to_resume: int, resumed: int, tickets: int, words: str | None
) -> None:
    def fill(made: Ledger) -> None:
        told = made.row(0)["tls"]
        told["ciphers"][0, 0], told["to_resume"], told["resumed"], told["tickets"] = 100, to_resume, resumed, tickets

    found = conclude(facts(ledger=ledger(fill)))
    assert len(found.reasons) == (0 if words is None else 1)
    for reason in found.reasons:
        assert reason.startswith(f"tls: none of 50 handshakes that were to be resumed (--tls-resume) was: {words}")
    assert found.outcome == "ok"
    assert found.tls is not None
    assert (found.tls.to_resume, found.tls.resumed) == (to_resume, resumed)


def test_what_our_own_server_says_of_tls_is_in_the_summary() -> None:
    told = TlsFigures(
        handshakes=1000,
        resumed=400,
        versions={"1.2": 10, "1.3": 990},
        ciphers={"TLS_AES_256_GCM_SHA384": 990, "other": 10},
        tickets=2000,
        key_updates=3,
        cpu_seconds=0.27345,
        late=2,
        ends={"tls_cut": 1},
    )
    found = conclude(facts(server=stats(tls=told))).server_tls
    assert found == ServerTls(
        handshakes=1000,
        resumed=400,
        kept=10,
        cpu_seconds=0.273,
        tickets=2000,
        key_updates=3,
        late=2,
        ends={"tls_cut": 1},
    )
    without_cpu = msgspec.structs.replace(told, versions={"1.3": 1000}, cpu_seconds=None)
    found = conclude(facts(server=stats(tls=without_cpu))).server_tls
    assert found is not None
    assert (found.kept, found.cpu_seconds) == (0, None)
    assert [conclude(facts(server=given)).server_tls for given in (None, server())] == [None, None]


def test_a_tick_takes_from_the_first_write_to_the_last_read() -> None:
    summary = conclude(facts(ledger=ticked((1, 1000, 10.5, 12.0)), server=server((1, 1000, 10.0))))
    (tick,) = summary.ticks
    assert (tick.number, tick.sent, tick.received, tick.seconds, tick.per_second) == (1, 1000, 1000, 2.0, 500.0)
    assert summary.outcome == "ok"


def test_a_tick_of_a_server_that_is_not_ours_takes_from_the_first_read() -> None:
    summary = conclude(facts(ledger=ticked((1, 1000, 10.5, 12.5)), server=None))
    (tick,) = summary.ticks
    assert (tick.sent, tick.received, tick.seconds, tick.per_second) == (None, 1000, 2.0, 500.0)
    assert summary.workers.server is None
    assert summary.outcome == "ok"


@pytest.mark.parametrize("received", [0, 999, 1001])
def test_a_tick_that_not_all_received_once_is_a_shortfall(received: int) -> None:
    table = ticked((2, received, 10.0, 12.0)) if received else ledger()
    summary = conclude(facts(ledger=table, server=server((2, 1000, 10.0))))
    assert summary.ticks[0].received == received
    assert summary.outcome == "shortfall"
    assert summary.reasons == [f"tick 2: 1,000 messages were sent and {received:,} received"]


def test_a_tick_that_nobody_received_has_no_rate() -> None:
    (tick,) = conclude(facts(server=server((2, 1000, 10.0)))).ticks
    assert (tick.seconds, tick.per_second) == (0.0, None)


def test_ticks_come_in_order_whoever_knows_of_them() -> None:
    table = ticked((3, 10, 30.0, 31.0), (1, 10, 10.0, 11.0))
    summary = conclude(facts(ledger=table, server=server((2, 0, 20.0), (1, 10, 10.0))))
    assert [tick.number for tick in summary.ticks] == [1, 2, 3]


def test_ticks_that_some_of_the_connections_did_not_get_are_a_shortfall() -> None:
    """A front that stands still gets no more of them, and those of one that was killed are not held to the end."""
    table = ticked((1, 1000, 10.0, 11.0), (2, 600, 20.0, 21.0), (4, 970, 40.0, 41.0))
    of_server = server((1, 1000, 10.0), (2, 600, 20.0), (3, 0, 30.0), (4, 970, 40.0))
    summary = conclude(facts(ledger=table, server=of_server))
    assert summary.outcome == "shortfall"
    assert summary.reasons == [
        "ticks: 3 of 4 were not sent to all of the 1,000 connections that were held, tick 3 to 0 only"
    ]
    closed = conclude(facts(counts=counts(closed_early=30), ledger=table, server=of_server))
    assert "ticks: 2 of 4 were not sent to all of the 970 connections that were held" in " ".join(closed.reasons)


def test_only_ticks_that_all_workers_remember_are_judged() -> None:
    """One that stands still has the last but 256th in the place of a later one."""
    table = ticked((1, 7, 10.0, 11.0), (2, 1000, 20.0, 21.0))
    summary = conclude(facts(ledger=table, server=server((2, 1000, 20.0), (257, 0, 90.0))))
    assert [tick.number for tick in summary.ticks] == [2, 257]


@pytest.mark.parametrize("last_figures", ["server_ended", "server_silent"])
def test_what_is_received_after_the_last_figures_of_the_server_had_been_sent(last_figures: str) -> None:
    summary = conclude(
        facts(ledger=ticked((1, 1000, 10.0, 11.0)), server=server((1, 512, 10.0)), **{last_figures: True})
    )
    assert (summary.ticks[0].sent, summary.ticks[0].received) == (1000, 1000)
    assert not any("tick" in reason for reason in summary.reasons)


def test_missing_and_repeated_messages_are_a_shortfall() -> None:
    def fill(made: Ledger) -> None:
        made.rows["missing"] = [1000, 234]
        made.rows["repeated"] = [0, 5]

    summary = conclude(facts(ledger=ledger(fill)))
    assert (summary.missing, summary.repeated, summary.outcome) == (1234, 5, "shortfall")
    assert summary.reasons == ["message numbers show 1,234 missing and 5 repeated messages"]


def test_message_numbers_that_jump_are_a_shortfall_of_their_own() -> None:
    def fill(made: Ledger) -> None:
        made.rows["jumps"] = [1000, 234]

    summary = conclude(facts(ledger=ledger(fill)))
    assert (summary.jumps, summary.missing, summary.outcome) == (1234, 0, "shortfall")
    (reason,) = summary.reasons
    assert reason == "message numbers: 1,234 messages jump ahead by over 65,536, more than can be missing"


def routed(received: int, **changes: Any) -> Facts:
    """Facts of a run with messages: 100 planned, 1,600 deliveries expected."""

    def fill(made: Ledger) -> None:
        made.rows["messages"] = [received - 600, 600]
        made.rows["first_ns"] = [0, 5_000_000_000]
        made.rows["last_ns"] = [0, 7_000_000_000]
        made.rows["repeated"] = [changes.pop("repeated", 0), 0]
        made.rows["missing"] = [changes.pop("missing", 0), 0]
        made.row(1)["latency"][0] = histogram.count(np.array([1000] * 99 + [90_000]))

    table = ledger(fill)
    before = changes.pop("before", 0)
    said = changes.pop("generated", generated(published=changes.get("published", 100)))
    server = stats(messages=changes.pop("published", 100), routed=1600, undeliverable=changes.pop("gone", 0))
    return facts(ledger=table, server=server, messages=MessageFacts(100, said, before), **changes)


def test_messages_that_all_arrived() -> None:
    summary = conclude(routed(1600))
    assert (summary.outcome, summary.reasons) == ("ok", [])
    found = summary.messages
    assert found is not None
    assert (found.planned, found.published, found.expected, found.received) == (100, 100, 1600, 1600)
    assert (found.lost, found.duplicated, found.late, found.most_behind_seconds) == (0, 0, 3, 0.25)
    assert (found.seconds, found.per_second) == (2.0, 800.0)
    assert found.latency_ms is not None
    assert found.latency_ms.p50 == pytest.approx(1.0, rel=0.008)
    assert found.latency_ms.max == pytest.approx(90, rel=0.008)
    assert found.uncorrected_latency_ms is None


def test_messages_that_took_less_than_no_time_are_told_and_are_no_shortfall() -> None:
    facts = routed(1600)
    said = msgspec.structs.replace(facts.reading, negative=Negative(3, 2, 41_500))
    summary = conclude(replace(facts, reading=said))
    assert summary.messages is not None
    assert (summary.messages.negative, summary.messages.most_negative_ms) == (3, 41.5)
    words = "3 deliveries took less than no time, down to -41.5 ms, and are not in it"
    reason = f"latency: {words}: the clock of their stamps is ahead of this host's"
    assert (summary.outcome, summary.reasons) == ("ok", [reason])
    plain = conclude(facts).messages
    assert plain is not None
    assert (plain.negative, plain.most_negative_ms) == (0, None)


def test_no_messages_without_any_or_without_a_server_of_ours() -> None:
    assert conclude(facts()).messages is None
    assert conclude(facts(server=None, messages=MessageFacts(100, None, 0))).messages is None


def test_deliveries_of_a_server_that_is_not_ours_are_those_that_the_publisher_expects() -> None:
    said = Generated(
        planned=100,
        published=90,
        deliveries=900,
        late=3,
        most_behind=0.5,
        seconds=2.0,
        error="10 could not be published",
    )
    summary = conclude(facts(server=None, models=Models("columns", None), messages=MessageFacts(100, said, 0)))
    messages = summary.messages
    assert messages is not None
    assert (messages.planned, messages.published, messages.expected, messages.late) == (100, 90, 900, 3)
    assert messages.lost == 900 - messages.received
    failed, published, lost = summary.reasons[-3:]
    assert failed == "messages: 10 could not be published"
    assert published == "messages: 90 of 100 planned were published, and the last one 0.5 s behind its time"
    assert lost == (
        "messages: 900 of 900 deliveries were lost: the publishing API took them, and nothing that connections got has "
        "the mark of one. Hold --publish against --target, and what the service reads against --publish-body and its "
        "Content-Type (--publish-header)"
    )


def test_of_messages_some_of_which_came_no_more_is_said_than_how_many_did_not() -> None:
    theirs = replace(routed(1590), server=None, models=Models("columns", None))
    assert conclude(theirs).reasons[-1] == "messages: 10 of 1,600 deliveries were lost"


def test_a_publisher_that_ended_before_it_said_anything_is_named() -> None:
    theirs = facts(server=None, models=Models("columns", None), messages=MessageFacts(100, None, 0))
    assert conclude(theirs).reasons[0].startswith("messages: their publisher ended by itself; its last words are in ")


def test_messages_that_went_to_another_user_are_a_reason_and_are_not_received() -> None:
    table = ledger(lambda made: made.rows["misdelivered"].__setitem__(slice(None), [2, 1]))
    said = generated(published=100)
    summary = conclude(
        facts(ledger=table, server=None, models=Models("columns", None), messages=MessageFacts(100, said, 0))
    )
    assert summary.messages is not None
    assert (summary.messages.misdelivered, summary.messages.received, summary.outcome) == (3, 0, "shortfall")
    assert "messages: 3 deliveries went to another user than the one they were for" in summary.reasons


def test_more_deliveries_than_expected_are_no_fault_of_a_run_that_was_interrupted() -> None:
    mine = replace(routed(1620, generated=generated(published=0)), server=None, models=Models("columns", None))
    assert any("20 more deliveries came" in reason for reason in conclude(mine).reasons)
    reasons = conclude(replace(mine, interrupted=True)).reasons
    assert not any("more deliveries came" in reason for reason in reasons)
    assert "messages: 0 of 100 planned were published" in reasons


def test_messages_that_polls_bring_again_point_at_where_polls_begin() -> None:
    reasons = [conclude(routed(1600, repeated=7, protocol=name)).reasons for name in ("sse", "longpoll")]
    assert [any("what --cursor finds" in one for one in told) for told in reasons] == [False, True]


def test_expected_is_received_and_lost_less_what_came_twice() -> None:
    summary = conclude(routed(1590, repeated=7, missing=17, gone=4))
    assert summary.messages is not None
    assert (summary.messages.lost, summary.messages.duplicated) == (17, 7)
    assert summary.outcome == "shortfall"
    lost = "messages: 17 of 1,600 deliveries were lost, 4 of them since their user had gone"
    assert lost in summary.reasons


def test_what_ticks_had_lost_before_is_not_laid_to_messages() -> None:
    found = conclude(routed(1600, repeated=9, missing=3, before=9)).messages
    assert found is not None
    assert (found.lost, found.duplicated) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"published": 60},
            "messages: 60 of 100 planned were published, and the last one 0.2 s behind its time",
        ),
        ({"published": 60, "generated": None}, "messages: their generator ended by itself"),
        ({"generated": generated(error="the server does not answer")}, "messages: the server does not"),
    ],
)
def test_a_plan_that_was_not_kept_is_a_shortfall(changes: dict[str, Any], reason: str) -> None:
    summary = conclude(routed(1600, **changes))
    assert summary.outcome == "shortfall"
    assert any(one.startswith(reason) for one in summary.reasons), summary.reasons


def test_a_generator_that_was_interrupted_is_no_reason() -> None:
    reasons = conclude(routed(1600, generated=None, interrupted=True)).reasons
    assert reasons == []


def test_a_threshold_that_is_crossed_is_a_reason_beside_the_others() -> None:
    table = failures((Phase.BIND, errno.EADDRINUSE, 3))
    conditions = [parse("opened < 998"), parse("ticks.received < 1"), parse("closed_early > 0")]
    summary = conclude(facts(counts=counts(failed=3), ledger=table, conditions=conditions))
    assert summary.outcome == "shortfall"
    assert summary.reasons == [
        "3 connections failed: EADDRINUSE@bind 3",
        "threshold: opened < 998: it is 997",
        "threshold: ticks.received < 1: that was not measured",
    ]
    assert [threshold.failed for threshold in summary.thresholds] == [True, True, False]


def test_fronts_that_ended_are_reasons_by_their_cause() -> None:
    summary = conclude(facts(server=stats(fronts=[None, -9, 1, -9, None])))
    assert summary.outcome == "shortfall"
    assert [reason.partition(",")[0:3:2] for reason in summary.reasons] == [
        (
            "2 of 5 fronts of the bundled server ended by themselves",
            " by signal 9, and with them the connections they held",
        ),
        (
            "1 of 5 fronts of the bundled server ended by themselves",
            " with status 1, and with them the connections they held",
        ),
    ]


def test_fronts_that_others_went_on_without_are_reasons() -> None:
    summary = conclude(facts(server=stats(fronts_given_up=1, fronts_left_out=1200)))
    assert summary.outcome == "shortfall"
    assert [reason.partition(":")[2].rpartition(":")[0] for reason in summary.reasons] == [
        " a front of the bundled server was given up once",
        " a front of the bundled server was left out 1,200 times",
    ]
    assert conclude(facts(server=stats())).reasons == []


@pytest.mark.parametrize(("is_bundled", "whose"), [(True, "the bundled server"), (False, "the server")])
def test_a_server_that_does_not_answer_is_a_reason(is_bundled: bool, whose: str) -> None:
    summary = conclude(facts(server_silent=True, server_is_bundled=is_bundled))
    assert (summary.outcome, len(summary.reasons)) == ("shortfall", 1)
    assert summary.reasons[0].startswith(f"{whose} did not answer any more")


def test_front_machines_that_were_given_up_or_lost_messages_are_named() -> None:
    machines = [
        machine("web1"),
        machine("web2", times_lost=1, connections_lost=70, gaps=3, rows_lost=1),
    ]
    summary = conclude(facts(server=stats(machines=machines, fronts_given_up=1)))
    assert summary.outcome == "shortfall"
    assert summary.reasons == [
        (
            "the front machine web2 was given up once, as it said nothing for seconds: messages to its 70 connections "
            "went nowhere until it was there again"
        ),
        "messages: 3 frames to the front machine web2 never arrived",
        "messages: 1 delivery to the front machine web2 waited until there was no room",
        (
            "messages: a front machine, or a front of one, was given up once: it wrote nothing for seconds, and nobody "
            "waited for it"
        ),
    ]
    assert conclude(facts(server=stats(machines=[machine("web1")]))).reasons == []


def queue(**changes: int | None) -> Server:
    """The other end of a run, whose queue of 128 was never full, as far as it can be known."""
    known = {"backlog": 128, "most_queued": 3, "dropped": 0, "overflows": 0, "drops": 0, "syn_retransmits": 0}
    found = ListenQueue(**{**known, "deferred": 0, **changes})
    return Server(addresses=["127.0.0.1:80"], processes=[], found="", queue=found)


NOBODY = {"backlog": None, "most_queued": None, "dropped": None, "overflows": None, "drops": None}
"""What is known of the queue of a server on another machine."""

UNANSWERED = "900 requests to connect had no answer within a second and were sent again"
FEWER = "a smaller --in-flight, or --rate"
LATER = "and a handshake had to be tried again a second later or more"
RAISE = "raise its backlog (listen(2), net.core.somaxconn), or take"


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({}, None),
        ({"overflows": 900}, None),  # of another listener
        ({"dropped": 40, "drops": 40}, None),  # for another reason
        ({"dropped": PLANNED, "deferred": PLANNED, "overflows": 2}, None),  # put off here, and another listener's queue
        (
            {"dropped": PLANNED + 9, "deferred": 9 * PLANNED, "overflows": 400},  # others wait for requests as well
            f"the server's queue of 128 was full 9 times, {LATER}: {RAISE} --in-flight 128, or --rate",
        ),
        (
            {"dropped": 412, "overflows": 400},
            f"the server's queue of 128 was full 400 times, {LATER}: {RAISE} --in-flight 128, or --rate",
        ),
        (
            {"dropped": 1, "overflows": 1, "backlog": 4096},
            f"the server's queue of 4,096 was full once, {LATER}: {RAISE} {FEWER}",
        ),
        (
            {"dropped": None, "backlog": None, "overflows": 7},
            f"a queue of the server's network was full 7 times, {LATER}: {RAISE} {FEWER}",
        ),
        ({**NOBODY, "syn_retransmits": 9}, None),
        ({**NOBODY, "syn_retransmits": None}, None),
        (
            {**NOBODY, "syn_retransmits": 900},
            f"{UNANSWERED}: packets were lost, or the server's queue was full; then {RAISE} {FEWER}",
        ),
    ],
)
def test_a_queue_that_was_full_is_named_and_is_no_shortfall(changes: dict[str, int | None], remark: str | None) -> None:
    attempted = ledger(lambda made: made.row(0)["attempts"].__setitem__(0, PLANNED))
    summary = conclude(facts(ledger=attempted, other_end=queue(**changes), in_flight=1024))
    assert summary.reasons == ([] if remark is None else [f"listen queue: {remark}"])
    assert summary.outcome == "ok"
    assert summary.server == queue(**changes)


@pytest.mark.parametrize(
    ("dropped", "deferred", "whose"),
    [
        (9, 0, "the server's queue of 128"),
        (PLANNED + 9, PLANNED, "the server's queue of 128"),
        (9, PLANNED, "a queue of the server's network"),
        (0, PLANNED, None),
    ],
)
def test_of_a_server_that_is_not_ours_it_is_not_known_whether_it_waits_for_requests(
    dropped: int, deferred: int, whose: str | None
) -> None:
    other_end = queue(dropped=dropped, deferred=deferred, overflows=400)
    summary = conclude(facts(models=Models("columns", None), other_end=other_end, in_flight=1024))
    full = f"listen queue: {whose} was full 9 times, {LATER}: {RAISE} --in-flight 128, or --rate"
    assert summary.reasons == ([] if whose is None else [full])


def test_a_few_requests_that_were_sent_again_are_named_where_connections_timed_out() -> None:
    late = counts(failed=3)
    timed_out = failures((Phase.CONNECT, errno.ETIMEDOUT, 3))
    other_end = queue(**NOBODY, syn_retransmits=4)
    summary = conclude(facts(counts=late, ledger=timed_out, other_end=other_end))
    assert summary.outcome == "shortfall"
    assert [reason.partition(":")[0] for reason in summary.reasons] == ["3 connections failed", "listen queue"]


@pytest.mark.parametrize(("dropped", "is_said"), [(None, False), (PLANNED // 100, False), (PLANNED // 100 + 1, True)])
def test_packets_that_the_kernel_dropped_are_named_where_they_are_many(dropped: int | None, is_said: bool) -> None:
    attempted = ledger(lambda made: made.row(0)["attempts"].__setitem__(0, PLANNED))
    summary = conclude(facts(ledger=attempted, samples=[start(), sample(packets_dropped=dropped)]))
    assert [reason.partition(",")[0] for reason in summary.reasons] == (
        ["packets: the kernel of this machine dropped 11 packets"] if is_said else []
    )
    assert summary.outcome == "ok"


def test_what_was_predicted_is_held_against_a_server_of_our_own_only() -> None:
    ours = conclude(facts()).memory
    theirs = conclude(facts(models=Models("columns", None))).memory
    server = sample().server_private
    assert server is not None
    assert ours.measured_bytes is not None
    assert theirs.measured_bytes == ours.measured_bytes - server
