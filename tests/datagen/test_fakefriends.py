"""`fakefriends`, as a person types it."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from floodtest.datagen.files import read_pairs
from tests.rigs.support import command, run_here, run_in_child, wait_until

SMALL = ("-n", "2000", "-m", "5", "--seed", "1")


def test_gen_says_what_it_made(tmp_path: Path) -> None:
    done = run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.txt"))
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (lines["seed"], lines["vertices"], lines["edges"]) == ("1", "2,000", "9,985")
    assert lines["degree"].startswith("minimum 5, mean 9.98, maximum ")
    assert lines["power"].startswith("law      exponent ")
    for stage in ("making 2,000 users", "writing ", "counting friends"):
        assert stage in done.stderr
    assert len(read_pairs(tmp_path / "f.txt")) == 9985


def test_the_defaults_are_those_of_2008() -> None:
    shown = run_here("fakefriends", "gen", "--help").stdout
    assert "1000000" in shown
    assert "15" in shown
    assert "fakefriends.txt" in shown


def test_the_same_seed_makes_the_same_file_and_no_seed_names_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / name)).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    done = run_here("fakefriends", "gen", *SMALL[:4], "-o", str(tmp_path / "c"))
    seed = done.stdout.splitlines()[0].split()[1]
    again = run_here("fakefriends", "gen", *SMALL[:4], "--seed", seed, "-o", str(tmp_path / "d"))
    assert again.returncode == 0
    assert (tmp_path / "c").read_bytes() == (tmp_path / "d").read_bytes()


@pytest.mark.parametrize(("name", "options"), [("f.npy", []), ("f.parquet", []), ("f", ["--format", "npy"])])
def test_other_formats_hold_the_same(name: str, options: list[str], tmp_path: Path) -> None:
    for file, more in ((name, options), ("f.txt", [])):
        assert run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / file), *more).returncode == 0
    assert np.array_equal(read_pairs(tmp_path / name), read_pairs(tmp_path / "f.txt"))


def test_stats_reads_any_of_them(tmp_path: Path) -> None:
    made = run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.npy"))
    shown = run_here("fakefriends", "stats", str(tmp_path / "f.npy"))
    assert shown.returncode == 0
    assert shown.stdout.splitlines() == made.stdout.splitlines()[1:]


def test_stats_counts_apart_what_is_no_further_edge(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 1\n1 2\n2 1\n1 2\n3 3\n")
    shown = run_here("fakefriends", "stats", "f.txt", cwd=tmp_path)
    assert [line.split() for line in shown.stdout.splitlines()[:-1]] == [
        ["pairs", "5"],
        ["loops", "2"],
        ["duplicates", "1"],
        ["reciprocal", "1"],
        ["vertices", "3"],
        ["edges", "1"],
        ["degree", "minimum", "0,", "mean", "0.67,", "maximum", "1"],
    ]


def test_stats_says_which_columns_it_took(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("1 2 7\n2 3 9\n")
    shown = run_here("fakefriends", "stats", "f.txt", cwd=tmp_path)
    assert "f.txt has 3 columns; the first two are the pair. --columns takes others.\n" in shown.stderr
    shown = run_here("fakefriends", "stats", "f.txt", "--columns", "2,3", cwd=tmp_path)
    assert "vertices       4\n" in shown.stdout
    shown = run_here("fakefriends", "plot", "f.txt", "--columns", "2", cwd=tmp_path)
    assert shown.returncode == 2
    assert "--columns takes the names or numbers of two columns" in shown.stderr


@pytest.mark.parametrize("text", ["", "1 1\n", "1 1\n1 2\n"])
def test_plot_draws_what_there_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text(text)
    done = run_here("fakefriends", "plot", "f.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml"), (None, b"\x89PNG")])
def test_plot_draws_a_picture(name: str | None, start: bytes, tmp_path: Path) -> None:
    run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.txt"))
    options = [] if name is None else ["-o", str(tmp_path / name)]
    done = run_here("fakefriends", "plot", str(tmp_path / "f.txt"), *options)
    assert done.returncode == 0, done.stderr
    picture = (tmp_path / (name or "f.png")).read_bytes()
    assert picture.startswith(start)
    assert len(picture) > 5000
    again = run_here("fakefriends", "plot", str(tmp_path / "f.txt"), *options)
    assert (again.returncode, "exists already" in again.stderr) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "1"], "-n must be from 2"),
        (["-m", "0"], "--friends takes a whole number from 1 on"),
        (["-n", "5", "-m", "5"], "-m 5 must be less than -n 5"),
        (["-n", "many"], "--users takes"),
        (["-n", "5", "-m", "2", "--format", "csv"], "--format takes"),
    ],
)
def test_nonsense_is_one_clear_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run_here("fakefriends", "gen", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert words in line
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("mine")
    done = run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.txt"))
    assert (done.returncode, (tmp_path / "f.txt").read_text()) == (3, "mine")
    assert "making" not in done.stderr  # it is said before the work, not after
    assert run_here("fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.txt"), "--force").returncode == 0
    assert len(read_pairs(tmp_path / "f.txt")) == 9985


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "/dev/full"], "Can't write /dev/full: it is no regular file."),
        (["-o", "/dev/full", "--force"], "Can't write /dev/full: it is no regular file."),
        (["-o", "."], "Can't write .: Is a directory."),
        (["-o", "..", "--force"], "Can't write ..: Is a directory."),
        (["-o", "no/f.txt"], "Can't write no/f.txt: there is no folder "),
        (["-o", "mine/f.txt"], "Can't write mine/f.txt: Not a directory."),
    ],
)
def test_where_nothing_can_be_written_is_said_before_the_work(options: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = run_here("fakefriends", "gen", *SMALL, *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fakefriends: {words}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    assert Path("/dev/full").is_char_device()


def test_parquet_without_pyarrow_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run_here("fakefriends", "gen", *SMALL, "-o", "f.parquet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "fakefriends: Parquet needs pyarrow: pip install 'floodtest[parquet]'.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "fakefriends: Can't read .: it is a folder without files *.parquet."),
        ("..", "fakefriends: ../a.txt is no file *.parquet, and a folder is read as the parts of one parquet file. "),
    ],
)
def test_a_folder_has_no_picture(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "within").mkdir()
    done = run_here("fakefriends", "plot", name, cwd=tmp_path / "within")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(words)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = run_in_child(limit, "fakefriends", "gen", *SMALL, "-o", str(tmp_path / "f.txt"))
    assert done.returncode == 3
    assert "Can't write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("fakefriends", "gen", "-n", "2000000", "-m", "15", "-o", str(tmp_path / "f.txt")),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        wait_until(lambda: process.stderr and process.stderr.read(6) == "making", "it has begun")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["stats", "missing"], ["plot", "missing"], ["plot", "missing", "-o", "a.gif"]])
def test_a_file_that_is_missing_or_a_picture_of_another_kind(arguments: list[str], tmp_path: Path) -> None:
    done = run_here("fakefriends", *arguments, cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("fakefriends: ")
