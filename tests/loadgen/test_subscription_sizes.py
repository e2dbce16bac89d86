"""loadgen.preflight.subscription_sizes: what friends take of memory, by the size of what is loaded."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from floodtest.loadgen.preflight.subscription_sizes import NO_SUBSCRIPTIONS, PAIR_BYTES, sizes_of
from floodtest.server_under_test.routing.subscriptions import Store

MIB = 1 << 20


def test_a_file_of_text_has_a_pair_in_a_dozen_bytes(tmp_path: Path) -> None:
    (file := tmp_path / "friends.txt").write_text("100000 200000\n" * 1000)
    found = sizes_of(file, tmp_path)
    assert found.store == 7_000
    assert found.pairs == pytest.approx(1000, rel=0.3)
    assert found.loading == pytest.approx(40 * MIB + 3.2 * 14_000, abs=1)


def test_what_is_packed_has_more_in_it(tmp_path: Path) -> None:
    text = b"100000 200000\n" * 1000
    (file := tmp_path / "friends.txt").write_bytes(gzip.compress(text))
    found = sizes_of(file, None)
    assert found.store == int(1.5 * file.stat().st_size)
    assert found.loading > sizes_of(_written(tmp_path / "plain", file.stat().st_size * b"1"), None).loading


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_comment_in_another_language_is_text(encoding: str, tmp_path: Path) -> None:
    (file := tmp_path / "friends.txt").write_bytes("# Abonnés\n".encode(encoding) + b"100000 200000\n" * 1000)
    assert sizes_of(file, None).store == file.stat().st_size // 2


def test_the_largest_part_of_a_folder_tells_what_the_others_are(tmp_path: Path) -> None:
    """Spark writes an empty _SUCCESS beside the parts."""
    for number in range(9):
        _written(tmp_path / "parts" / f"_SUCCESS{number}", b"")
    _written(tmp_path / "parts" / "part-0.parquet", bytes(100))
    assert sizes_of(tmp_path / "parts", None).store == 150


def test_nothing_is_read_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "friends")
    with open(os.open(pipe, os.O_RDWR), "r+b", buffering=0) as both:
        both.write(bytes(9000))
        assert sizes_of(pipe, None) == NO_SUBSCRIPTIONS
        assert both.read(9001) == bytes(9000)


def test_parts_of_a_folder_are_added_up(tmp_path: Path) -> None:
    for name in ("a/one.parquet", "a/b/two.parquet"):
        _written(tmp_path / name, bytes(100))
    assert sizes_of(tmp_path / "a", None).store == 300


def test_what_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert sizes_of(tmp_path / "none", None) == sizes_of(None, tmp_path / "none") == NO_SUBSCRIPTIONS
    (tmp_path / "empty").mkdir()
    assert sizes_of(tmp_path / "empty", None) == sizes_of(None, None) == NO_SUBSCRIPTIONS


def test_a_store_takes_what_it_has_on_the_disk(tmp_path: Path) -> None:
    """And a pair of it about as much as is said."""
    subscribers, subjects = np.meshgrid(np.arange(1, 16, dtype=np.uint32), np.arange(1, 20_001, dtype=np.uint32))
    with Store(tmp_path / "db", create=True) as store:
        store.add_subscriptions(np.stack([subscribers.ravel(), subjects.ravel()], axis=1))
    found = sizes_of(None, tmp_path / "db")
    assert found.store == pytest.approx(300_000 * PAIR_BYTES, rel=0.1)
    assert found.loading == 0


def _written(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
