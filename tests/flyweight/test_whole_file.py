"""flyweight.machine.whole_file: a file is the old one or the new one, and nothing is left beside it."""

import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from floodtest.flyweight.machine.whole_file import replace_file, replaced_file


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("old", [None, b"a longer one than the new one"])
def test_a_file_is_written_and_nothing_beside_it(old: bytes | None, durable: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    replace_file(path, b"new", durable=durable)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_without_a_folder_is_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replace_file("file", b"new", durable=True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_may_be_in_a_folder_that_is_open(tmp_path: Path) -> None:
    place = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        replace_file("file", b"new", dir_fd=place, durable=True)
    finally:
        os.close(place)
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_the_permissions_are_those_asked_for_and_not_the_old_ones(mode: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    umask = os.umask(0o027)
    try:
        replace_file(tmp_path / "file", b"new", mode=mode)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode & ~0o027


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_what_fails_or_is_interrupted_leaves_the_old_file_and_nothing_else(
    step: str, error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(error):
        replace_file(tmp_path / "file", b"new", durable=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_what_a_kill_has_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "left").write_bytes(b"of one that was killed, and longer")
    replace_file(tmp_path / "file", b"new", temporary="left")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_links_are_replaced_and_never_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    for name in ("file", "left"):
        (tmp_path / name).symlink_to(victim)
    replace_file(tmp_path / "file", b"new", temporary="left")
    assert victim.read_bytes() == b"kept"
    assert (tmp_path / "file").read_bytes() == b"new"
    assert not (tmp_path / "file").is_symlink()


def test_two_who_write_the_same_file_have_temporary_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.replace

    def meanwhile(source: str, target: Path, **where: None) -> None:
        monkeypatch.setattr(os, "replace", original)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        replace_file(target, b"other")
        assert Path(source).read_bytes() == b"new"
        original(source, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    replace_file(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_file_can_be_written_piece_by_piece_and_has_its_name_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with replaced_file(tmp_path / "file") as file:
        for piece in (b"new", b" and", b" longer"):
            file.write(piece)
            file.flush()
            assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new and longer"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_goes_wrong_while_it_is_written_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    def write() -> NoReturn:
        with replaced_file(tmp_path / "file") as file:
            file.write(b"a part")
            raise error

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(error):
        write()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
