"""Disks without room, real ones: a command refuses before it begins, and a run that has begun ends as it would have."""

import json
import mmap
from functools import partial
from pathlib import Path

import pytest

from tests.rigs.confinement import on_a_little_disk
from tests.rigs.support import OURS, run_forked

MESSAGES = ("--connections", "50", "--hold", "0.1", "--messages", "50", "--message-seconds", "0.1")


def run_on(options: str, folder: Path) -> tuple[int, list[str], str]:
    """Run floodtest with its record on a little disk; return its exit code, its reasons and the end of its stderr."""
    words = ["run", "--json", "--no-report", "--out", str(folder), *OURS, *MESSAGES]
    done = run_forked("floodtest", *words, preexec_fn=partial(on_a_little_disk, folder, options))
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["reasons"], done.stderr.splitlines()[-1]


def test_a_disk_without_room_for_the_log_of_the_server_is_refused(tmp_path: Path) -> None:
    """There is room for itself, the folder of the run, and four files."""
    code, reasons, said = run_on("size=8m,nr_inodes=6", tmp_path)
    assert code == 3
    assert said.removeprefix("floodtest: ") == reasons[0]
    assert "/server.log, for the server's errors: No space left on device" in said


def test_a_disk_that_is_full_when_messages_begin_is_a_reason(tmp_path: Path) -> None:
    """There is no room for the log of the generator, nor for run.json to be written anew."""
    code, reasons, _ = run_on("size=8m,nr_inodes=7", tmp_path)
    assert code == 4
    (reason,) = reasons
    assert reason.startswith("record: Can't write the run record ")


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_disk_without_room_for_a_store(left: int, tmp_path: Path) -> None:
    """LMDB maps a file that it has not written: with no page left the kernel would end us by SIGBUS."""
    friends, disk = tmp_path / "friends.txt", tmp_path / "disk"
    friends.write_text("1 2\n")
    disk.mkdir()

    def fill() -> None:
        on_a_little_disk(disk, f"size={4 * mmap.PAGESIZE}")
        (disk / "full").write_bytes(bytes((4 - left) * mmap.PAGESIZE))

    done = run_forked("comet", "load", str(friends), "--db", str(disk / "db"), preexec_fn=fill)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith(f"comet: The subscription store {disk}/db can't be used: No space")
