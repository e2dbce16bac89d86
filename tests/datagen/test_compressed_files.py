"""datagen.files.compressed: archives are told by their bytes, and read whole or not at all, a piece at a time."""

import bz2
import gzip
import io
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from floodtest.datagen.files import BadFile, read_pairs, write_pairs
from floodtest.flyweight.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ROWS = [[number, number * 7 % 1000 + 1] for number in range(1, 2000)]
TEXT = b"# some\n" + b"".join(b"%d\t%d\n" % (one, other) for one, other in ROWS)
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}


def file_of(folder: Path, data: bytes, name: str = "pairs.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(params=PACKERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name a way to compress; whoever asks for it is tested with each."""
    name: str = request.param
    return name


@pytest.mark.parametrize("name", ["pairs.txt", "pairs.gz", "pairs.zst", "pairs.npy"])
def test_what_is_packed_is_told_by_its_bytes(kind: str, name: str, tmp_path: Path) -> None:
    assert read_pairs(file_of(tmp_path, PACKERS[kind](TEXT), name)).tolist() == ROWS


@pytest.mark.parametrize("name", ["pairs.gz", "pairs.zst"])
def test_what_is_not_packed_may_have_any_name(name: str, tmp_path: Path) -> None:
    assert read_pairs(file_of(tmp_path, TEXT, name)).tolist() == ROWS


def test_archives_one_after_another_are_one_file(kind: str, tmp_path: Path) -> None:
    packed = PACKERS[kind](TEXT[:5000]) + PACKERS[kind](b"") + PACKERS[kind](TEXT[5000:])
    assert read_pairs(file_of(tmp_path, packed)).tolist() == ROWS


def test_a_frame_to_be_skipped_is_skipped(tmp_path: Path) -> None:
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    assert read_pairs(file_of(tmp_path, skipped + zstd.compress(TEXT) + skipped)).tolist() == ROWS


@pytest.mark.parametrize("part", [0.01, 0.3, 0.5, 0.7, 0.99, 1.0])
def test_an_archive_that_is_cut_off_is_refused(part: float, kind: str, tmp_path: Path) -> None:
    packed = PACKERS[kind](TEXT)
    path = file_of(tmp_path, packed[: max(8, min(len(packed) - 1, int(len(packed) * part)))])
    with pytest.raises(BadFile, match=rf"pairs\.txt is a broken {kind} archive: .*ended before.* Nothing was taken\."):
        read_pairs(path)


@pytest.mark.parametrize("at", [12, 100, 1000, -6])
def test_an_archive_with_a_wrong_byte_is_refused(at: int, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[at] ^= 0xFF
    with pytest.raises(BadFile, match=r"Nothing was taken\.$") as caught:
        read_pairs(file_of(tmp_path, bytes(packed)))
    assert "\n" not in str(caught.value)


def test_what_follows_an_archive_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=f"is a broken {kind} archive"):
        read_pairs(file_of(tmp_path, PACKERS[kind](TEXT) + b"and more"))


def test_a_bad_line_is_named_by_its_number(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"pairs\.txt, line 2001: an id"):
        read_pairs(file_of(tmp_path, PACKERS[kind](TEXT + b"1\tx\n")))


def test_an_array_may_be_packed(kind: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "a.npy", np.array(ROWS, np.uint32), "npy")
    assert read_pairs(file_of(tmp_path, PACKERS[kind]((tmp_path / "a.npy").read_bytes()))).tolist() == ROWS


def tar_of(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("out.pairs")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def zip_of(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("pairs.txt", data)
    return packed.getvalue()


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "a tar archive": tar_of,
    "a zip archive": zip_of,
    "a bzip2 archive": bz2.compress,
    "a tar archive, packed": lambda data: gzip.compress(tar_of(data)),
    "a parquet file in an archive": lambda data: zstd.compress(b"PAR1" + data),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_archives_are_refused_by_name(name: str, tmp_path: Path) -> None:
    words = rf"pairs\.txt is {name.partition(',')[0]}\. Unpack it, and name the file in it that has the pairs\."
    with pytest.raises(BadFile, match=words):
        read_pairs(file_of(tmp_path, OTHERS[name](TEXT)))


def test_what_is_packed_is_never_whole_in_memory(kind: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, PACKERS[kind](b"1" * 50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(BadFile, match="line 1: the line is longer than 262,144 bytes"):
            read_pairs(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_window_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 30})
    packed = packer.compress(TEXT) + packer.flush()
    with pytest.raises(BadFile, match=r"is a broken zstd archive: .*too much memory"):
        read_pairs(file_of(tmp_path, packed))


def test_without_zstd_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path, zstd.compress(TEXT))
    for name in ("backports", "compression"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Refused, match=r"pairs\.txt is a zstd archive\. .*floodtest\[zstd\]"):
        read_pairs(path)
