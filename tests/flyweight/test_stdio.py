"""flyweight.command.stdio: standard error that ends nothing, text in any encoding, descriptors that are open."""

import errno
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from floodtest.analysis import load
from floodtest.analysis.record.stages import Stage
from floodtest.flyweight.command import stdio
from floodtest.flyweight.command.run import print_json
from floodtest.flyweight.command.stdio import open_display
from floodtest.loadgen.commands.live_console import LiveConsole
from tests.flyweight.test_command import PRINTING
from tests.rigs.figures import reading, sample
from tests.rigs.forking import forked
from tests.rigs.support import OUR_NETWORK, OURS, command, run, run_forked, run_here


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe, to read from and to write to."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "PATIENCE", 0.0)


def drained(reader: int) -> bytes:
    """Return all that a pipe or terminal has, without waiting for more."""
    found = b""
    while select.select([reader], [], [], 0)[0]:
        found += os.read(reader, 1 << 16)
    return found


def test_lines_are_written_at_once_and_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    shown = open_display(writer)
    print("begun", end="", file=shown)
    assert drained(reader) == b""
    print(" and done", "x" * 20_000, file=shown)
    assert drained(reader) == b"begun and done " + b"x" * 20_000 + b"\n"


def test_a_reader_that_stands_still_costs_text_and_gets_what_comes_when_it_reads_again(
    pipe: tuple[int, int], no_patience: None
) -> None:
    reader, writer = pipe
    shown = open_display(writer)
    for number in range(10_000):
        print(f"line {number} {'x' * 90}", file=shown)
    kept = drained(reader)
    assert kept.startswith(b"line 0 ")
    assert b"line 9999 " not in kept
    print("again", file=shown)
    assert drained(reader) == b"again\n"


def test_a_reader_that_stands_still_is_waited_for_once(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def never_ready(readers: object, writers: object, others: object, seconds: float) -> tuple[list[int], ...]:
        waits.append(seconds)
        return [], [], []

    monkeypatch.setattr(stdio.select, "select", never_ready)  # type: ignore[attr-defined]
    shown = open_display(pipe[1])
    for _ in range(3):
        print("text", file=shown)
    assert waits == [stdio.PATIENCE, 0.0, 0.0]


def test_a_descriptor_that_does_not_block_and_has_no_room(pipe: tuple[int, int], no_patience: None) -> None:
    """Whoever shares a terminal or pipe may have set O_NONBLOCK for all of us."""
    os.set_blocking(pipe[1], False)
    shown = open_display(pipe[1])
    for _ in range(3):
        print("x" * 100_000, file=shown)
    assert len(drained(pipe[0])) >= 1 << 16


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def without_peer() -> int:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours.detach()


def hung_up_terminal() -> int:
    terminal, ours = os.openpty()
    os.close(terminal)
    return ours


UNWRITABLE = [full, without_reader, without_peer, hung_up_terminal]


@pytest.mark.parametrize("make", UNWRITABLE)
def test_what_cannot_be_written_is_dropped(make: object) -> None:
    assert callable(make)
    with ExitStack() as stack:
        descriptor = make()
        stack.callback(os.close, descriptor)
        with pytest.raises(OSError, match=os.strerror(errno.EIO) + "|" + "No space|Broken pipe"):
            os.write(descriptor, b"text")
        shown = open_display(descriptor)
        print("x" * 100_000, file=shown)
        shown.flush()


def test_a_closed_descriptor_is_no_error_either(pipe: tuple[int, int]) -> None:
    gone = os.dup(pipe[1])
    shown = open_display(gone)
    os.close(gone)
    print("text", file=shown)


def test_a_live_picture_goes_on_when_its_terminal_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, ours = os.openpty()
    shown = open_display(ours)
    monkeypatch.setattr(sys, "stderr", shown)
    with closing(LiveConsole()) as console:
        console.stage(Stage.RAMP)
        console.sample(sample(stage="ramp", open=5), reading(10))
        assert drained(terminal)
        os.close(terminal)
        console.sample(sample(stage="ramp", open=7), reading(10))
        console.say("text")
    os.close(ours)


# -- encodings --------------------------------------------------------------------------------------------------------

TEXT = "3 ± 1 … \udcff"
"""What we print, and the name of a folder that is no UTF-8."""


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("ascii", rb"3 \xb1 1 \u2026 " + b"\xff"),
        ("latin-1", b"3 \xb1 1 " + rb"\u2026 " + b"\xff"),
        ("utf-8", b"3 \xc2\xb1 1 \xe2\x80\xa6 \xff"),
    ],
)
def test_any_text_can_be_written_in_any_encoding(encoding: str, written: bytes, pipe: tuple[int, int]) -> None:
    shown = open_display(pipe[1], encoding)
    print(TEXT, file=shown)
    assert drained(pipe[0]) == written + b"\n"
    code = PRINTING.format(lines=1, width=1, end="print('3 ± 1 … \\udcff')")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\n" + written + b"\n", b"")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Write a graph whose power law has an exponent that is told with a sign of plus or minus."""
    path = tmp_path / "graph.txt"
    path.write_text("".join(f"{user % int(user**0.5) + 1} {user}\n" for user in range(2, 3000)))
    return path


POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii:strict"}, POSIX])
def test_a_graph_is_told_of_in_an_encoding_that_lacks_a_sign(environment: dict[str, str], graph: Path) -> None:
    done = run("fakefriends", "stats", str(graph), env={**os.environ, **environment})
    assert (done.returncode, done.stderr.count("\n")) == (0, 2)
    assert r" \xb1 " in done.stdout


def test_help_of_a_disk_that_is_full_is_one_line_in_any_encoding() -> None:
    with open("/dev/full", "wb") as out:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "floodtest", "run", "--help"],
            stdout=out,
            stderr=subprocess.PIPE,
            env={**os.environ, **POSIX},
        )
    assert done.returncode == 3
    assert done.stderr.startswith(b"floodtest: Can't write to standard output: No space left on device")
    assert done.stderr.count(b"\n") == 1


def test_json_is_ascii_in_any_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": TEXT})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {"text": TEXT}


def test_a_run_in_a_folder_whose_name_is_no_utf8(client: str, tmp_path: Path) -> None:
    out, friends = tmp_path / "r\udcffns", tmp_path / "fr\udcffends.txt"
    friends.write_text("1 2\n")
    options = ("--out", str(out), "--connections", "50", "--hold", "0.1", "--client", client)
    messages = ("--friends", str(friends), "--messages", "50", "--message-seconds", "0.1")
    make = run if client == "columns" else run_forked  # an interpreter that is started decodes its arguments
    done = make("floodtest", "run", "--json", "--no-report", *OURS, *options, *messages, errors="surrogateescape")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["outcome"]) == (0, "ok")
    assert Path(summary["run"]).parent == out
    assert load(summary["run"]).summary is not None


# -- descriptors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_the_standard_descriptors_are_open_whatever_was_closed(closed: str, tmp_path: Path) -> None:
    """A file that is opened then has another number, and a child's text does not end up in it."""
    code = (
        "import subprocess, sys\n"
        "from flyweight.command.inherited import put_right\n"
        "put_right('it')\n"
        "with open('file', 'w') as file:\n"
        "    subprocess.run(['sh', '-c', 'cat; echo out; echo err >&2'])\n"
        "    print(file.fileno() > 2, file=file)\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (tmp_path / "file").read_text() == "True\n"
    assert done.returncode == 0
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "closed", "out"),
    [
        ("fakefriends", ["stats", "f.txt"], "2>/dev/full", "vertices       2"),
        ("fakefriends", ["stats", "f.txt"], "2>&-", "vertices       2"),
        ("comet", ["load", "f.txt", "--db", "db"], "2>&-", "1 pair in"),
        ("floodtest", ["plan", "--connections", "100", "--base-ip", f"{OUR_NETWORK}.9"], "2>/dev/full", "connections"),
        ("floodtest", ["plan", "--connections", "none"], "2>&-", ""),
    ],
)
def test_a_command_without_standard_error_does_the_same(
    name: str, arguments: list[str], closed: str, out: str, tmp_path: Path
) -> None:
    (tmp_path / "f.txt").write_text("1 2\n")
    healthy = run_here(name, *arguments, cwd=tmp_path)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command(name, *arguments)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.returncode == healthy.returncode
    assert out in done.stdout
    assert len(done.stdout.splitlines()) == len(healthy.stdout.splitlines())


def stuck(stack: ExitStack) -> int:
    """Return a pipe that has no room left and whose reader does not read."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * select.PIPE_BUF)
    os.set_blocking(writer, True)
    return writer


@pytest.mark.parametrize("lost", ["unread", "stuck", "2>&- <&-"])
def test_a_run_goes_on_without_standard_error(lost: str, tmp_path: Path) -> None:
    line = a_small_run(tmp_path)
    with ExitStack() as stack:
        if lost in ("unread", "stuck"):
            stderr = stuck(stack) if lost == "stuck" else without_reader()
            stack.callback(os.close, stderr)
            process = stack.enter_context(forked(line, stdout=subprocess.PIPE, stderr=stderr, text=True))
        else:
            line = ["sh", "-c", f'exec "$@" {lost}', "sh", *line]
            process = stack.enter_context(subprocess.Popen(line, stdout=subprocess.PIPE, text=True))
        out, _ = process.communicate(timeout=60)
    summary = json.loads(out)
    assert (process.returncode, summary["outcome"], summary["connections"]["opened"]) == (0, "ok", 50)
    record = load(summary["run"])
    assert record.summary is not None
    assert {each.stage for each in record.samples} == {"start", "ramp", "hold"}
    assert (record.folder / "server.log").read_text() == ""


@pytest.mark.parametrize(
    ("where", "threshold", "code", "said"),
    [
        (">&-", "opened < 1", 0, ""),
        ("full", "opened < 1", 3, "floodtest: Can't write to standard output: No space left on device. Send"),
        ("full", "opened > 1", 4, "floodtest: Can't write to standard output: No space left on device. Send"),
        ("unread", "opened > 1", 4, ""),
    ],
)
def test_a_run_whose_summary_is_not_printed_ends_as_it_would_and_says_where_it_is(
    where: str, threshold: str, code: int, said: str, tmp_path: Path
) -> None:
    """Text that is written at once fails in the midst of what a run has left to do."""
    line = [*a_small_run(tmp_path), "--fail-if", threshold]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        options: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": environment}
        if where == ">&-":
            process = stack.enter_context(subprocess.Popen(["sh", "-c", 'exec "$@" >&-', "sh", *line], **options))
        else:
            stdout = without_reader() if where == "unread" else full()
            stack.callback(os.close, stdout)
            process = stack.enter_context(forked(line, stdout=stdout, **options))
        _, err = process.communicate(timeout=60)
    (folder,) = tmp_path.iterdir()
    assert load(folder).summary is not None
    assert process.returncode == code
    told = f"Nobody is told the summary by standard output: it is in {folder}/run.json.\n"
    assert (told in err) == (where != "unread")
    assert err.splitlines()[-1].startswith(said or ("record: " if where == "unread" else told.strip()))


def a_small_run(out: Path) -> list[str]:
    """Return the command line of a run of 50 connections."""
    options = ("--json", "--no-report", "--out", str(out), *OURS, "--connections", "50", "--hold", "0.1")
    return command("floodtest", "run", *options)
