"""flyweight.processes.lifeline: a folder is removed when the last process that holds the other end has ended."""

import subprocess
import sys
from pathlib import Path


def keeper(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that removes a folder when its stdin ends; what it says is in stderr."""
    return subprocess.Popen(
        [sys.executable, "-m", "floodtest.flyweight.processes.lifeline", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def filled(folder: Path) -> Path:
    folder.mkdir()
    (folder / "data.mdb").write_bytes(b"x" * 10_000)
    return folder


def test_a_folder_is_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    assert keeper(filled(tmp_path / "store")).communicate(timeout=60) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_fine(tmp_path: Path) -> None:
    assert keeper(tmp_path / "store").communicate(timeout=60) == ("", "")


def test_it_is_not_removed_before_all_are_gone_who_hold_the_other_end(tmp_path: Path) -> None:
    """One of them makes it when all others have gone; had it been removed before that, it would be there."""
    with keeper(tmp_path / "store") as process:
        assert process.stdin is not None
        last = subprocess.Popen(
            [sys.executable, "-c", f"import os; input(); os.mkdir({str(tmp_path / 'store')!r})"],
            stdin=subprocess.PIPE,
            pass_fds=[process.stdin.fileno()],
        )
        process.stdin.close()
        last.communicate(b"\n", timeout=60)
        assert last.returncode == 0
        assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_said(tmp_path: Path) -> None:
    filled(tmp_path / "store.gone")  # in the way
    _, errors = keeper(filled(tmp_path / "store")).communicate(timeout=60)
    assert errors == f"{tmp_path / 'store'} could not be removed (Directory not empty). Remove it.\n"
