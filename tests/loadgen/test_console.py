"""loadgen.commands.console: what a person reads."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from floodtest.analysis import RecordWriter
from floodtest.analysis.record.stages import Stage
from floodtest.analysis.record.summary import (
    CauseInWords,
    Lifetimes,
    Models,
    Percentiles,
    Ramp,
    Server,
    ServerProcess,
    ServerTls,
    Tick,
    Timing,
    Tls,
    Workers,
)
from floodtest.flyweight.command.units import size
from floodtest.loadgen.commands import running
from floodtest.loadgen.commands.console import PlainConsole, render
from floodtest.loadgen.commands.live_console import LiveConsole
from floodtest.loadgen.commands.running import open_console
from tests.rigs.figures import MIB, NOT_MEASURED, connections, messages, reading, sample, server_times, start, summary


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "not measured"),
        (0, "0 B"),
        (1, "1 B"),
        (1000, "1,000 B"),
        (1024, "1 KiB"),
        (20 * 1024, "20 KiB"),
        (MIB, "1 MiB"),
        (300 * MIB, "300 MiB"),
        (1024 * MIB, "1.0 GiB"),
        (10_752 * MIB, "10.5 GiB"),
        (-300 * MIB, "-300 MiB"),
    ],
)
def test_size(count: float | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize("unit", [1, 1024, MIB, 1024 * MIB])
def test_a_size_is_within_half_a_unit_of_the_truth_at_most(unit: int) -> None:
    units = {"B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}
    for times in (1, 1.4, 5, 99.4, 1000, 1023):
        number, name = size(times * unit).split()
        assert abs(float(number.replace(",", "")) * units[name] - times * unit) <= unit / 2


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_plain_console_writes_one_line_a_sample_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole()
    console.sample(start(), reading(2000))
    console.sample(sample(time=1.5, stage="ramp", open=400), reading(2000))
    console.sample(sample(time=2.5, stage="ramp", open=1000, failed=3, closed_early=2), reading(2000))
    console.sample(sample(time=12.5, open=1100), reading(2000))
    lines = lines_of(capsys)
    assert len(lines) == 4
    assert [line.split()[2] for line in lines] == ["start", "ramp", "ramp", "hold"]
    assert "open 400 of 2,000 (400/s, 4 s left)" in lines[1]
    assert "open 1,000 of 2,000 (600/s, 2 s left)" in lines[2]
    assert "failed 3, closed early 2, messages 1,000, received 148 KiB" in lines[2]
    assert "server 20 MiB, client 10 MiB, kernel 122 MiB, available 2.0 GiB" in lines[2]
    assert all("left" not in lines[index] for index in (0, 3))


def test_a_ramp_that_stands_still_has_no_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole()
    for second in (1.0, 2.0, 2.0):
        console.sample(sample(time=second, stage="ramp", open=500), reading(2000))
    assert "left" not in "".join(lines_of(capsys))


def test_a_server_that_is_not_measured_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    PlainConsole().sample(sample(server_private=None), reading(1000))
    assert "server not measured, client 10 MiB" in lines_of(capsys)[0]


def test_closing_tells_how_many_sockets_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole()
    console.sample(sample(stage="close", tcp_inuse=123_456), reading(1000))
    console.say("The end.")
    lines = lines_of(capsys)
    assert "123,456 TCP sockets" in lines[0]
    assert lines[1] == "The end."


def test_a_pipe_gets_plain_lines_and_a_terminal_a_live_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert isinstance(open_console(), PlainConsole)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(open_console(), LiveConsole)


def test_a_live_console_shows_the_same_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with closing(LiveConsole()) as console:
        console.stage(Stage.START)
        console.say("[not] markup")
        console.sample(sample(time=1.5, stage="ramp", open=400), reading(2000))
        console.sample(sample(time=2.5, stage="ramp", open=1000, failed=3), reading(2000))
    shown = "\n".join(lines_of(capsys))
    assert "[not] markup" in shown
    assert "1,000 of 2,000 open" in shown
    assert "600/s" in shown
    assert "2 s left" in shown
    assert "failed 3, closed early 0" in shown


# -- the summary -----------------------------------------------------------------------------------------------------


def line(text: str, first: str) -> str:
    """Return the only line that begins like this."""
    (found,) = [line for line in text.splitlines() if line.strip().startswith(first)]
    return " ".join(found.split())


def test_the_summary_of_a_million() -> None:
    text = render(summary())
    assert text.splitlines()[0] == "ok: 1,054,000 of 1,054,000 connections were open at once"
    assert line(text, "opened") == "opened 1,054,000 in 37.4 s, 28,182 a second"
    assert line(text, "failed") == "failed 0"
    assert line(text, "workers") == "workers 54 client, 54 server; 20,000 files each"
    assert line(text, "received") == "received 1,054,000 messages, 153 MiB"
    assert line(text, "record:") == "record: runs/20250615-120000"


def test_what_one_more_costs_stands_apart_from_what_was_there_before() -> None:
    text = render(summary())
    server, client = "21 B (17 to 25) for one more; 160 MiB before the first", "less than 30 B for one more; 150 MiB"
    assert line(text, "server, user memory") == f"server, user memory {server}, 182 MiB for 1,054,000"
    assert line(text, "client, user memory").startswith(f"client, user memory {client}")
    kernel = "kernel, both ends 8.17 KiB (8.11 to 8.22) for one more; 9.9 GiB for 1,054,000"
    assert line(text, "kernel, both ends") == kernel
    assert " B each" not in text


def test_the_answer_is_the_first_line_below_the_outcome() -> None:
    answer = "One more user costs 21 B of the server's memory (17 to 25) and 4.08 KiB of the kernel's."
    assert render(summary(answer=answer)).splitlines()[:4] == [
        "ok: 1,054,000 of 1,054,000 connections were open at once",
        "",
        answer,
        "",
    ]


def test_each_doubt_has_a_line_of_its_own_behind_the_figures() -> None:
    lines = render(summary(), ["The slope is uncertain.", "The machine swapped."]).splitlines()
    assert lines[-5:] == [
        "",
        "doubt         The slope is uncertain.",
        "doubt         The machine swapped.",
        "",
        f"record: {summary().run}",
    ]
    assert "doubt" not in render(summary())


def test_a_run_is_told_with_the_doubts_of_every_end_and_of_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = RecordWriter(tmp_path, "few")
    told = summary(run=str(writer.folder))
    writer.write_run({"summary": msgspec.to_builtins(told)})
    for row in (start(swapped=0), sample(stage="ramp", time=1.0, open=500), sample(time=2.0, swapped=MIB)):
        writer.write_sample(row)
    writer.close()
    assert running.show(told, as_json=False) is None
    doubts = [line for line in capsys.readouterr().out.splitlines() if line.startswith("doubt  ")]
    assert [line.split()[1].strip(",") for line in doubts] == ["server", "client", "kernel", "The"]
    assert "too few for a slope" in doubts[1]
    assert "swapped 1 MiB out" in doubts[3]
    (writer.folder / "run.json").unlink()
    running.show(told, as_json=False)
    assert "What to doubt about these figures is not known." in capsys.readouterr().out


def test_a_run_of_their_kind_stands_next_to_those_of_2008() -> None:
    text = render(summary())
    assert line(text, "server, all of it") == "server, all of it 5.1 GiB for 1,054,000"
    assert line(text, "2008, mochiweb") == "2008, mochiweb 35.4 GiB for 1,000,000"
    assert line(text, "2008, libevent") == "2008, libevent 9.3 GiB for 1,000,000"
    assert "2008" not in render(summary(connections=connections(peak_open=6000)))
    assert "2008" not in render(summary(models=Models("columns", None)))


def test_of_a_record_from_before_the_cost_was_told_the_rest_is() -> None:
    older = msgspec.structs.replace(summary().memory, server=None)
    assert "too few samples for one more; 160 MiB before the first" in render(summary(memory=older))


def test_what_was_not_measured_is_said_to_be() -> None:
    text = render(summary(memory=NOT_MEASURED, workers=Workers(2, None, 1024)))
    assert line(text, "server, user memory") == "server, user memory not measured"
    assert line(text, "kernel, both ends") == "kernel, both ends not measured"
    assert "server, all of it" not in text
    assert line(text, "workers") == "workers 2 client, the server is not ours; 1,024 files each"


def test_a_server_that_is_not_ours_is_named_with_where_it_is() -> None:
    addresses, processes = ["127.0.0.1:80", "127.0.0.2:80"], [ServerProcess(12, "nginx"), ServerProcess(31, "nginx")]
    server = Server(addresses=addresses, processes=processes, found="found by who listens at the target")
    text = render(summary(models=Models("columns", None), server=server))
    named = "nginx (process 12), nginx (process 31) and children: found by who listens at the target"
    assert line(text, "server ") == f"server {named}"
    assert line(text, "addresses") == "addresses 2 in turn: 127.0.0.1:80, 127.0.0.2:80"
    unknown = Server(addresses=addresses[:1], processes=[], found="it is on another machine")
    text = render(summary(models=Models("columns", None), server=unknown))
    assert line(text, "server ") == "server not measured: it is on another machine"
    assert "addresses" not in text
    assert "not measured: it is" not in render(summary(server=unknown))


def test_user_memory_of_a_server_that_is_not_ours_is_in_the_whole_and_not_in_what_was_predicted() -> None:
    assert line(render(summary()), "in all") == "in all, 10.3 GiB measured and 10.2 GiB predicted"
    found = summary(models=Models("columns", None))
    without = "10.3 GiB, of 10.2 GiB predicted"
    assert line(render(found), "in all") == f"in all, 10.4 GiB measured; without the server's user memory {without}"
    assert max(map(len, render(found).splitlines())) <= 100
    memory = msgspec.structs.replace(found.memory, server_user_bytes_per_connection=None)
    told = line(render(msgspec.structs.replace(found, memory=memory)), "in all")
    assert told == "in all but the server's user memory, 10.3 GiB measured and 10.2 GiB predicted"


def test_a_shortfall_gives_its_reasons_first() -> None:
    c = connections(
        opened=950_000, peak_open=940_000, failed={"EMFILE@bind": 4000}, closed_early=7, not_reached=100_000
    )
    text = render(summary(outcome="shortfall", reasons=["memory: ended", "files: none"], connections=c))
    assert text.splitlines()[:3] == [
        "shortfall, for the reasons below: 940,000 of 1,054,000 connections were open at once",
        "  memory: ended",
        "  files: none",
    ]
    assert [line(text, name) for name in ("failed", "closed early", "not reached")] == [
        "failed 4,000",
        "closed early 7",
        "not reached 100,000",
    ]


def test_replaced_ports_are_told_when_there_are_any() -> None:
    assert "ports" not in render(summary())
    assert line(render(summary(connections=connections(replaced_ports=17_000))), "ports").startswith("ports 17,000 ")


def test_ticks_are_told_one_by_one() -> None:
    ticks = [Tick(1, 1_054_000, 1_054_000, 9.5, 110_947.4), Tick(12, None, 5, 0.0, None), Tick(13, 10, 0, 0.0, None)]
    text = render(summary(ticks=ticks))
    assert line(text, "tick 1 ") == "tick 1 1,054,000 of 1,054,000 received in 9.50 s, 110,947 a second"
    assert line(text, "tick 12 ") == "tick 12 5 received in 0.00 s"
    assert line(text, "tick 13 ") == "tick 13 0 of 10 received in 0.00 s"


def test_nothing_opened_is_a_summary_as_well() -> None:
    c = connections(opened=0, peak_open=0, failed={"ECONNREFUSED@connect": 1_054_000})
    text = render(
        summary(outcome="shortfall", connections=c, ramp=Ramp(0.0, 0.0), memory=NOT_MEASURED, received=0, bytes=0)
    )
    assert line(text, "opened") == "opened 0 in 0.0 s, 0 a second"
    assert line(text, "received") == "received 0 messages, 0 B"


def test_no_line_of_the_summary_is_wider_than_a_window() -> None:
    c = connections(replaced_ports=17_000)
    ticks = [Tick(100, 1_054_000, 1_054_000, 9.5, 110_947.4)]
    assert max(map(len, render(summary(connections=c, ticks=ticks)).splitlines())) <= 100


def test_messages_are_told_with_both_latencies() -> None:
    text = render(summary(messages=messages()))
    assert line(text, "messages") == "messages 60,000 of 60,000 published, at the most 0.123 s after their time"
    assert line(text, "deliveries") == "deliveries 960,000 of 960,000 received in 60.1 s, 15,973 a second"
    assert line(text, "lost") == "lost 0, duplicated 0"
    assert line(text, "latency") == "latency p50 12.1, p90 17.5, p99 22.9, p99.9 29.9, max 37.1 ms"
    assert line(text, "uncorrected").startswith("uncorrected p50 7.0, ")


def test_the_latency_by_a_server_s_times_names_its_source() -> None:
    text = render(summary(server_times=server_times(clock_offset_seconds=-0.25)))
    said = "latency p50 10.0, p90 20.0, p99 31.0, p99.9 42.0, max 53.0 ms, by the time in the server's messages"
    assert line(text, "latency") == f"{said}, its clock -0.25 s"
    assert line(text, "times") == (
        "times 4,000 messages with a time, 1,000 without a time, 3 sent after they were read, 2 sent over 71 minutes "
        "ago, 1 of what is no time"
    )
    none = render(summary(server_times=server_times(timed=0, ahead=0, old=0, unreadable=0, latency_ms=None)))
    assert line(none, "latency") == "latency none, by the time in the server's messages"
    assert line(none, "times") == "times 0 messages with a time, 1,000 without a time"


def test_messages_of_which_little_is_known_are_told_as_well() -> None:
    few = messages(late=None, most_behind_seconds=None, per_second=None, latency_ms=None, uncorrected_latency_ms=None)
    text = render(summary(messages=few))
    assert line(text, "messages") == "messages 60,000 of 60,000 published"
    assert "latency" not in text


@pytest.mark.parametrize(
    ("models", "line"),
    [
        (Models(), None),
        (Models("columns", None), None),
        (Models("columns", "tasks"), "models        client columns, server tasks"),
        (Models("httpx", "columns"), "models        client httpx, server columns"),
        (Models("httpx", None), "models        client httpx"),
    ],
)
def test_models_are_named_unless_they_are_the_usual_ones(models: Models, line: str | None) -> None:
    lines = [text for text in render(summary(models=models)).splitlines() if text.startswith("models ")]
    assert lines == ([] if line is None else [line])


def test_causes_are_told_in_words_with_one_answer() -> None:
    told = render(
        summary(
            causes=[
                CauseInWords("cut", 30, "It was cut.", "Look."),
                CauseInWords("HTTP_302@response", 9, "It moved.", "Follow.", r"HTTP/1.1 302\r\n", "Location: /b"),
                CauseInWords("web_page@response", 8, "A page.", "Log in.", "HTTP/1.1 200"),
            ]
        )
    )
    assert line(told, "cause         cut") == "cause cut 30: It was cut. Look."
    assert line(told, "Location") == "Location: /b"
    assert line(told, "answer") == r"answer of HTTP_302@response: HTTP/1.1 302\r\n"


def test_the_protocol_and_what_opens_are_told_of_a_server_that_is_not_ours() -> None:
    server = Server(addresses=["127.0.0.1:80"], processes=[], found="nobody listens")
    asked = {"server": server, "protocol": "sse", "opened_when": "text:\x1b[2J"}
    told = render(summary(**asked, models=Models("columns", None)))
    assert line(told, "protocol") == "protocol sse; open when: text:\ufffd[2J"
    assert "protocol" not in render(summary(**asked))


def test_times_to_open_and_lifetimes_have_a_line_each() -> None:
    times = Percentiles(0.04, 1.26, 3.0, 1234.5)
    told = render(
        summary(
            timing=Timing(times, None, times), lifetimes=Lifetimes(200, times, times, "180 of 200 connections ended")
        )
    )
    shares = "p50 0.04, p90 1.3, p99 3.0, max 1,234.5"
    assert line(told, "timing") == f"timing connect {shares}; open {shares} ms"
    assert line(told, "lifetimes") == f"lifetimes of those closed early: {shares} s; since their last byte {shares} s"
    assert line(told, "180") == "180 of 200 connections ended"


SERVER_TLS = ServerTls(handshakes=1000, resumed=0, kept=0, cpu_seconds=0.273, tickets=0, key_updates=0, late=0, ends={})


def test_how_many_handshakes_were_to_be_resumed_is_told() -> None:
    tls = Tls(handshakes=10, ciphers={}, resumed=4, kept=0, cpu_seconds=0, tickets=3, key_updates=0, is_verified=True)
    assert line(render(summary(tls=tls)), "tls") == "tls 10 handshakes: 4 resumed; 3 tickets"
    told = render(summary(tls=msgspec.structs.replace(tls, to_resume=5)))
    assert line(told, "tls") == "tls 10 handshakes: 4 of 5 resumed; 3 tickets"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "1,000 handshakes: 0 resumed; 273 µs of its CPU each"),
        ({"cpu_seconds": None}, "1,000 handshakes: 0 resumed"),
        ({"handshakes": 0, "cpu_seconds": 0.1}, "0 handshakes: 0 resumed"),
        (
            {"resumed": 400, "kept": 1000, "cpu_seconds": None},
            "1,000 handshakes: 400 resumed; 1,000 of TLS 1.2, which keep 15 to 35 KiB each",
        ),
        (
            {"tickets": 2000, "key_updates": 3, "late": 2, "cpu_seconds": None},
            "1,000 handshakes: 0 resumed; 2,000 tickets; 3 updates of keys; 2 given up, as they took too long",
        ),
        (
            {"ends": {"tls_alert": 3, "tls_cut": 1200}, "cpu_seconds": None},
            "1,000 handshakes: 0 resumed; ended by tls_cut 1,200, tls_alert 3",
        ),
    ],
)
def test_what_our_own_server_says_of_tls_is_a_line(changes: dict[str, Any], told: str) -> None:
    lines = render(summary(server_tls=msgspec.structs.replace(SERVER_TLS, **changes))).splitlines()
    assert [line for line in lines if line.startswith("server's tls")] == [f"server's tls  {told}"]
    assert "server's tls" not in render(summary())
