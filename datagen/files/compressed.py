"""Compressed files, told by their first bytes, not by their names, and unpacked a piece at a time.

In: a path. Out: a file to read, whose bytes are those that were packed; of several archives one after another, those of
all. Memory: what the decompressor keeps, for zstd its window of 128 MiB at the most. Fails: BadFile for an archive that
is cut off or corrupt, and for other kinds of archives; Refused for zstd where its extra is not installed.

zstd is read by the module that Python has from 3.14 on, and by its backport before. The package `zstandard` takes a
file that is cut off for one that ends (its stream_reader, version 0.25), and nothing may be lost silently.
"""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from floodtest.datagen.files.pairs import BadFile
from floodtest.flyweight.errors import Refused

_BUFFER = 1 << 18
"""Bytes unpacked at a time."""

_LOOK = 512
"""Bytes that tell what a file is: the first block of a tar archive is so long."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a zstd frame to be skipped, with which files of pzstd begin (RFC 8878, section 3.1.2)."""
_NOT_READ = {
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
}
_NOT_READ_INSIDE = {**_NOT_READ, b"PAR1": "a parquet file in an archive"}
_TAR_AT, _TAR = 257, b"ustar"
"""Where a tar archive says so (POSIX.1-2017, pax, ustar Interchange Format)."""

Errors = tuple[type[Exception], ...]


@contextmanager
def unpacked(path: Path) -> Iterator["io.BufferedReader[Any]"]:
    """Open a file, to read what was packed if it is an archive; OSError if it can't be read."""
    with open(path, "rb") as file:
        start = file.peek(_LOOK)
        if start.startswith(_GZIP):
            with _explained(path, "gzip", (EOFError, gzip.BadGzipFile, zlib.error)), gzip.open(file) as unzipped:
                yield _buffered(path, unzipped)
        elif start.startswith(_ZSTD) or start[1:4] == _SKIPPABLE:
            zstd = _import_zstd(path)
            with _explained(path, "zstd", (EOFError, zstd.ZstdError)), zstd.open(file) as unzipped:
                yield _buffered(path, unzipped)
        else:
            _refuse_archive(path, start, _NOT_READ)
            yield file


class _Unpacked(io.BufferedReader):
    """What was packed, buffered."""

    def fileno(self) -> int:
        """Say that there is no descriptor of it: numpy would read from that of the archive."""
        raise io.UnsupportedOperation("fileno")


def _buffered(path: Path, file: Any) -> "io.BufferedReader[Any]":
    reader = _Unpacked(file, _BUFFER)
    _refuse_archive(path, reader.peek(_LOOK), _NOT_READ_INSIDE)
    return reader


def _refuse_archive(path: Path, start: bytes, not_read: dict[bytes, str]) -> None:
    """BadFile for what begins like something that is not read."""
    names = [name for magic, name in not_read.items() if start.startswith(magic)]
    if start[_TAR_AT:].startswith(_TAR):
        names.append("a tar archive")
    if names:
        raise BadFile(f"{path} is {names[0]}. Unpack it, and name the file in it that has the pairs.")


@contextmanager
def _explained(path: Path, kind: str, errors: Errors) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise BadFile(f"{path} is a broken {kind} archive: {str(error).rstrip('.')}. Nothing was taken.") from error


def _import_zstd(path: Path) -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise Refused(f"{path} is a zstd archive. To read it: pip install 'floodtest[zstd]'.") from error
    return zstd
