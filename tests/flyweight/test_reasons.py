"""flyweight.machine.reasons and shared: limits of a process that end a command are named, with what raises them."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floodtest.flyweight.engine.shared import shared_memory
from floodtest.flyweight.errors import FloodtestError, Refused
from floodtest.flyweight.machine.reasons import memory_is_a_fault, reason
from tests.analysis.test_report import written
from tests.rigs.figures import start
from tests.rigs.support import OUR_NETWORK, OURS, command, run_in_child

KIB = 1024
TOO_LARGE = "File too large (a file of this process, shared memory included, may have {:,} KiB: raise ulimit -f)"


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """Make the soft limits of this process what a test puts here; the others are infinite."""
    found: dict[int, int] = {}
    infinite = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (found.get(limit, infinite), infinite))
    return found


def error_of(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_limit_of_the_process_is_named(limits: dict[int, int]) -> None:
    limits[resource.RLIMIT_FSIZE] = 4000 * KIB
    limits[resource.RLIMIT_AS] = 500_000 * KIB
    assert reason(error_of(errno.EFBIG)) == TOO_LARGE.format(4000)
    assert reason(error_of(errno.ENOMEM)) == (
        "Cannot allocate memory (this process may have addresses for 500,000 KiB: raise ulimit -v)"
    )


@pytest.mark.parametrize("number", [errno.EFBIG, errno.ENOMEM, errno.ENOSPC, errno.EACCES])
def test_what_is_no_limit_of_the_process_is_told_in_the_words_of_the_kernel(
    number: int, limits: dict[int, int]
) -> None:
    assert reason(error_of(number)) == os.strerror(number)


def test_an_error_without_a_number_says_what_it_says() -> None:
    assert reason(OSError("a message")) == "a message"


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize(
    ("raised", "is_memory"),
    [
        (MemoryError(), True),
        (BaseExceptionGroup("", [Refused("No."), BaseExceptionGroup("", [MemoryError()])]), True),
        (BaseExceptionGroup("", [MemoryError(), ValueError()]), False),
        (BaseExceptionGroup("", [Refused("No.")]), False),
        (Refused("No."), False),
    ],
)
def test_memory_that_cuts_something_off_is_a_fault(begun: bool, raised: BaseException, is_memory: bool) -> None:
    expected = (FloodtestError, MemoryError, BaseExceptionGroup)
    with pytest.raises(expected) as caught, memory_is_a_fault(lambda: "It is cut off." if begun else None):
        raise raised
    if begun and is_memory:
        assert type(caught.value) is FloodtestError
        assert str(caught.value) == "Out of memory. It is cut off."
    else:
        assert caught.value is raised


# -- shared memory ----------------------------------------------------------------------------------------------------


def test_shared_memory_is_one_memory_by_its_descriptor() -> None:
    descriptor, memory = shared_memory("test", 5000)
    same, view = shared_memory("test", 5000, descriptor)
    assert same == descriptor
    memory[4999] = 7
    assert (len(view), view[4999], view[0]) == (5000, 7, 0)
    os.close(descriptor)


def test_shared_memory_that_a_limit_forbids_is_refused_and_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, limits: dict[int, int]
) -> None:
    def too_large(descriptor: int, size: int) -> None:
        raise error_of(errno.EFBIG)

    limits[resource.RLIMIT_FSIZE] = 100 * KIB
    monkeypatch.setattr(os, "truncate", too_large)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Refused) as caught:
        shared_memory("ledger", 100 * KIB + 1)
    assert str(caught.value) == f"101 KiB of shared memory for the ledger can't be had: {TOO_LARGE.format(100)}."
    assert os.listdir("/proc/self/fd") == before


# -- commands ---------------------------------------------------------------------------------------------------------


def files_of(kib: int) -> Callable[[], None]:
    """Let no file of a command grow past a size, as `ulimit -f` does."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kib * KIB, kib * KIB))


RUN = ["run", *OURS, "--connections", "50", "--hold", "0.1"]


@pytest.mark.parametrize(
    ("kib", "name", "arguments", "words"),
    [
        (40_000, "floodtest", RUN, "A file of this process, shared memory included, may have 40,000 KiB, and"),
        (64, "floodtest", [*RUN, "--target", "http://127.0.0.1:9/{user}"], "64 KiB: raise ulimit -f"),
        (1, "floodtest", ["report", "run"], "Can't write run/report.html: " + TOO_LARGE.format(1)),
        (1000, "comet", ["serve", "--port", "0", "--control-port", "0"], "1,000 KiB: raise ulimit -f"),
        (4, "comet", ["load", "f.txt", "--db", "db"], "store db can't be used: " + TOO_LARGE.format(4)),
        (40, "comet", ["load", "f.txt", "--db", "db"], "store db can't be used: " + TOO_LARGE.format(40)),
        (4, "fakefriends", ["gen", "-n", "1000"], "Can't write fakefriends.txt: " + TOO_LARGE.format(4)),
    ],
)
def test_a_limit_of_file_sizes_is_one_line_that_names_it(
    kib: int, name: str, arguments: list[str], words: str, tmp_path: Path
) -> None:
    written(tmp_path, [start()]).rename(tmp_path / "run")
    (tmp_path / "f.txt").write_text("".join(f"{user} {user + 1}\n" for user in range(1, 1000)))
    done = run_in_child(files_of(kib), name, *arguments, cwd=tmp_path)
    assert done.returncode == 3
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_that_may_not_grow(unbuffered: str, tmp_path: Path) -> None:
    """The kernel takes a part of it first."""
    with open(tmp_path / "out", "wb") as out:
        done = subprocess.run(
            command("floodtest", "run", "--help"),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=files_of(1),
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (
        3,
        f"floodtest: Can't write to standard output: {TOO_LARGE.format(1)}. Send it elsewhere, or make room.\n",
    )


def test_plan_says_that_a_run_would_be_refused() -> None:
    done = run_in_child(
        files_of(1000), "floodtest", "plan", "--connections", "50", "--base-ip", f"{OUR_NETWORK}.9", "--network", "host"
    )
    assert done.returncode == 3
    assert "may have 1,000 KiB, and the server takes" in done.stdout
