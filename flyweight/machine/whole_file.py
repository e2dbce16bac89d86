"""Replacing a file as a whole: a reader sees either the old content or the new content, and never a part.

The data goes to a temporary file beside the other, which is then renamed over it. Nothing of it is left where that
fails or is interrupted; after SIGKILL the temporary file is. The new file has the permissions that are asked for, less
the umask, whatever the old one had. A symbolic link is replaced, not written through, and one that lies in wait under
the temporary name is never followed. Fails: OSError, which the caller puts into words.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def replace_file(
    path: Path | str,
    data: bytes,
    *,
    temporary: str | None = None,
    mode: int = 0o666,
    durable: bool = False,
    dir_fd: int | None = None,
) -> None:
    """Write bytes as a whole; `replaced_file` says what the options are."""
    with replaced_file(path, temporary=temporary, mode=mode, durable=durable, dir_fd=dir_fd) as file:
        file.write(data)


@contextmanager
def replaced_file(
    path: Path | str,
    *,
    temporary: str | None = None,
    mode: int = 0o666,
    durable: bool = False,
    dir_fd: int | None = None,
) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of another when the block has ended well, and is gone otherwise.

    `temporary` is the temporary file's name; a caller that is the only writer gives it one, so that its next write
    removes what a kill has left. By default it has the process id in it, for several may write the same file. `durable`
    waits until the disk has all of it, the rename included; without it a power failure may leave an empty file. With
    `dir_fd`, a folder's descriptor, `path` is a name in that folder.
    """
    folder, name = os.path.split(path)
    beside = os.path.join(folder, temporary or f".{name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        os.unlink(beside, dir_fd=dir_fd)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=dir_fd)
    try:
        with open(descriptor, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(descriptor)
        os.replace(beside, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:  # an interrupt as well leaves nothing behind
        with suppress(OSError):
            os.unlink(beside, dir_fd=dir_fd)
        raise
    if durable:
        _sync_folder(folder, dir_fd)


def _sync_folder(folder: str, dir_fd: int | None) -> None:
    """Wait until the disk has a folder's names."""
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
