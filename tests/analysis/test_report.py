"""analysis.pages.report: a page and plots of whatever a record has, and a clear word about what it has not."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from floodtest.analysis import LatencyCounts, Record, RecordWriter, Sample, load, read_findings
from floodtest.analysis.figures.doubts import doubts
from floodtest.analysis.pages import report_tables as tables
from floodtest.analysis.pages.layout import lay_out
from floodtest.analysis.pages.pictures import as_svg, style
from floodtest.analysis.pages.plots import PLOTS, memory_by_time
from floodtest.analysis.pages.report import render, write_report
from floodtest.analysis.record.summary import CauseInWords, Lifetimes, Percentiles, ServerTls, Tls
from floodtest.flyweight.errors import Refused
from floodtest.loadgen.commands import records
from tests.rigs.figures import (
    MIB,
    client_share,
    connections,
    findings_of,
    messages,
    record_of,
    sample,
    server_times,
    start,
    summary,
    troubled,
)
from tests.rigs.support import OURS, run_forked, run_here

EXAMPLE = Path(__file__).parents[2] / "analysis/notebooks/example-run"


class Reader(HTMLParser):
    """Collects what a browser would load, run or show, and whether elements are closed in order."""

    VOID = ("meta", "link", "source", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.elements: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert not [name for name, _ in attributes if name.startswith("on")]
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read(path: Path) -> Reader:
    return Reader(path.read_text())


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Copy the recorded run that ships with the project."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example-run"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the report of the recorded run elsewhere, by the command line: it takes seconds to draw."""
    folder = tmp_path_factory.mktemp("report") / "a" / "b"
    done = run_here("floodtest", "report", str(EXAMPLE), "--out", str(folder))
    assert (done.returncode, done.stdout.strip()) == (0, str(folder / "report.html"))
    return folder / "report.html"


BEGUN = {"server_begun": 2, "client_begun": 2}


def ramp(count: int = 20, stop: int = 1000) -> list[Sample]:
    """Samples of a start and a ramp, 2 KiB a connection at the server, after what its fronts took as they began."""
    steps = [stop * at // count for at in range(1, count + 1)]
    rows = [
        sample(
            time=at,
            stage="ramp",
            open=opened,
            not_reached=stop - opened,
            server_private=15 * MIB + 2048 * opened,
            **BEGUN,
        )
        for at, opened in enumerate(steps, 1)
    ]
    return [start(slab=110 * MIB, server_begun=0, client_begun=0), *rows]


def written(folder: Path, samples: list[Sample], **record: Any) -> Path:
    writer = RecordWriter(folder, "one")
    writer.write_run({"command": "floodtest run", "summary": None, **record})
    for row in samples:
        writer.write_sample(row)
    writer.close()
    return writer.folder


def text_of(record: Record) -> str:
    return " ".join(Reader(render(read_findings(record), []).decode()).text)


# -- a whole run -----------------------------------------------------------------------------------------------------


def test_a_report_is_one_page_that_loads_nothing_and_runs_nothing(page: Path) -> None:
    found = read(page)
    assert not {"script", "iframe", "object", "embed", "form"} & set(found.elements)
    assert all(address.startswith("data:") for address in found.addresses)
    assert found.elements.count("img") == len(PLOTS)


def test_every_plot_is_a_picture_in_a_file_of_its_own(page: Path) -> None:
    plots = page.parent / "plots"
    assert {path.stem for path in plots.iterdir()} == {plot.name for plot in PLOTS}
    for plot in PLOTS:
        assert (plots / f"{plot.name}.png").read_bytes().startswith(b"\x89PNG")
        assert ET.parse(plots / f"{plot.name}.svg").getroot().tag.endswith("svg")


def test_each_plot_has_a_sentence_that_says_what_is_to_be_seen(example: Path) -> None:
    findings = read_findings(load(example))
    for plot in PLOTS:
        assert plot.sentence(findings).endswith(".")
        assert len(plot.sentence(findings)) > 40


def test_a_report_that_goes_elsewhere_leaves_the_record_as_it_is(page: Path) -> None:
    assert page.exists()
    assert not (EXAMPLE / "report.html").exists()


def test_the_same_record_makes_the_same_page(page: Path, example: Path) -> None:
    path = write_report(load(example))
    assert path == example / "report.html"
    assert path.read_text().replace(str(example), str(EXAMPLE)) == page.read_text()


def test_the_answer_is_in_words_and_units_a_person_reads(tmp_path: Path) -> None:
    text = text_of(load(written(tmp_path, ramp(), summary=msgspec.to_builtins(summary()))))
    assert "One more user costs 2.00 KiB of the server's memory (1.99 to 2.01) and " in text
    assert "A million would take 1.9 GiB, the server, the client and the kernel together (this run reached" in text
    assert "2008" not in text
    assert "1,054,000" in text


@pytest.mark.parametrize(("most", "is_near"), [(1000, False), (499_999, False), (500_000, True), (1_000_000, True)])
def test_a_million_has_an_interval_only_where_enough_were_open(most: int, is_near: bool) -> None:
    page = render(findings_of(ramp(stop=most)), []).decode()
    cells = re.findall(r'data-label="for a million">([^<]*)<', page)[:3]
    assert ["(" in cell for cell in cells] == [is_near] * 3
    assert ("it has no interval where under half" in page) != is_near
    assert "continued with what this run&#39;s workers took" in page


def test_a_prediction_is_set_beside_what_was_measured() -> None:
    predicted = {"client_user": 10 * MIB, "server_user": 34 * MIB, "kernel": {"sockets": 5 * MIB, "files": 5 * MIB}}
    text = text_of(record_of([start(), sample(server_private=17 * MIB)], prediction=predicted))
    assert "Predicted and measured" in text
    assert "34 MiB" in text
    assert "0.50" in text
    assert "Predicted and measured" not in text_of(record_of([start(), sample()]))


def test_causes_times_to_open_and_lifetimes_are_those_of_the_summary() -> None:
    ends = {"failed": {"HTTP_302@response": 1200}, "closed_early": 200, "closed_by": {"cut": 200}}
    found = msgspec.to_builtins(summary(connections=connections(**ends), **troubled()))
    text = text_of(record_of(ramp(), summary=found))
    words = " ".join(text.split())
    assert "HTTP_302@response 1,200 connections failed in the phase response It moved. Follow it. Location: /a" in words
    assert "HTTP/1.1 302 Found\\r\\n\nLocation: /a" in text
    assert r"\r\n <b>moved\x1b</b>" in words
    assert "cut 200 connections closed early It was cut. Look at the lifetimes." in words
    assert "connected 0.012 2.40 30.7 11,034 open 0.012 2.40" in words
    assert "Of 200 connections that closed early." in words
    assert "they were open 60.1 65 81 100 their last byte 60 60.1 60.3 61" in words
    assert "first byte" not in words
    assert "180 of 200 connections ended 60 s after their last byte: an idle time-out" in words
    assert "closed early 200: 200 cut" in words
    assert "protocol sse open when text:xxx" in words
    assert "does not have" not in words


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "does not have: times to open, lifetimes, causes in words."),
        ({"timing": None, "causes": []}, "does not have: lifetimes."),
        ({"timing": None, "lifetimes": None, "causes": []}, None),
    ],
)
def test_what_an_older_record_has_not_got_is_said_and_what_did_not_happen_is_left_out(
    given: dict[str, Any], said: str | None
) -> None:
    older = msgspec.to_builtins(summary())
    for name in ("timing", "lifetimes", "causes", "protocol", "opened_when"):
        del older[name]
    text = text_of(record_of(ramp(), summary={**older, **given}))
    assert "What went wrong" not in text
    assert "open when" not in text
    assert ("Times to open" in text) == (said is not None)
    assert said is None or said in text


def test_handshakes_of_tls_have_a_table() -> None:
    client = Tls(
        handshakes=2000,
        to_resume=1000,
        resumed=980,
        ciphers={"TLS_AES_256_GCM_SHA384": 1990, "other": 10},
        kept=10,
        cpu_seconds=1.32,
        tickets=1991,
        key_updates=0,
        is_verified=False,
    )
    server = ServerTls(
        handshakes=2001,
        resumed=980,
        kept=10,
        cpu_seconds=None,
        tickets=2000,
        key_updates=0,
        late=0,
        ends={"tls_cut": 3},
    )
    both, alone = (
        next(tables.tls(record_of([], summary=msgspec.to_builtins(summary(tls=client, server_tls=one)))))
        for one in (server, None)
    )
    assert both.head == ("TLS", "client", "server")
    assert both.rows == [
        ("handshakes", "2,000", "2,001"),
        ("of TLS 1.3", "1,990", "1,991"),
        ("of TLS 1.2", "10", "10"),
        ("TLS_AES_256_GCM_SHA384", "1,990", ""),
        ("other", "10", ""),
        ("resumed", "980 of 1,000", "980"),
        ("tickets received, and sent", "1,991", "2,000"),
        ("CPU of a handshake", "0.660 ms", "not measured"),
        ("certificates", "not verified (--insecure)", ""),
        ("ended otherwise than in order", "", "3 tls_cut"),
    ]
    assert (alone.head, alone.rows) == (("TLS", "client"), [row[:2] for row in both.rows[:-1]])
    assert "TLS" in text_of(record_of([start(), sample()], summary=msgspec.to_builtins(summary(tls=client))))
    assert not [*tables.tls(record_of([], summary=msgspec.to_builtins(summary())))]


def test_a_latency_by_the_server_s_times_is_told_as_such(example: Path) -> None:
    run_file = json.loads((example / "run.json").read_text())
    times = msgspec.to_builtins(server_times(clock_offset_seconds=0.5))
    run_file["summary"] |= {"messages": None, "server_times": times}
    run_file["options"] |= {"messages": None, "latency": "(?P<ms>.)", "target": "http://127.0.0.1/"}
    (example / "run.json").write_text(json.dumps(run_file))
    rows = (line.rpartition(",")[0] for line in (example / "latency.csv").read_text().splitlines()[1:])
    (example / "latency.csv").write_text("".join(["milliseconds,planned,published\n", *(f"{row},0\n" for row in rows)]))
    record = load(example)
    words = " ".join(text_of(record).split())
    assert "by the time in the server's messages (--latency). That clock was taken to be +0.5 s ahead" in words
    assert "latency 10 20 31 42 53" in words
    assert "without a time 1,000" in words
    (plot,) = [plot for plot in PLOTS if plot.title == "Latency"]
    findings = read_findings(record)
    assert "from when the server says that it sent them" in plot.sentence(findings)
    chart = plot.draw(findings)
    assert chart is not None
    assert [line.get_label() for line in chart.panels[0].lines] == ["by the time in the server's messages"]


@pytest.mark.parametrize("prediction", [None, 17, [], {"kernel": 3}, {"server_user": None}, {"server_user": "much"}])
def test_a_prediction_that_makes_no_sense_is_passed_over(prediction: Any) -> None:
    assert "Predicted and" not in text_of(record_of([start(), sample()], prediction=prediction))


# -- what may be in a record ------------------------------------------------------------------------------------------

HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;\x00\x1b\ud800"


def test_whatever_a_record_says_is_text(tmp_path: Path) -> None:
    one = Percentiles(1.0, 1.0, 1.0, 1.0)
    found = summary(
        outcome="shortfall",
        reasons=[HOSTILE],
        connections=connections(failed={HOSTILE: 3}),
        messages=messages(),
        opened_when=HOSTILE,
        lifetimes=Lifetimes(1, one, one, HOSTILE),
        causes=[CauseInWords(HOSTILE, 3, HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
    )
    record = record_of(
        ramp(),
        tmp_path / "<b>run</b>",
        command=HOSTILE,
        options={"target": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}},
        host={"system": HOSTILE, "cores": HOSTILE},
        versions={"floodtest": HOSTILE},
        summary=msgspec.to_builtins(found),
    )
    page = Reader(render(read_findings(record), []).decode())
    assert not {"script", "img", "b"} & set(page.elements)
    assert "".join(page.text).count("<script>alert(1)</script>") >= 13
    assert "\x00" not in "".join(page.text)


@pytest.mark.parametrize("value", [None, 17, "text", [], {}])
@pytest.mark.parametrize("key", ["options", "host", "versions", "summary", "stages", "command"])
def test_a_part_of_another_kind_is_passed_over(key: str, value: Any) -> None:
    assert "What to doubt" in text_of(record_of(ramp(), **{key: value}))


# -- partial records -------------------------------------------------------------------------------------------------


def report_of(folder: Path) -> str:
    """Write a report by the command line, and return its text."""
    done = run_here("floodtest", "report", str(folder))
    assert done.returncode == 0, done.stderr
    return " ".join(read(folder / "report.html").text)


def test_a_record_cut_off_mid_line_has_a_report_of_what_there_is(example: Path) -> None:
    samples = example / "samples.csv"
    samples.write_bytes(samples.read_bytes()[:-37])
    run_file = json.loads((example / "run.json").read_text())
    (example / "run.json").write_text(json.dumps({**run_file, "summary": None}))
    assert "it was killed, or still goes on" in text_of(load(example))


def test_a_summary_that_can_not_be_understood_is_no_run_that_was_killed() -> None:
    text = text_of(record_of(ramp(), summary={"outcome": "ok"}))
    assert "its summary can't be understood: Object missing required field" in text
    assert "killed" not in text


def test_the_recorded_run_has_its_summary(example: Path) -> None:
    assert load(example).summary is not None


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "There are 0 samples"),
        ([start()], "There are 1 samples"),
        ([start(), sample(stage="ramp", open=0)], "No connection was open"),
        (ramp()[:3], "too few for a slope"),
        (ramp()[:9], "in the stage ramp"),
    ],
)
def test_a_run_that_ended_early_has_a_partial_report(samples: list[Sample], words: str, tmp_path: Path) -> None:
    folder = written(tmp_path, samples)
    text = report_of(folder)
    assert words in text
    assert len(samples) < 3 or "nothing to draw: Latency" in text  # there are pictures, and it has no messages
    assert not (folder / "plots/latency-by-percentile.svg").exists()


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    found = summary(outcome="interrupted", reasons=["interrupted in the ramp"])
    text = text_of(load(written(tmp_path, ramp(10), summary=msgspec.to_builtins(found))))
    assert "The run ended as interrupted: interrupted in the ramp." in text
    assert text.index("interrupted in the ramp") < text.index("What one connection costs")


def test_a_record_of_a_day_has_a_page_of_a_sensible_size(tmp_path: Path) -> None:
    day = [sample(time=20 + at, received=1000 + at * 7) for at in range(86_400)]
    path = write_report(record_of([*ramp(), *day], tmp_path))
    assert path.stat().st_size < 3_000_000


# -- what can't be reported ------------------------------------------------------------------------------------------


def refused(*arguments: str) -> str:
    done = run_here("floodtest", "report", *arguments)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    return line


def test_a_folder_that_is_no_record_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path} is no run record: it has no run.json." in refused(str(tmp_path))


def test_a_folder_that_is_not_there_is_said_to_be_missing() -> None:
    done = run_here("floodtest", "report", "nope")
    assert (done.returncode, done.stderr) == (3, "floodtest: There is no folder nope. Name that of a run record.\n")


def test_a_record_of_a_newer_format_is_refused(example: Path) -> None:
    (example / "run.json").write_text(json.dumps({"format": 99}))
    assert "newer" in refused(str(example))


@pytest.mark.parametrize(
    ("kept", "words"),
    [(-3, "latency.csv was cut off: its slowest messages are missing"), (9, "latency.csv was cut off")],
)
def test_a_latency_file_that_was_cut_off_is_a_doubt(kept: int, words: str, example: Path) -> None:
    whole = (example / "latency.csv").read_text()
    (example / "latency.csv").write_text(whole[:kept])
    assert words in "\n".join(doubts(read_findings(load(example))))
    assert not [one for one in doubts(read_findings(load(EXAMPLE))) if "latency.csv" in one]


def test_a_latency_file_that_makes_no_sense_costs_no_more_than_its_picture(example: Path) -> None:
    (example / "latency.csv").write_text("milliseconds,planned,published\n1,2\n")
    record = load(example)
    assert "latency.csv is left out, for it can't be read" in text_of(record)
    findings = read_findings(record)
    assert {plot.title for plot in PLOTS if plot.draw(findings) is None} == {"Latency"}


def test_where_nothing_may_be_written_that_is_said(example: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(str(example), "--out", str(tmp_path / "file"))
    assert "Can't write" in line
    assert "--out" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(example: Path) -> None:
    example.chmod(0o500)
    assert "Permission denied" in refused(str(example))


WITHOUT = "import sys; sys.modules['matplotlib'] = None; from loadgen.commands.floodtest import main; main()"


def test_without_matplotlib_a_sentence_says_what_to_install(example: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, "report", str(example)], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "floodtest: Pictures need matplotlib: pip install 'floodtest[plot]'.\n"


# -- at the end of a run ---------------------------------------------------------------------------------------------

FEW = ("run", "--connections", "200", "--hold", "0.2", "--out")


def test_a_run_ends_with_its_report(tmp_path: Path) -> None:
    done = run_forked("floodtest", *FEW, str(tmp_path), *OURS)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.glob("*/report.html")
    assert f"report: {page}" in done.stderr
    assert "200" in " ".join(read(page).text)


def test_a_run_without_a_report(tmp_path: Path) -> None:
    done = run_forked("floodtest", *FEW, str(tmp_path), *OURS, "--no-report")
    assert (done.returncode, "report:" in done.stderr) == (0, False)
    assert not list(tmp_path.glob("*/report.html"))


def forget_matplotlib() -> None:
    """Have it, and what imports it, be imported anew, and not be found."""
    for name in list(sys.modules):
        if name.startswith(("matplotlib", "floodtest.analysis.pages")):
            del sys.modules[name]
    sys.modules["matplotlib"] = None  # type: ignore[assignment]


def test_a_run_without_matplotlib_keeps_its_record_and_its_exit_code(tmp_path: Path) -> None:
    done = run_forked("floodtest", *FEW, str(tmp_path), *OURS, preexec_fn=forget_matplotlib)
    assert done.returncode == 0
    (folder,) = tmp_path.iterdir()
    assert done.stderr.splitlines()[-1] == (
        "There is no report: Pictures need matplotlib: pip install 'floodtest[plot]'. "
        f"The record is whole; later: floodtest report {folder}"
    )
    assert load(folder).summary is not None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (IndexError("of a\x1b[2J picture"), "it failed with IndexError: of a\ufffd[2J picture. The record is whole: "),
        (Refused("No room."), "There is no report: No room. The record is whole; later: floodtest report "),
    ],
)
def test_a_report_that_fails_after_a_run_is_a_sentence(
    error: Exception, words: str, example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Record) -> None:
        raise error

    monkeypatch.setattr("floodtest.analysis.pages.report.write_report", fail)
    records.report_of(example)
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("condition", "code"), [("failed > 0", 0), ("opened > 0", 4)])
def test_ctrl_c_while_a_report_is_drawn_leaves_the_exit_code_of_the_run(
    condition: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Record) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("floodtest.analysis.pages.report.read_findings", interrupt)
    done = run_forked("floodtest", *FEW, str(tmp_path), *OURS, "--fail-if", condition)
    (folder,) = tmp_path.iterdir()
    assert done.returncode == code
    assert done.stderr.splitlines()[-1] == (
        f"There is no report: it was interrupted. The record is whole; later: floodtest report {folder}"
    )
    assert load(folder).summary is not None
    assert not (folder / "report.html").exists()


def test_the_latency_to_the_arrival_is_in_the_picture_and_in_its_sentence() -> None:
    share = client_share(sampled_connections=100, sampled_messages=1000, shared=0)
    (plot,) = [plot for plot in PLOTS if plot.name == "latency-by-percentile"]
    for arrived, told, lines in ((0, None, 1), (1000, share, 3)):
        found = findings_of(ramp(), summary=msgspec.to_builtins(summary(messages=messages(), client_share=told)))
        rows = np.array([[3.0, 0, 0, 0, arrived], [12.0, 5000, 0, arrived, 0]])
        found = replace(found, latency=LatencyCounts(rows))
        chart = plot.draw(found)
        assert chart is not None
        assert len(chart.panels[0].get_lines()) == lines
        said = "12 ms of p99 to the read, 3 to the arrival: the difference is the client's own."
        assert (said in plot.sentence(found)) is bool(arrived)


# -- doubts ----------------------------------------------------------------------------------------------------------


def doubts_about(samples: list[Sample], **record: Any) -> str:
    return "\n".join(doubts(findings_of(samples, **record)))


def test_a_quiet_run_has_no_doubts_but_whose_the_kernel_s_figures_are() -> None:
    slabs = {"slab_tcp": 1, "machine_cpu": 1.0, "server_cpu": 0.5, "client_cpu": 0.5, "swapped": 0}
    rows = [msgspec.structs.replace(row, **slabs) for row in ramp()]
    (said,) = doubts(findings_of(rows, summary=msgspec.to_builtins(summary()), host={"cores": 2}))
    assert said.startswith("The kernel's memory is the whole machine's (/proc/meminfo)")
    assert "slabinfo" not in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"swapped": 300 * MIB}, "swapped 300 MiB out"),
        ({"machine_cpu": 900.0}, "Something else kept"),
        ({"time": 100.0}, "1 samples came late"),
    ],
)
def test_what_disturbed_the_machine_is_said(changes: dict[str, Any], words: str) -> None:
    rows = [msgspec.structs.replace(row, machine_cpu=2.0, swapped=0) for row in ramp()]
    assert words in doubts_about(
        [*rows, msgspec.structs.replace(rows[-1], **{"time": 21.0, "stage": "hold", **changes})]
    )


def test_swapping_is_said_though_the_first_sample_does_not_tell() -> None:
    rows = [msgspec.structs.replace(row, swapped=at * MIB if at else None) for at, row in enumerate(ramp())]
    assert "swapped 19 MiB out" in doubts_about(rows)


def test_samples_without_the_server_are_a_gap_and_said() -> None:
    rows = [msgspec.structs.replace(row, server_private=None if 5 <= row.time < 10 else 20 * MIB) for row in ramp()]
    assert "The server's memory was not read in 5 of 21 samples." in doubts_about(rows)
    chart = memory_by_time(findings_of(rows))
    assert chart is not None
    for layer in chart.panels[0].collections[-3:]:
        corners = np.concatenate([path.vertices for path in layer.get_paths()])
        assert not ((corners[:, 0] >= 5) & (corners[:, 0] < 10)).any()


def test_a_stage_may_be_called_anything() -> None:
    odd = [msgspec.structs.replace(row, time=row.time + 30, stage="$\\frac$") for row in ramp()]
    with style():
        chart = memory_by_time(findings_of([*ramp(), *odd]))
        assert chart is not None
        assert as_svg(lay_out(chart, chart.wide))


def test_noise_is_said() -> None:
    rows = ramp()
    noise = np.random.default_rng(5).normal(0, 3 * MIB, len(rows)).astype(int).tolist()
    noisy = [
        msgspec.structs.replace(row, server_private=(row.server_private or 0) + off)
        for row, off in zip(rows, noise, strict=True)
    ]
    assert "the slope is uncertain" in doubts_about(noisy)


def test_a_server_that_was_not_measured_is_said() -> None:
    rows = [msgspec.structs.replace(row, server_private=None, server_cpu=None) for row in ramp()]
    assert "--server-pid" in doubts_about(rows)
    text = text_of(record_of(rows))
    assert "the client and the kernel together" in text
    assert "Not in it, since not measured or too little for a line: the server." in text
    said = PLOTS[1].sentence(findings_of(rows))
    assert "by the client and by the kernel" in said
    assert "The server's memory was not measured" in said


def test_a_figure_of_the_kernel_that_could_not_be_read_is_said() -> None:
    assert "/proc/slabinfo is for root" in doubts_about(ramp())


def kernel_doubts(*held: int, predicted: int = 10, planned: int = 1000) -> str:
    """Doubts about a kernel that has taken so many MiB at each sample of the hold."""
    rows = [*ramp()[:-1], *(sample(time=20 + at, slab=(110 + taken) * MIB) for at, taken in enumerate(held))]
    prediction = {"kernel": {"sockets": predicted * MIB}}
    return doubts_about(rows, prediction=prediction, options={"plan": {"connections": planned}})


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ((20, 23, 20), "moved by 3 MiB in the hold"),
        ((20, 17), "moved by 3 MiB in the hold"),
        ((-20,), "fell by 20 MiB"),
        ((14,), "grew by 14 MiB, and 10 MiB were predicted"),
    ],
)
def test_a_kernel_that_others_move_is_said(held: tuple[int, ...], words: str) -> None:
    assert words in kernel_doubts(*held)


def test_a_kernel_that_does_as_predicted_is_no_doubt() -> None:
    for said in (kernel_doubts(12, 13, 12), kernel_doubts(22, 23, predicted=20)):
        assert "in the hold" not in said
        assert "were predicted" not in said


def test_a_prediction_is_for_as_many_as_were_open() -> None:
    assert "10 MiB were predicted" in kernel_doubts(14, predicted=100, planned=10_000)


def test_messages_behind_their_plan_are_said() -> None:
    found = summary(messages=messages(most_behind_seconds=5.5, received=12))
    said = doubts_about(ramp(), summary=msgspec.to_builtins(found))
    assert "5.5 s after their time" in said
    assert "Only 12 deliveries" in said


def test_words_of_the_command_line(tmp_path: Path) -> None:
    shown = run_here("floodtest", "report", "--help").stdout
    assert "report.html" in shown
    assert "--out" in shown


def test_without_permission_to_write_refused_is_raised(example: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="Can't write"):
        write_report(load(example), tmp_path / "file" / "below")
