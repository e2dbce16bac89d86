"""Writing files of a report: whole or not at all, and a clear word where that is not allowed."""

import os
from contextlib import suppress
from pathlib import Path

from flyweight.errors import Refused
from flyweight.reasons import reason


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it; makes its folder. Refused where that can't be done.

    Nothing of it is left where that fails, or is interrupted.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise Refused(f"Can't write {path}: {reason(error)}. Choose another place with --out.") from error
    finally:
        with suppress(OSError):  # it has been renamed, or never made
            temporary.unlink()
